"""Run a recipe's steps one after the other: keep what is there, go on with what was interrupted.

Steps run in this process, and those that can on several where the runtime has a team.

What it is not: a scheduler of many recipes.

    septet run recipes/ask-python.yaml
"""

from __future__ import annotations

import contextlib
import json
import platform
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from septet import __version__
from septet.core.artifact import Artifact, write_json
from septet.core.errors import Stopped, StoreError, nearest
from septet.core.events import (
    Event,
    Message,
    Progress,
    RunFinished,
    RunStarted,
    StepFailed,
    StepFinished,
    StepKept,
    StepStarted,
)
from septet.core.recipe import Planned, Recipe, plan
from septet.core.step import Runtime, Work
from septet.core.store import Store, space_errors
from septet.ops.report import write_report
from septet.ops.sink import Sink

__all__ = ["Run", "load_run", "newest_run", "run_recipe"]

RUN = "run.json"
REPORT = "report.html"


@dataclass(frozen=True, slots=True)
class Run:
    """A recipe that has run: its artifacts by step, in running order, what it serves, and its folder."""

    name: str
    artifacts: dict[str, Artifact]
    serve: dict[str, Any]
    folder: Path


def run_recipe(
    recipe: Recipe,
    store: Store,
    *,
    runtime: Runtime | None = None,
    sinks: Sequence[Sink] = (),
    only: str | None = None,
    report: bool = True,
) -> Run:
    """Make or keep every step of a recipe (or `only` one and what it needs) and point the names at the results.

    With `report`, the run is recorded for `serve` and `ask`, and its report.html is written.

    Ctrl-C stops at the next safe point; a second Ctrl-C stops at once. Either way the next run goes on.
    """
    runtime = runtime or Runtime()
    began = time.monotonic()

    heard: list[Event] = []

    def emit(event: Event) -> None:
        if not isinstance(event, Progress):
            heard.append(event)  # for the report; progress would be thousands
        for sink in sinks:
            sink.on(event)

    artifacts: dict[str, Artifact] = {}
    try:
        with space_errors(store.home), store.using(), _interrupts(emit) as stopping:
            steps = _needed(plan(recipe, store), only)
            emit(RunStarted(recipe=recipe.name, plan=[(p.name, p.id, p.action) for p in steps]))
            for planned in steps:
                inputs = {role: _input(store, id) for role, id in planned.inputs.items()}
                artifacts[planned.name] = _make(planned, inputs, store, runtime, emit, stopping)
                store.point(recipe.name, planned.name, planned.id)
            emit(finished := RunFinished(recipe=recipe.name, seconds=time.monotonic() - began))
            if not report:
                return Run(recipe.name, artifacts, {}, store.home)
            run = _record(recipe, artifacts, store)
            write_report(
                store, run.name, artifacts, list(artifacts), [*heard, finished], run.folder / REPORT, serve=run.serve
            )
            return run
    finally:
        for sink in sinks:
            sink.close()


def _needed(steps: list[Planned], only: str | None) -> list[Planned]:
    if only is None:
        return steps
    wanted = {p.id for p in steps if p.name == only}
    for planned in reversed(steps):
        if planned.id in wanted:
            wanted.update(planned.inputs.values())
    return [p for p in steps if p.id in wanted]


def _input(store: Store, id: str) -> Artifact:
    artifact = store.get(id)
    assert artifact is not None, f"input {id} is planned and not in the store"
    return artifact


def _make(
    planned: Planned,
    inputs: dict[str, Artifact],
    store: Store,
    runtime: Runtime,
    emit: Callable[[Event], None],
    stopping: Callable[[], bool],
) -> Artifact:
    name, id = planned.name, planned.id
    if planned.kept is not None:
        emit(StepKept(step=name, id=id))
        return planned.kept

    def waiting() -> None:
        emit(Message(step=name, text=f"another run is making {id[:12]}; waiting for it"))

    with store.making(id, waiting=waiting, stopping=stopping) as folder:
        kept = store.get(id)  # the other run may have finished it
        if kept is not None:
            emit(StepKept(step=name, id=id))
            return kept
        clock = _Spent(folder / "spent.json")

        def tell(event: Event) -> None:
            clock.tick()
            emit(event)

        emit(StepStarted(step=name, id=id, resumed=any((folder / "state").iterdir()), settings=planned.dump))
        work = Work(
            out=folder / "out",
            state=folder / "state",
            runtime=runtime,
            emit=tell,
            step=name,
            stopping=stopping,
        )
        try:
            with space_errors(store.home):
                team = runtime.team if type(planned.step).parallel else None
                facts = planned.step.run(work, **inputs) if team is None else team.run(planned.step, work, inputs)
                facts = {**facts, "seconds": round(clock.total(), 3), **_facts_of_the_machine()}
                artifact = Artifact(id, type(planned.step).produces, planned.inputs, planned.dump, facts)
                artifact = store.commit(folder, artifact)
        except BaseException as error:
            emit(StepFailed(step=name, id=id, reason=str(error) or type(error).__name__))
            raise
    emit(StepFinished(step=name, id=id, seconds=artifact.facts["seconds"], facts=artifact.facts))
    return artifact


