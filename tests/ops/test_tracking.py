"""What trackers are told is read back with each library's own reader.

python -m pytest tests/ops/test_tracking.py
"""

from __future__ import annotations

import doctest
import json
import struct
from pathlib import Path

import pytest

from septet.core.artifact import Artifact
from septet.core.errors import DataError
from septet.core.events import Progress, RunStarted, StepFinished, StepStarted
from septet.ops import comparison
from septet.ops.comparison import compare, write_page
from septet.ops.progress import sparkline
from septet.ops.sinks import mlflow as mlflow_sink
from septet.ops.sinks import tensorboard as tensorboard_sink
from septet.ops.sinks.mlflow import Mlflow
from septet.ops.sinks.tensorboard import TensorBoard
from septet.ops.sinks.wandb import Wandb


@pytest.mark.parametrize("module", [comparison, mlflow_sink, tensorboard_sink])
def test_examples_in_docstrings(module):
    assert doctest.testmod(module).failed == 0


def events(steps, *, finished=True):
    yield RunStarted(recipe="tiny", plan=[("base", "abc", "make")])
    yield StepStarted(step="base", id="abc", settings={"kind": "pretrain", "family": {"kind": "llama"}, "depth": 2})
    yield Progress(
        step="base", done=5, total=9, unit="documents", metrics={"kept": 3}
    )  # no training: nobody's business
    for step in steps:
        yield Progress(step="base", done=step, total=9, metrics={"loss": 9.0 - step, "held_out_nll": 1.5})
    if finished:
        yield StepFinished(step="base", id="abc", seconds=1.0, facts={"bits_per_byte": 1.25, "device": "cpu"})


def test_tensorboard_reads_the_curve_and_a_resumed_run_does_not_overlap(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for steps in ((1, 2, 3, 4), (3, 4, 5)):  # killed after 4, gone on from a checkpoint at 2
        sink = TensorBoard(folder=str(tmp_path))
        for event in events(steps, finished=steps[-1] == 5):
            sink.on(event)
        sink.close()
    found = accumulator.EventAccumulator(str(tmp_path / "base"))
    found.Reload()
    assert set(found.Tags()["scalars"]) == {"train/loss", "held_out/nll"}
    assert [(event.step, event.value) for event in found.Scalars("train/loss")] == [
        (n, 9.0 - n) for n in (1, 2, 3, 4, 5)
    ]


def test_mlflow_has_parameters_metrics_and_the_last_figures(tmp_path, monkeypatch):
    tracking = pytest.importorskip("mlflow.tracking")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    sink = Mlflow(folder=str(tmp_path))
    for event in events((1, 2, 3)):
        sink.on(event)
    sink.close()
    client = tracking.MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    assert run.info.run_name == "base"
    assert run.info.status == "FINISHED"
    assert run.data.params == {"kind": "pretrain", "family.kind": "llama", "depth": "2", "artifact": "abc"}
    assert [m.value for m in client.get_metric_history(run.info.run_id, "train/loss")] == [8.0, 7.0, 6.0]
    assert run.data.metrics["bits_per_byte"] == 1.25


def log_records(data: bytes) -> list[bytes]:
    """The records of a LevelDB log after its header: checksum, length, and kind (whole, or first, middle, last part)."""
    found, part, place = [], b"", 0
    while place + 7 <= len(data):
        length, kind = struct.unpack_from("<HB", data, place + 4)
        content = data[place + 7 : place + 7 + length]
        place += 7 + length
        part = content if kind in (1, 2) else part + content
        if kind in (1, 4):
            found.append(part)
    return found


def test_wandb_records_on_this_machine(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    monkeypatch.delenv("WANDB_MODE", raising=False)
    sink = Wandb(folder=str(tmp_path))
    for event in events((1, 2)):
        sink.on(event)
    sink.close()
    wandb.teardown()  # a process of its own writes the file, and is waited for when this one ends: not when a run does
    (path,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    history = []
    for data in log_records(path.read_bytes()[7:]):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            history.append(
                {item.nested_key[0] if item.nested_key else item.key: json.loads(item.value_json) for item in items}
            )
    assert [row["train/loss"] for row in history] == [8.0, 7.0]


def test_a_line_of_blocks():
    assert sparkline([3.0, 2.0, 1.0]) == "█▅▁"
    assert sparkline([1.0]) == ""
    assert len(sparkline(list(range(100)), 12)) == 12


def model(folder: Path, name: str, losses: list[float], **step) -> Artifact:
    path = folder / name
    path.mkdir()
    rows = [{"step": n + 1, "tokens": 100 * (n + 1), "loss": loss} for n, loss in enumerate(losses)]
    (path / "curve.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Artifact(
        name * 8,
        "model",
        {},
        {"kind": "pretrain", **step},
        {"tokens": 100 * len(losses), "bits_per_byte": losses[-1]},
        path,
    )


def test_only_what_differs_is_compared(tmp_path):
    named = [
        ("one", model(tmp_path, "a", [3.0, 2.0], depth=2, family={"kind": "llama"})),
        ("two", model(tmp_path, "b", [3.0, 1.0], depth=4, family={"kind": "llama"})),
    ]
    found = compare(named)
    assert found.differs == {"depth": [2, 4]}
    assert found.figures["bits_per_byte"] == [2.0, 1.0]
    page = write_page(found, tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count('class="line ') >= 2
    assert "http" not in page.replace("http://www.w3.org", "")


def test_what_has_no_curve_is_told(tmp_path):
    (tmp_path / "x").mkdir()
    with pytest.raises(DataError, match="'text' is a corpus without a curve"):
        compare([("text", Artifact("x" * 8, "corpus", {}, {"kind": "corpus"}, {}, tmp_path / "x"))])
