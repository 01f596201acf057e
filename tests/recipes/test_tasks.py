"""The recipes for classic tasks: each parses and plans on the real data, and runs with few rows and steps.

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
    "answers": "question-answering",
    "completion": "completion",
    "embeddings": "similarity",
    "entities": "tagging",
    "instructions": "chat",
    "questions": "multi-label",
    "ratings": "regression",
    "sentiment": "classification",
    "summaries": "text-to-text",
    "translation": "text-to-text",
}
ROWS = 64
JUDGED = 20
FEW = f"card.tasks=[{{kind: predictions, limit: {JUDGED}}}]"
TINY = ("vocab.size=512", "base.depth=1", "base.tokens=4096")
SMALL: dict[str, tuple[tuple[str, ...], set[tuple[str, str]]]] = {
    "answers": (
        ("questions.limit=16", "reader.epochs=1", FEW),
        {("f1", "model"), ("exact_match", "model"), ("f1", "lead-1")},
    ),
    "completion": (
        (*TINY, f"prompts.limit={ROWS}", "writer.epochs=1", FEW),
        {("exact_match", "model"), ("chrf", "model"), ("exact_match", "commonest")},
    ),
    "embeddings": (
        (
            f"captions.limit={ROWS}",
            "vectors.limit=null",
            "vectors.batch_size=32",
            f"card.tasks=[{{kind: matching, limit: {JUDGED}}}]",
        ),
        {("recall@1", "model"), ("recall@1", "before"), ("recall@1", "bm25"), ("mean_reciprocal_rank", "model")},
    ),
    "instructions": (
        (
            *TINY,
            f"assistant.limit={ROWS}",
            "assistant.epochs=1",
            f"card.tasks=[{{kind: answers, limit: {JUDGED}, max_tokens: 8}}]",
        ),
        {("chrf", "model"), ("chrf", "another answer")},
    ),
    "questions": (
        ("sorter.limit=64", "sorter.epochs=1", FEW),
        {("f1_micro", "model"), ("f1_micro", "commonest")},
    ),
    "ratings": (
        ("rater.limit=64", "rater.epochs=1", FEW),
        {("spearman", "model"), ("mean_absolute_error", "model"), ("mean_absolute_error", "commonest")},
    ),
    "summaries": (
        (
            *TINY,
            "base.width=32",
            f"papers.limit={ROWS}",
            "summariser.epochs=1",
            "summariser.task.max_new_tokens=8",
            FEW,
        ),
        {("rougeL", "model"), ("rougeL", "lead-1"), ("rouge2", "lead-3")},
    ),
}
"""By recipe what makes it small, and some of the figures that it must end with."""


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


@pytest.mark.parametrize("name", SMALL)
def test_with_few_rows_it_ends_with_figures_and_what_needs_no_model(name: str, tmp_path: Path, real_data: Path):
    overrides, expected = SMALL[name]
    found = figures(run(tmp_path, real_data, name, *overrides), name)
    assert expected <= set(found)
    for key in expected:
        assert found[key]["n"] == JUDGED
        assert found[key]["low"] <= found[key]["value"] <= found[key]["high"]


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
        "translator.limit=null", "translator.epochs=1", "translator.batch_size=16", "translator.task.max_new_tokens=8",
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
