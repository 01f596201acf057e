"""Write the numbers of training as TensorBoard's event files, one folder a step.

Names are `train/loss`, `train/learning_rate`, ..., `held_out/nll`. A run that goes on from a checkpoint tells TensorBoard to forget
what was written beyond it, so curves never overlap. Nothing is sent anywhere, and neither torch nor TensorFlow is imported.

What it is not: the viewer.

    tensorboard --logdir .septet/runs
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import PrivateAttr

from septet.core import events
from septet.core.events import Event
from septet.ops.sink import Sink


class TensorBoard(Sink):
    """Event files below a folder."""

    folder: str
    """Where the folders of the steps are."""
    _writers: dict[str, Any] = PrivateAttr(default_factory=dict)

    def on(self, event: Event) -> None:
        match event:
            case events.Progress(metrics=metrics) if metrics and event.unit == "steps":
                self._write(event)
            case events.StepFinished() | events.StepFailed():
                writer = self._writers.pop(event.step, None)
                if writer is not None:
                    writer.close()

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def _write(self, event: events.Progress) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2  # 0.2 s; runs that train nothing do without
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        # the messages are made when the module is loaded, out of sight of a type checker
        record: Any = vars(event_pb2)["Event"]
        session: Any = vars(event_pb2)["SessionLog"]
        summary: Any = vars(summary_pb2)["Summary"]
        number = int(event.done)
        if event.step not in self._writers:
            writer = self._writers[event.step] = EventFileWriter(str(Path(self.folder) / event.step))
            writer.add_event(record(wall_time=event.at, step=number, session_log=session(status=session.START)))
        values = [summary.Value(tag=scalar(name), simple_value=value) for name, value in event.metrics.items()]
        self._writers[event.step].add_event(record(wall_time=event.at, step=number, summary=summary(value=values)))


def scalar(name: str) -> str:
    """Return a metric's name as trackers group them.

    >>> scalar("held_out_nll"), scalar("loss")
    ('held_out/nll', 'train/loss')
    """
    return f"held_out/{name.removeprefix('held_out_')}" if name.startswith("held_out_") else f"train/{name}"
