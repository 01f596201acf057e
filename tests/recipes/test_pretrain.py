"""The recipes of pre-training: each parses; made small, each runs on novels and on our guides, and plain transformers opens it.

python -m pytest tests/recipes/test_pretrain.py [-m slow]
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from septet.cli.main import septet
from septet.core.recipe import Recipe
from septet.core.store import Store
from septet.nn.architecture import ARCHITECTURES, auto_class
from septet.nn.load import open_model

RECIPES = Path(__file__).parents[2] / "recipes"
FAMILIES = ("bert", "roberta", "xlnet", "gpt2", "llama", "falcon", "t5", "bart")
GUIDES = {"kind": "folder", "path": str(Path(__file__).parents[2] / "docs" / "guides")}
SMALL = ("vocab.size=2048", "base.depth=1", "base.tokens=24576", "base.batch_tokens=2048", "base.context=128")


@pytest.mark.parametrize("family", FAMILIES)
def test_it_parses_and_its_header_names_it(family):
    path = RECIPES / f"pretrain-{family}.yaml"
    recipe = Recipe.load(path)
    assert recipe.name == path.stem
    assert f"septet run recipes/{path.name}" in path.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("text", ["guides", "novels"])
def test_it_runs_and_plain_transformers_opens_it(family, text, tmp_path, request):
    source = GUIDES
    if text == "novels":
        data = request.getfixturevalue("real_data")
        source = {
            "kind": "text",
            "path": str(data / "pretraining" / "english_novels"),
            "pattern": "*Stevenson*",
            "split": "paragraph",
        }
    overrides = [f"text.source={source}", *SMALL]
    arguments = [part for value in overrides for part in ("--set", value)]
    command = ["--home", str(tmp_path), "run", str(RECIPES / f"pretrain-{family}.yaml"), *arguments, "--threads", "1"]
    done = CliRunner().invoke(septet, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    base = Store(tmp_path).resolve(f"pretrain-{family}/base")
    curve = [line for line in (base.path / "curve.jsonl").read_text().splitlines() if line]
    assert len(curve) == base.facts["steps"]
    assert base.facts["held_out_loss"]["nll"] < math.log(2048)
    figures = {name: value for name, value in base.facts.items() if name.endswith("bits_per_byte")}
    assert len(figures) == 1
    assert all(0.5 < value < 8 for value in figures.values())

    ours = open_model(base.path, device="cpu", architectures=ARCHITECTURES)
    plain = auto_class(ours.architecture).from_pretrained(base.path).eval()
    ids = torch.arange(200, 216)[None]
    inputs = {"input_ids": ids}
    if ours.architecture == "encoder-decoder":
        inputs["decoder_input_ids"] = ids.flip(1)
    with torch.no_grad():
        torch.testing.assert_close(ours.outputs(inputs).logits, plain(**inputs).logits.float(), atol=1e-4, rtol=1e-4)