class _Spent:
    """The seconds that a step took, over all the runs that were interrupted."""

    def __init__(self, path: Path) -> None:
        self.path, self.began, self.last = path, time.monotonic(), 0.0
        with contextlib.suppress(FileNotFoundError, ValueError):
            self.last = float(path.read_text(encoding="utf-8"))
        self.written = self.began

    def total(self) -> float:
        return self.last + time.monotonic() - self.began

    def tick(self) -> None:
        if time.monotonic() - self.written > 2:
            self.written = time.monotonic()
            write_json(self.path, round(self.total(), 3))


@contextlib.contextmanager
def _interrupts(emit: Callable[[Event], None]) -> Iterator[Callable[[], bool]]:
    """Let the first Ctrl-C ask for a stop and the second one stop at once; yields the question "stop?"."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set  # signals belong to the main thread; elsewhere nobody asks
        return
    previous = {}

    def ask(number: int, frame: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        # a signal may come while a line is written, and a stream refuses a second writer: then the notice is lost, not the run
        with contextlib.suppress(RuntimeError):
            emit(Message(text="Stopping at the next safe point (Ctrl-C again to stop at once) ..."))

    for number in (signal.SIGINT, signal.SIGTERM):
        previous[number] = signal.signal(number, ask)

    def stopping() -> bool:
        return asked.is_set()

    try:
        yield stopping
        if asked.is_set():
            raise Stopped("Stopped; everything that was finished is kept.")
    except KeyboardInterrupt:
        raise Stopped(
            "Stopped; what was finished is kept, and the same command goes on from the last checkpoint."
        ) from None
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@cache
def _facts_of_the_machine() -> dict[str, Any]:
    versions = {"python": platform.python_version(), "septet": __version__}
    for package in ("torch", "transformers", "tokenizers", "peft", "numpy", "sentence-transformers"):
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return {"versions": versions, "platform": f"{platform.system()} {platform.machine()}", "git": _commit()}


def _commit() -> str | None:
    """Return the commit of the working directory's repository, with "+" if it has changes, or None outside of one."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


# -- what a run leaves for `serve`, `ask` and the report ----------------------------------------------------------------


def _made(value: Any, ids: Mapping[str, str]) -> Any:
    """Return a value of `serve` with ids in place of steps."""
    if isinstance(value, Mapping):
        return {name: _made(part, ids) for name, part in value.items()}
    return ids.get(value, value) if isinstance(value, str) else value


def _record(recipe: Recipe, artifacts: dict[str, Artifact], store: Store) -> Run:
    ids = {f"${name}": artifact.id for name, artifact in artifacts.items()}
    serve = {key: _made(value, ids) for key, value in recipe.serve.items()}
    folder = store.run_folder(recipe.name)
    steps = {name: artifact.id for name, artifact in artifacts.items()}
    write_json(folder / RUN, {"name": recipe.name, "at": time.time(), "steps": steps, "serve": serve})
    return Run(recipe.name, artifacts, serve, folder)


def load_run(store: Store, name: str) -> Run:
    """Return the last run of a recipe by its name."""
    folder = store.home / "runs" / name
    try:
        content = json.loads((folder / RUN).read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = sorted(p.parent.name for p in (store.home / "runs").glob(f"*/{RUN}"))
        hint = nearest(name, known) or " Nothing has run here yet; begin with `septet quickstart`."
        raise StoreError(f"No finished run of a recipe named '{name}' is in {store.home}.{hint}") from None
    artifacts = {}
    for step, id in content["steps"].items():
        artifact = store.get(id)
        if artifact is None:
            raise StoreError(f"The run '{name}' needs {step} {id[:12]}, which was removed. Run the recipe again.")
        artifacts[step] = artifact
    return Run(name, artifacts, content["serve"], folder)


def newest_run(store: Store) -> Run:
    """Return the run that finished last among those whose recipe serves an application."""
    found = []
    for path in (store.home / "runs").glob(f"*/{RUN}"):
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["serve"]:
            found.append((content["at"], path.parent.name))
    if not found:
        raise StoreError(f"Nothing that serves has run in {store.home} yet; begin with `septet quickstart`.")
    return load_run(store, max(found)[1])
