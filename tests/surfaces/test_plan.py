"""`septet plan` as people meet it: the table, JSON, a refusal, a budget, other hardware, and what was typed wrong."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Septet = Callable[..., subprocess.CompletedProcess[str]]

RECIPE = """
name: small
steps:
  text: {kind: corpus, source: {kind: folder, path: texts}}
  vocab: {kind: tokenizer, corpus: $text, size: 300}
  base: {kind: pretrain, corpus: $text, tokenizer: $vocab, depth: 2, context: 64, batch_tokens: 256, tokens: 2560}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "owl.txt").write_text("The owl sat in the old oak. " * 40, encoding="utf-8")
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


def test_a_training_is_told_before_it_starts_and_nothing_is_made(septet: Septet, recipe: Path, tmp_path: Path):
    done = septet("plan", recipe, "--threads", 1, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    # 2 layers of (4 x 64 x 64 + 3 x 64 x 192) and a head of 300 x 64 multiply; five norms of 64 do not
    assert "base: 126,016 parameters (125,696 multiply), objective causal-lm" in done.stdout
    assert "tokens      2,560 in 10 steps of 4 rows of 64" in done.stdout
    assert " s a step, " in done.stdout
    assert "300 tokens are assumed" in done.stdout
    assert all(len(line) <= 100 for line in done.stdout.splitlines())
    assert not (tmp_path / "home" / "artifacts").exists() or not list((tmp_path / "home" / "artifacts").iterdir())


def test_json_has_all_figures(septet: Septet, recipe: Path):
    done = septet("--json", "plan", recipe, "--no-measure", "--budget", "1e15")
    found = json.loads(done.stdout)
    (base,) = [row["forecast"] for row in found["steps"] if "forecast" in row]
    assert base["parameters"] == 126_016
    assert base["seconds"] is None
    assert base["fits"] is True
    assert base["flops"] == 2560 * (6 * 125_696 + 12 * 2 * 64 * 64)
    rule = found["budget"]["suggestions"][1]
    assert 6 * rule["parameters"] * rule["tokens"] == pytest.approx(1e15)
    assert rule["tokens"] / rule["parameters"] == pytest.approx(20)


def test_a_run_that_will_not_fit_is_refused_with_what_would(septet: Septet, recipe: Path):
    done = septet("plan", recipe, "--no-measure", "--set", "base.batch_tokens=100000000")
    assert done.returncode == 2
    assert "base: it needs" in done.stderr
    assert "What would fit:" in done.stderr
    assert "micro_tokens: " in done.stderr


def test_other_hardware_on_paper(septet: Septet):
    done = septet("plan", "--scale", "70B", "--gpus", 512, "--tokens", "2T", "--price", 2.5)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("llama-3.1-70b: 70.6B parameters, 80 layers")
    assert "512 h100 (85.5 GB, 989 TFLOP/s), 2T tokens" in done.stdout
    assert all(len(line) <= 110 for line in done.stdout.splitlines())


def test_a_recipes_model_on_other_hardware(septet: Septet, recipe: Path):
    done = septet("--json", "plan", recipe, "--scale", "base", "--gpu", "a100", "--gpus", 4)
    found = json.loads(done.stdout)
    shape = found["shape"]
    assert (shape["layers"], shape["width"], shape["gated"], shape["tied"]) == (2, 64, True, True)
    assert shape["multiplied"] == 125_696
    assert {layout["tensor"] * layout["pipeline"] * layout["data"] for layout in found["layouts"]} == {4}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scale", "70B", "--gpu", "h10"], "there is no 'h10' in the table. Did you mean 'h100'?"),
        (["--scale", "70B", "--gpus", "512", "--tp", "3"], "--tp 3 times --pp 1 is 3, which does not divide 512 GPUs"),
        (["--scale", "70B", "--gpus", "512", "--tokens", "2X"], "--tokens: a number above 0 is expected"),
        (["small.yaml", "--scale", "bas"], "the recipe has no step 'bas'. Did you mean 'base'?"),
        (["small.yaml", "--scale", "vocab"], "the step 'vocab' (tokenizer) trains no model of a known size"),
        (["small.yaml", "--no-measure", "--budget", "2h"], "Leave --no-measure out, or give operations: 1e17."),
        (["small.yaml", "--no-measure", "--budget", "soon"], "a time (30m, 2h, 3d) or a number of operations (1e18)"),
        (["bad.yaml"], "unknown field 'dept'. Did you mean 'depth'?"),
        ([], "Give a recipe"),
    ],
)
def test_what_was_typed_wrong_is_said(septet: Septet, recipe: Path, tmp_path: Path, arguments: list[str], message: str):
    (tmp_path / "bad.yaml").write_text(RECIPE.replace("depth:", "dept:"), encoding="utf-8")
    done = septet("plan", *arguments)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
