"""The evaluate step on a tiny real model: what it writes, what it leaves out, and that a kill costs no finished task.

python -m pytest tests/steps/test_evaluate.py
"""

from __future__ import annotations

import importlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from septet.core.artifact import Artifact, make_id
from septet.core.errors import ComponentError, SeptetError, Stopped
from septet.core.events import Event, Message, Progress
from septet.core.step import Runtime, Step, Work
from septet.data.documents import Document, write_documents
from septet.evals.task import Task
from septet.steps.evaluate import Evaluate

TEXTS = [
    "Return the path.",
    "Join two path components with a separator.",
    "Serialize obj to a string.",
    "Delay execution.",
]


def _tiny() -> Any:
    path = Path(__file__).parents[1] / "evals" / "conftest.py"
    spec = importlib.util.spec_from_file_location("tiny_model_writer", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    root = tmp_path_factory.mktemp("world")
    write = _tiny().write_tiny_model
    for seed, name in enumerate(("model", "before", "base")):
        write(root / name, seed=seed)
    train = [Document(id=f"a{i}", text=f"{TEXTS[i % 4]} {i}", group=f"m{i % 5}") for i in range(40)]
    held = [Document(id=f"b{i}", text=f"{TEXTS[i % 4]} {i * 7}", group=f"h{i % 3}") for i in range(12)]
    write_documents(root / "corpus" / "train.jsonl", train)
    write_documents(root / "corpus" / "held_out.jsonl", held)
    write_documents(root / "corpus" / "documents.jsonl", train + held)
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"What does b{i} do?"},
                {"role": "assistant", "content": TEXTS[i % 4]},
            ],
            "document": f"b{i}",
            "kind": "what",
        }
        for i in range(8)
    ]
    pairs = [
        {
            "prompt": [{"role": "user", "content": f"What does b{i} do?"}],
            "chosen": TEXTS[i % 4],
            "rejected": TEXTS[(i + 1) % 4],
            "kind": ("weaker", "neighbour")[i % 2],
            "document": f"b{i}",
        }
        for i in range(8)
    ]
    for name, content in (("data", rows), ("pairs", pairs)):
        (root / name).mkdir()
        (root / name / "held_out.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))
    kinds = {"corpus": "corpus", "data": "dataset", "pairs": "pairs"}
    names = ("model", "before", "base", "corpus", "data", "pairs")
    return {name: Artifact(make_id({"n": name}), kinds.get(name, "model"), {}, {}, {}, root / name) for name in names}


def work_in(folder: Path, events: list[Event], **more: Any) -> Work:
    for part in ("out", "state"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    return Work(folder / "out", folder / "state", Runtime(device="cpu", threads=1), events.append, "card", **more)


def evaluate(**fields: Any) -> Evaluate:
    tasks = [{"kind": "answers", "max_tokens": 4}, "held-out-text", "preferences", "retrieval"]
    roles = {name: f"${name}" for name in ("model", "before", "base", "corpus", "data", "pairs")}
    made = Step.parse({"kind": "evaluate", **roles, "tasks": tasks, **fields})
    assert isinstance(made, Evaluate)
    return made


def test_every_task_with_inputs_is_done_and_written(world, tmp_path) -> None:
    events: list[Event] = []
    facts = evaluate().run(work_in(tmp_path, events), **world)
    figures = json.loads((tmp_path / "out" / "report.json").read_text())
    assert {f["task"] for f in figures} == {"answers", "held-out-text", "preferences"}
    assert all({"task", "metric", "of", "value", "low", "high", "n", "note"} <= set(f) for f in figures)
    assert all(f["low"] <= f["value"] + 1e-9 and f["value"] <= f["high"] + 1e-9 for f in figures)
    found = {(f["metric"], f["of"]): f["value"] for f in figures}
    assert {of for metric, of in found if metric == "bits_per_byte"} == {"model", "base", "xz -9e", "byte 5-gram"}
    # untrained weights: about log2(vocabulary) bits a token, far above any baseline
    assert found["bits_per_byte", "model"] > found["bits_per_byte", "byte 5-gram"]
    assert found["bits_per_byte minus xz -9e", "base"] > 0
    assert {"chrf", "exact_match", "token_perplexity", "preference_accuracy, weaker"} <= {metric for metric, _ in found}
    samples = [json.loads(line) for line in (tmp_path / "out" / "samples.jsonl").open()]
    assert len(samples) == 8
    assert facts["figures"] == len(figures)
    assert facts["bits_per_byte of base"] == found["bits_per_byte", "base"]
    assert any(isinstance(e, Message) and "retrieval is left out: no index and no questions" in e.text for e in events)
    done = [e.done for e in events if isinstance(e, Progress)]
    assert done == sorted(done)
    assert done[-1] == 3


def test_the_same_fields_give_the_same_bytes_and_another_seed_does_not(world, tmp_path) -> None:
    files = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        fields = {"seed": seed, "tasks": [{"kind": "held-out-text", "limit": 200}]}
        evaluate(**fields).run(work_in(tmp_path / name, []), **world)
        files[name] = (tmp_path / name / "out" / "report.json").read_bytes()
    assert files["a"] == files["b"]
    assert files["a"] != files["c"]


def test_a_finished_task_is_not_done_again(world, tmp_path) -> None:
    step, events = evaluate(tasks=["preferences", "held-out-text"]), []
    # asked to stop once the first task is on disk
    stop = work_in(tmp_path, events, stopping=lambda: any((tmp_path / "state").glob("0-*.json")))
    with pytest.raises(Stopped):
        step.run(stop, **world)
    kept = tmp_path / "state" / "0-preferences.json"
    content = json.loads(kept.read_text())
    content["figures"][0]["note"] = "from the state folder"
    kept.write_text(json.dumps(content))
    step.run(work_in(tmp_path, events), **world)
    figures = json.loads((tmp_path / "out" / "report.json").read_text())
    assert figures[0]["note"] == "from the state folder"
    assert {f["task"] for f in figures} == {"preferences", "held-out-text"}


def test_scorers_are_chosen_in_the_recipe(world, tmp_path) -> None:
    step = evaluate(scorers=[{"kind": "chrf", "word_order": 2}], tasks=[{"kind": "answers", "max_tokens": 3}])
    step.run(work_in(tmp_path, []), **world)
    figures = json.loads((tmp_path / "out" / "report.json").read_text())
    assert {f["metric"] for f in figures} == {"chrf", "chrf_mean", "chrf minus before"}
    assert any(f["note"].startswith("chrF2++|nrefs:1") for f in figures)


def test_a_scorer_is_one_file(world, tmp_path, monkeypatch) -> None:
    import septet.evals.scorers
    from septet.core import registry

    (tmp_path / "drawer").mkdir()
    (tmp_path / "drawer" / "answer_length.py").write_text(
        '"""Words of an answer."""\n'
        "from septet.evals.sample import Score\n"
        "from septet.evals.scorer import Scorer\n\n\n"
        "class AnswerLength(Scorer):\n"
        '    """The number of words."""\n\n'
        "    def score(self, sample, output):\n"
        '        return Score(sample, {"words": float(len(output.text.split()))})\n'
    )
    monkeypatch.setattr(septet.evals.scorers, "__path__", [*septet.evals.scorers.__path__, str(tmp_path / "drawer")])
    registry._folders.cache_clear()
    monkeypatch.setattr(registry, "_folders", lambda drawer: tuple(importlib.import_module(drawer).__path__))
    evaluate(scorers=["answer-length"], tasks=[{"kind": "answers", "max_tokens": 3}]).run(
        work_in(tmp_path, []), **world
    )
    figures = json.loads((tmp_path / "out" / "report.json").read_text())
    assert {f["metric"] for f in figures} == {"words", "words minus before"}


def test_the_index_is_asked_the_test_half(world, tmp_path) -> None:
    from septet.retrieval.index import build_index

    (tmp_path / "index").mkdir()
    documents = [
        Document(id=name, name=name, text=f"{name.rsplit('.', 1)[1]}(x)\n\n{text}", group="m", file="m.py", line=3)
        for name, text in [
            ("os.path.join", "Join two or more path components, inserting a separator as needed."),
            ("json.dumps", "Serialize obj to a JSON formatted string."),
            ("time.sleep", "Delay execution for a given number of seconds."),
            ("shutil.copy", "Copy data and mode bits from one file to another."),
        ]
    ]
    build_index(tmp_path / "index", documents)
    questions = [
        {"question": "join path components with a separator", "gold": ["os.path.join"], "half": "test"},
        {"question": "serialize an object to a JSON string", "gold": ["json.dumps"], "half": "test"},
        {"question": "delay execution some seconds", "gold": ["time.sleep"], "half": "tune"},
        {"question": "bake sourdough bread tonight", "gold": [], "half": "test"},
    ]
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in questions))
    index = Artifact(make_id({"n": "index"}), "index", {}, {}, {}, tmp_path / "index")
    step = evaluate(index="$index", questions=str(path), tasks=["retrieval"])
    step.run(work_in(tmp_path, []), **world, index=index)
    figures = json.loads((tmp_path / "out" / "report.json").read_text())
    found = {(f["metric"], f["of"]): f for f in figures}
    assert found["recall@1", "bm25"]["value"] == 1
    assert found["first_citation_accuracy", "answers"]["n"] == 2
    assert found["auroc_of_refusing", "answers"]["value"] == 1
    samples = [json.loads(line) for line in (tmp_path / "out" / "samples.jsonl").open()]
    assert [sample["question"] for sample in samples] == [q["question"] for q in questions if q["half"] == "test"]


def test_without_inputs_for_any_task_it_does_not_begin() -> None:
    with pytest.raises(ComponentError, match=r"none of the tasks.*held-out-text: corpus; answers: data"):
        Step.parse({"kind": "evaluate", "model": "$m"})
    with pytest.raises(ComponentError, match="Did you mean 'chrf'"):
        evaluate(scorers=["chrff"])
    with pytest.raises(SeptetError, match="held-out-text"):
        evaluate(tasks=["held-out-txt"])
    assert Task.parse("answers").needs == ("data",)
