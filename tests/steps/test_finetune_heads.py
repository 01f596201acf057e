"""The step finetune for answers out of passages and for vectors: from a data set to a folder that others open.

python -m pytest tests/steps/test_finetune_heads.py
"""

import json
from dataclasses import replace

import pytest
from tests.train.folders import save_family
from tests.train.test_contrastive import toy_rows as couples
from tests.train.test_spans import toy_rows as questions
from tiny_chat import artifact, work_at, write_rows

from septet.core.errors import ComponentError
from septet.evals.reader import ModelReader
from septet.infer.task import Task
from septet.steps.finetune import Finetune

FIELDS = {"model": "$base", "data": "$rows", "adapter": "full", "batch_size": 16, "learning_rate": 3e-3}


def inputs(folder, family: str, task: str, rows: list[dict]) -> dict:
    write_rows(folder / "rows" / "train.jsonl", rows)
    write_rows(folder / "rows" / "held_out.jsonl", rows[:8])
    (folder / "rows" / "dataset.json").write_text(json.dumps({"task": task}))
    (folder / "base").mkdir()
    base = save_family(family, folder / "base", template=family == "bert")
    return {"model": artifact(base, "model"), "data": artifact(folder / "rows", "dataset")}


@pytest.mark.parametrize("family", ["bert", "llama", "t5"])
def test_it_teaches_where_the_answer_is(family, tmp_path):
    rows = questions()
    work = work_at(tmp_path / "work")
    step = Finetune(epochs=25, task=Task.parse({"kind": "question-answering", "max_answer_tokens": 4}), **FIELDS)
    facts = step.run(work, **inputs(tmp_path, family, "question-answering", rows))
    assert facts["held_out_accuracy"] > 0.7
    assert (facts["task"], facts["train_rows"], facts["train_lost"]) == ("question-answering", 64, 0)
    # the folder knows its task, and whoever evaluates it gets its predictions
    task, labels = Task.of_folder(work.out)
    assert (task, labels) == (step.task, ())
    found = ModelReader(work.out, device="cpu").predict(rows)
    right = [one.prediction["text"] in (task.expected(row) or [""]) for one, row in zip(found, rows, strict=True)]
    assert sum(right) > 0.7 * len(right)
    assert {one.prediction["text"] for one in found} >= {"", "w10 w11"}


def test_it_teaches_vectors(tmp_path):
    work = work_at(tmp_path / "work")
    step = Finetune(epochs=20, task=Task.parse({"kind": "similarity", "temperature": 0.2}), **FIELDS)
    facts = step.run(work, **inputs(tmp_path, "bert", "similarity", couples()))
    assert facts["held_out_loss"] < 0.7 * facts["held_out_loss_before"]
    assert {path.name for path in work.out.iterdir()} >= {"modules.json", "1_Pooling", "task.json", "model.safetensors"}
    reader = ModelReader(work.out, device="cpu")
    near, far = reader.predict(
        [{"anchor": "w12 w30", "positive": "w12 w21"}, {"anchor": "w12 w30", "positive": "w13 w30"}]
    )
    assert near.prediction > far.prediction + 0.3


def test_an_encoder_decoder_learns_no_vectors(tmp_path):
    with pytest.raises(ComponentError, match=r"'encoder-decoder' cannot learn the task 'similarity'"):
        Finetune(**FIELDS).run(work_at(tmp_path / "work"), **inputs(tmp_path, "t5", "similarity", couples()))


def test_a_head_is_not_compiled_and_that_is_told(tmp_path):
    told = []
    work = work_at(tmp_path / "work")
    work = replace(work, emit=told.append)
    facts = Finetune(epochs=1, compile=True, **FIELDS).run(
        work, **inputs(tmp_path, "bert", "question-answering", questions())
    )
    assert "compiled" not in facts
    assert any("Not compiled: 'spans' learns a head" in str(event) for event in told)
