"""Ways to ask: which rows can be asked about, what another seed changes, and what a search may look at.

python -m pytest tests/infer/test_asking.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.infer.test_in_context import REVIEWS, Says
from tiny_chat import tiny_module, tiny_tokenizer

from septet.infer.asking import Asking, Material
from septet.infer.askings.in_context import InContext
from septet.infer.engine import ContextError
from septet.infer.engines.torch import TorchEngine

LABELS = ["negative", "positive"]
MATERIAL = Material("classification", LABELS, REVIEWS, max_tokens=5)
REMOTE = {"kind": "remote", "url": "http://127.0.0.1:1/v1", "model": "m"}


@pytest.mark.parametrize(
    ("rung", "task", "architecture", "words"),
    [
        ("zero-shot", "classification", "encoder", "a model of the architecture 'encoder' writes nothing"),
        ("in-context", "tagging", "permuted", "the architecture 'permuted' writes nothing"),
        ("zero-shot", "multi-label", "decoder", "rows of the task 'multi-label' cannot be asked about in words"),
        ("hard-prompt", "regression", "decoder", "rows of the task 'regression' cannot"),
        ({"kind": "zero-shot", "engine": REMOTE}, "similarity", "encoder", "rows of the task 'similarity' cannot"),
        (
            {"kind": "zero-shot", "task": "tagging"},
            "classification",
            "decoder",
            "it asks about rows of the task 'tagging'",
        ),
        ({"kind": "zero-shot", "engine": REMOTE}, "classification", "encoder", ""),
        ("zero-shot", "text-to-text", "encoder-decoder", ""),
        ("zero-shot", "chat", "decoder", ""),
    ],
)
def test_what_cannot_be_asked_and_why(rung: Any, task: str, architecture: str, words: str) -> None:
    found = Asking.parse(rung).unfit(task, architecture)
    assert words in found if words else found == ""


def test_only_what_draws_changes_with_the_seed() -> None:
    rows = [{"text": f"text {n}", "label": LABELS[n % 2]} for n in range(20)]

    def prompt(rung: Any, seed: int) -> Any:
        asker = Asking.parse(rung).ready(Says("positive"), Material("classification", LABELS, rows, seed))
        return asker.prompts([{"text": "asked"}])[0]

    for rung, draws in (
        ("zero-shot", False),
        ({"kind": "in-context", "k": 3}, True),
        ({"kind": "in-context", "k": 3, "examples": "balanced"}, True),
        ({"kind": "in-context", "k": 3, "examples": "similar"}, False),
        ({"kind": "in-context", "k": 3, "examples": "similar", "order": "random"}, True),
        ({"kind": "in-context", "k": 0}, False),
    ):
        assert Asking.parse(rung).draws == draws, rung
        if "similar" not in str(rung):  # words are compared by scikit-learn, which takes seconds to import
            assert (prompt(rung, 0) != prompt(rung, 1)) == draws, rung
            assert prompt(rung, 1) == prompt(rung, 1)


def test_zero_shot_asks_what_in_context_asks_without_examples() -> None:
    with TorchEngine(tiny_module(context=256), tiny_tokenizer()) as engine:
        found = Asking.parse({"kind": "zero-shot", "calibration": "contextual"}).ready(engine, MATERIAL)
        expected = InContext(task="classification", k=0, calibration="contextual")
        rows = [{"text": "a good film"}, {"text": "dull"}]
        assert found.predict(rows) == expected.predict(engine, rows, labels=LABELS)
        assert found.method.max_tokens == 5, "as long as the task's answers are"


def test_a_search_tries_training_rows_alone_and_ends_as_an_ordinary_method(tmp_path: Path) -> None:
    engine = Says("positive")
    asking = Asking.parse({"kind": "hard-prompt", "evaluations": 5, "edits": ["delete"], "seed": 1})
    given = Material("classification", LABELS, REVIEWS, metric=lambda values, rows: len(values), folder=tmp_path)
    asker = asking.ready(engine, given)
    asked = {str(request.prompt).rsplit("Text: ", 1)[1].split("\n")[0] for request in engine.asked}
    assert asked == {row["text"] for row in REVIEWS}
    assert len((tmp_path / "search.jsonl").read_text().splitlines()) == 1 + 5
    before = len(engine.asked)
    assert asker.predict([{"text": "new"}]).values == ["positive"]
    assert len(engine.asked) == before + 1
    assert Asking.parse(json.loads(json.dumps(asker.method.dump()))) == asker.method
    # the same search in the same folder asks nothing again
    asking.ready(engine, given)
    assert len(engine.asked) == before + 1


def test_conversations_are_asked_as_turns_or_as_lines() -> None:
    rows = [
        {"messages": [{"role": "user", "content": f"number {n}?"}, {"role": "assistant", "content": str(n)}]}
        for n in (1, 2)
    ]
    chat = InContext(task="chat", k=1, form="chat")
    assert chat.prompt(rows[:1], examples=rows[1:])[0] == [*rows[1]["messages"], rows[0]["messages"][0]]
    text = InContext(task="chat", k=1)
    assert text.prompt(rows[:1], examples=rows[1:])[0] == "User: number 2?\nAssistant: 2\n\nUser: number 1?\nAssistant:"
    engine = Says(" one\n")
    assert text.predict(engine, rows[:1], examples=rows[1:]).values == ["one"]
    assert engine.asked[0].stop == ("\nUser:",)


def test_an_engine_that_reads_apart_needs_no_room_for_its_answer() -> None:
    row, method = {"source": "w " * 20}, InContext(task="text-to-text", k=0, max_tokens=30)
    engine = Says("w", context=len(str(method.prompt([row])[0])) + 2)
    with pytest.raises(ContextError, match="its answer needs up to 30 more"):
        method.predict(engine, [row])
    engine.reads_apart = True
    assert method.predict(engine, [row]).values == ["w"]
