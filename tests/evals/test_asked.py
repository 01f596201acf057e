"""What asking costs is measured as it is: tokens, money, time where nothing was kept, bytes; and it can be asked again from a file.

python -m pytest tests/evals/test_asked.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.infer.faulty import Reply, Seen, faulty, whole
from tests.infer.test_in_context import Says
from tests.infer.test_remote import own
from tests.steps.test_finetune_tasks import dataset
from toys.scripted import serving

from septet.core.errors import DataError
from septet.evals.asked import answer, examples_size, keep, material_of, measure, prediction_of
from septet.evals.quality import quality_of
from septet.infer.asking import Asking, Material
from septet.infer.askings.in_context import InContext
from septet.infer.engines.echo import EchoEngine
from septet.infer.task import Task

LABELS = ["no", "yes"]
ROWS = [{"id": f"r{n}", "text": f"text {n}", "label": LABELS[n % 2]} for n in range(6)]
TASK = Task.parse("classification")


def replies(seen: Seen) -> Reply:
    """Says 'yes' of odd numbers, 'perhaps' of 4, else 'no'; reads 100 tokens and writes 10 for each request."""
    number = int(seen.body["messages"][-1]["content"].split()[2])
    return whole("perhaps" if number == 4 else LABELS[number % 2], read=100, written=10)


def rung(server: Any, kind: str = "zero-shot", **engine: Any) -> Asking:
    remote = {"kind": "remote", "url": server.url, "model": "m", "price_in": 2.0, "price_out": 5.0, **engine}
    return Asking.parse({"kind": kind, "form": "chat", "engine": remote})


def test_tokens_and_money_of_a_remote_model_worked_by_hand(tmp_path: Path) -> None:
    material = Material("classification", LABELS, ROWS)
    with faulty(replies) as server:
        parts = {"held_out": ROWS[:4], "test": ROWS[4:]}
        found = measure(rung(server), tmp_path, material, parts, device="cpu")
        assert [one["prediction"] for one in found["held_out"]] == ["no", "yes", "no", "yes"]
        assert [one["prediction"] for one in found["test"]] == [None, "yes"]
        # 4 rows alone for the time, then all 6: 10 requests of 110 tokens, each 100 * 2 / 10^6 + 10 * 5 / 10^6 = 0.00025
        assert (len(server.seen), found["tokens"], found["tokens_per_row"]) == (10, 1100, 110)
        assert found["cost"] == pytest.approx(0.0025)
        assert found["cost_per_row"] == pytest.approx(0.00025)
        assert found["milliseconds"] > 0
        assert (found["parameters"], found["learning_rate"]) == (0, None)
        assert found["note"] == "of 6 answers 1 not understood"
        cached = rung(server, cache=str(tmp_path / "cache"))
        first = measure(cached, tmp_path, material, parts, device="cpu")
        # 4 of the 6 rows were kept when they were timed; a row costs what it cost
        assert (first["tokens"], first["cost_per_row"]) == (660, pytest.approx(0.00025))
        second = measure(cached, tmp_path, material, parts, device="cpu")
    assert len(server.seen) == 16
    assert (second["tokens"], second["cost"], second["cost_per_row"]) == (0, 0.0, None)
    assert second["milliseconds"] is None, "what was kept says nothing of the time that an answer takes"
    assert [second[part] for part in parts] == [first[part] for part in parts]


def test_conversations_with_a_model_behind_the_own_server(tmp_path: Path) -> None:
    rows = [
        {"messages": [{"role": "user", "content": f"say {n}"}, {"role": "assistant", "content": "x"}]} for n in range(3)
    ]
    with serving(own(EchoEngine(), tmp_path / "model")) as (address, _):
        remote = {"kind": "remote", "url": f"{address}/v1", "model": "assistant"}
        asking = Asking.parse({"kind": "zero-shot", "form": "chat", "engine": remote})
        found = measure(asking, tmp_path, Material("chat", max_tokens=9), {"held_out": rows}, device="cpu")
    assert [one["prediction"] for one in found["held_out"]] == ["say 0", "say 1", "say 2"], "what is there echoes"
    # two words read, two and the end written; without prices nothing is known to cost anything
    assert (found["tokens_per_row"], found["tokens"], found["cost"], found["cost_per_row"]) == (5, 30, None, None)


def test_bytes_are_those_of_the_words_and_of_the_examples_that_are_needed(tmp_path: Path) -> None:
    material = Material("classification", LABELS, ROWS)
    with faulty(replies) as server:
        sizes = []
        for k in (0, 2):
            asking = Asking.parse({**rung(server).dump(), "kind": "in-context", "k": k})
            found = measure(asking, tmp_path, material, {"held_out": [{"text": "text 9"}]}, device="cpu")
            sizes.append(found["bytes_on_disk"] - len(json.dumps(found["asking"])))
    one = len(json.dumps(ROWS[0])) + 1
    assert sizes[0] == 0
    assert 2 * one <= sizes[1] <= 2 * one + 2
    asker = InContext(task="classification", k=2, examples="similar").over(Says("yes"), examples=ROWS)
    assert examples_size(asker, []) == sum(len(json.dumps(row)) + 1 for row in ROWS), (
        "any may be the next query's nearest"
    )


def test_a_way_to_ask_is_kept_and_asked_again(tmp_path: Path) -> None:
    data = dataset(tmp_path / "rows", ROWS, [], task="classification", labels=LABELS).path
    with faulty(replies) as server:
        material = material_of(TASK, data, LABELS, limit=4)
        assert [row["id"] for row in material.rows] == ["r0", "r1", "r2", "r3"]
        asking = Asking.parse({**rung(server).dump(), "kind": "in-context", "k": 2})
        found = measure(asking, tmp_path, material, {"held_out": ROWS[4:]}, device="cpu")
        keep(tmp_path / "asked" / "x.json", found["asking"], TASK, LABELS, limit=4)
        prompts = sorted((seen.body for seen in server.seen[-2:]), key=str)  # they are sent at the same time
        task, rows, said = answer(tmp_path / "asked" / "x.json", tmp_path, data, lambda task: ROWS[4:])
        assert (task, rows) == (TASK, ROWS[4:])
        assert [one.prediction for one in said] == [None, "yes"]
        again = sorted((seen.body for seen in server.seen[-2:]), key=str)
        assert again == prompts, "the same examples in the same words"
    (tmp_path / "asked" / "x.json").write_text("[]")
    with pytest.raises(DataError, match="does not say how to ask"):
        answer(tmp_path / "asked" / "x.json", tmp_path, data, lambda task: [])


def test_answers_in_words_are_judged_as_those_of_trained_models() -> None:
    assert prediction_of("tagging", {"words": ["a", "b"]}, None) == ["O", "O"]
    assert prediction_of("question-answering", {}, "Ann") == {"text": "Ann", "no_answer": None}
    assert prediction_of("text-to-text", {}, None) == ""
    assert prediction_of("classification", {}, None) is None
    assert quality_of(TASK)(["no", None, "no"], ROWS[:3]) == pytest.approx(2 / 3)
    tagged = [
        {"id": "1", "words": ["Ann", "left"], "tags": ["B-PER", "O"]},
        {"id": "2", "words": ["Bob"], "tags": ["B-PER"]},
    ]
    assert quality_of(Task.parse("tagging"))([["B-PER", "O"], None], tagged) == pytest.approx(2 / 3)
