"""Record training with MLflow: in a database below the store, or where MLFLOW_TRACKING_URI says.

What it is not: the viewer; `mlflow ui --backend-store-uri sqlite:///.septet/mlflow.db` shows it (package mlflow).

    septet run recipe.yaml --track mlflow
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from typing import Any

from pydantic import PrivateAttr

from septet.core import events
from septet.core.events import Event
from septet.core.extras import need
from septet.ops.sink import Sink
from septet.ops.sinks.tensorboard import scalar


class Mlflow(Sink):
    """One MLflow run for each step that trains, in the experiment of the recipe's name."""

    folder: str
    """Where the database is, unless MLFLOW_TRACKING_URI names another."""
    _recipe: str = PrivateAttr("")
    _settings: dict[str, Any] = PrivateAttr(default_factory=dict)
    _client: Any = PrivateAttr(None)
    _run: str | None = PrivateAttr(None)

    def on(self, event: Event) -> None:
        match event:
            case events.RunStarted():
                need("mlflow", "track")
                self._recipe = event.recipe
            case events.StepStarted():
                self._settings = {**event.settings, "artifact": event.id}
            case events.Progress(metrics=metrics) if metrics and event.unit == "steps":
                self._log(event.step, metrics, int(event.done), event.at)
            case events.StepFinished():
                facts = {k: v for k, v in event.facts.items() if isinstance(v, int | float) and not isinstance(v, bool)}
                if self._run is not None:
                    self._log(event.step, facts, 0, event.at, final=True)
                self._end("FINISHED")
            case events.StepFailed():
                self._end("FAILED")

    def close(self) -> None:
        self._end("KILLED")

    def _log(self, step: str, metrics: Mapping[str, float], number: int, at: float, *, final: bool = False) -> None:
        from mlflow.entities import Metric

        if self._run is None:
            self._begin(step)
        milliseconds = int(at * 1000)
        named = [(name if final else scalar(name), value) for name, value in metrics.items()]
        self._client.log_batch(self._run, [Metric(name, value, milliseconds, number) for name, value in named])

    def _begin(self, step: str) -> None:
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{self.folder}/mlflow.db"
        self._client = self._client or MlflowClient(tracking_uri=uri)
        known = self._client.get_experiment_by_name(self._recipe)
        experiment = known.experiment_id if known else self._client.create_experiment(self._recipe)
        self._run = self._client.create_run(experiment, run_name=step).info.run_id
        params = [Param(name, value) for name, value in flat(self._settings)]
        self._client.log_batch(self._run, params=params)

    def _end(self, status: str) -> None:
        if self._run is not None:
            self._client.set_terminated(self._run, status=status)
            self._run = None


def flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return dotted names with their values as text, at most 500 characters each.

    >>> flat({"depth": 2, "family": {"kind": "llama"}})
    [('depth', '2'), ('family.kind', 'llama')]
    """
    found = []
    for name, value in values.items():
        if isinstance(value, dict):
            found += flat(value, f"{prefix}{name}.")
        else:
            found.append((f"{prefix}{name}", (value if isinstance(value, str) else json.dumps(value))[:500]))
    return found
