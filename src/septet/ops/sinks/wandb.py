"""Record training with Weights & Biases: on this machine only, unless WANDB_MODE=online says otherwise.

What it is not: an account; `wandb sync FOLDER` sends a recorded run later.

    septet run recipe.yaml --track wandb
"""

from __future__ import annotations

import os
from typing import Any

from pydantic import PrivateAttr

from septet.core import events
from septet.core.events import Event
from septet.core.extras import need
from septet.ops.sink import Sink
from septet.ops.sinks.tensorboard import scalar


class Wandb(Sink):
    """One W&B run for each step that trains, its fields as the configuration."""

    folder: str
    """Where runs are recorded."""
    project: str = "septet"
    """The project's name."""
    _recipe: str = PrivateAttr("")
    _settings: dict[str, Any] = PrivateAttr(default_factory=dict)
    _run: Any = PrivateAttr(None)

    def on(self, event: Event) -> None:
        match event:
            case events.RunStarted():
                need("wandb", "track")
                self._recipe = event.recipe
            case events.StepStarted():
                self._settings = {**event.settings, "artifact": event.id}
            case events.Progress(metrics=metrics) if metrics and event.unit == "steps":
                if self._run is None:
                    self._run = self._begin(event.step)
                self._run.log({scalar(name): value for name, value in metrics.items()}, step=int(event.done))
            case events.StepFinished() if self._run is not None:
                for name, value in event.facts.items():
                    if isinstance(value, int | float | str):
                        self._run.summary[name] = value
                self.close()
            case events.StepFailed():
                self.close()

    def close(self) -> None:
        if self._run is not None:
            self._run.finish()
            self._run = None

    def _begin(self, step: str) -> Any:
        wandb = need("wandb", "track")
        return wandb.init(
            project=self.project,
            name=f"{self._recipe}/{step}",
            mode=os.environ.get("WANDB_MODE", "offline"),
            dir=self.folder,
            config=self._settings,
            settings=wandb.Settings(
                silent=True, console="off", disable_git=True, disable_code=True, x_disable_meta=True
            ),
        )
