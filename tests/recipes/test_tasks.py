"""The recipes for classic tasks: each parses and plans on the real data; sentiment and translation run with few rows and steps.

python -m pytest -m slow tests/recipes/test_tasks.py
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import child_environment

from septet.core.recipe import Recipe
from septet.core.store import Store

pytestmark = pytest.mark.slow

RECIPES = Path(__file__).parents[2] / "recipes"
TASKS = {
    "entities": "tagging",
    "sentiment": "classification",
    "translation": "text-to-text",
}
ROWS = 64
JUDGED = 20


def septet(folder: Path, real_data: Path, *arguments: str) -> str:
    """What the command line prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "septet.cli", "--offline", "--json", *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env=child_environment(folder, SEPTET_DATA=str(real_data)),
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-500:]
    return done.stdout


def run(folder: Path, real_data: Path, name: str, *overrides: str) -> Store:
    sets = [argument for override in overrides for argument in ("--set", override)]
    septet(folder, real_data, "run", str(RECIPES / f"{name}.yaml"), *sets)
    return Store(folder / "home")


def figures(store: Store, name: str) -> dict[tuple[str, str], dict]:
    rows = json.loads((store.resolve(f"{name}/card").path / "report.json").read_text(encoding="utf-8"))
    return {(row["metric"], row["of"]): row for row in rows}


@pytest.mark.parametrize("name", TASKS)
def test_each_recipe_is_planned_and_evaluates_what_it_trained_on_the_same_data(
    name: str, tmp_path: Path, real_data: Path
):
    recipe = RECIPES / f"{name}.yaml"
    plan = json.loads(septet(tmp_path, real_data, "plan", str(recipe), "--no-measure"))
    assert {row["action"] for row in plan} == {"make"}
    assert (plan[-1]["step"], plan[-1]["kind"]) == ("card", "evaluate")
    steps = Recipe.load(recipe).steps
    (trained,) = [row["step"] for row in plan if row["kind"] == "finetune"]
    card = steps["card"].dump()
    assert card["model"] == f"${trained}"
    assert card["data"] == steps[trained].dump()["data"]


@pytest.mark.parametrize("name", TASKS)
def test_the_data_of_each_recipe_is_for_its_task(name: str, tmp_path: Path, real_data: Path):
    recipe = RECIPES / f"{name}.yaml"
    (data,) = [step for step, made in Recipe.load(recipe).steps.items() if made.kind == "dataset"]
    septet(tmp_path, real_data, "run", str(recipe), "--only", data)
    made = Store(tmp_path / "home").resolve(f"{name}/{data}")
    assert made.facts["task"] == TASKS[name]
    assert made.facts["train_rows"] > 500
    assert made.facts["held_out_rows"] > 50


def test_sentiment_with_few_rows(tmp_path: Path, real_data: Path):
    store = run(
        tmp_path, real_data, "sentiment",
        f"reviews.limit={ROWS}", "classifier.limit=null", "classifier.epochs=1",
        f"card.tasks=[{{kind: predictions, limit: {JUDGED}}}]",
    )  # fmt: skip
    model = store.resolve("sentiment/classifier")
    assert model.facts["steps"] == ROWS // 32
    assert model.facts["loss"] < 5
    assert json.loads((model.path / "task.json").read_text(encoding="utf-8"))["task"]["kind"] == "classification"
    found = figures(store, "sentiment")
    accuracy = found["accuracy", "model"]
    assert accuracy["n"] == JUDGED
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
    assert ("accuracy", "commonest") in found
    said = septet(tmp_path, real_data, "predict", "sentiment/classifier", "A lovely film.")
    assert "positive" in said


def test_translation_with_few_rows(tmp_path: Path, real_data: Path):
    store = run(
        tmp_path, real_data, "translation",
        "vocab.size=512", "base.depth=1", "base.width=32", "base.tokens=4096", f"captions.limit={ROWS}",
        "translator.limit=null", "translator.epochs=1", "translator.task.max_new_tokens=8",
        f"card.tasks=[{{kind: predictions, limit: {JUDGED}}}]",
    )  # fmt: skip
    model = store.resolve("translation/translator")
    assert model.facts["steps"] == ROWS // 16
    found = figures(store, "translation")
    assert found["chrf", "model"]["n"] == JUDGED
    assert {"bleu", "rougeL"} <= {metric for metric, of in found if of == "model"}
    written = [
        json.loads(line) for line in (store.resolve("translation/card").path / "samples.jsonl").open(encoding="utf-8")
    ]
    assert len(written) == JUDGED
    assert all(row["source"] and row["target"] and isinstance(row["predicted"], str) for row in written)
