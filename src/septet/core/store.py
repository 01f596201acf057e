"""The store: finished artifacts by id, work in progress, names that point to ids.

    <home>/artifacts/<id>/        finished: files and manifest.json; never changed afterwards
    <home>/work/<id>/out, state   being made, or left by a run that was killed; the next run goes on from `state`
    <home>/names/<recipe>/<step>  a pointer to an id, switched atomically
    <home>/runs/<recipe>/         report.html, events.jsonl
    <home>/locks/                 operating system locks, which end with their process

An artifact becomes visible by one rename, after its manifest was written and every file was flushed, so a half-made one is
never seen. Two runs may share a store: one id is made by one process at a time, the other waits and then keeps it.

What it is not: a server or a database. `rm -r` of the home folder removes everything; nothing lives elsewhere.

    septet ls --home .septet
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from septet.core.artifact import MANIFEST, Artifact, digest_folder, write_json
from septet.core.errors import SpaceError, Stopped, StoreError, nearest

__all__ = ["Store", "space_errors"]

WAIT = 0.2
"""Seconds between two looks at a lock that another process holds."""
_HEX = re.compile(r"[0-9a-f]{4,32}")


@contextlib.contextmanager
def space_errors(where: Path) -> Iterator[None]:
    """Turn "no space left on device" and "quota exceeded" into a message for people."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise SpaceError(
            f"No space is left on the disk that holds {where}. Nothing is lost: free some space (`septet gc` removes what no "
            "name points to) and run the same command again; it goes on from the last checkpoint."
        ) from error


@dataclass(frozen=True, slots=True)
class Name:
    """A pointer `recipe/step` -> id, and when it was set (seconds since the epoch)."""

    name: str
    id: str
    at: float


class Store:
    """The folder that holds everything Septet makes."""

    def __init__(self, home: str | Path) -> None:
        self.home = Path(home).absolute()
        self.artifacts = self.home / "artifacts"

    # -- reading ----------------------------------------------------------------------------------------------------

    def get(self, id: str) -> Artifact | None:
        """Return the finished artifact of an id, or None."""
        try:
            return Artifact.load(self.artifacts / id)
        except FileNotFoundError:
            return None

    def __iter__(self) -> Iterator[Artifact]:
        if self.artifacts.is_dir():
            for folder in sorted(self.artifacts.iterdir()):
                artifact = self.get(folder.name)
                if artifact is not None:
                    yield artifact

    def names(self) -> list[Name]:
        """Return every pointer, the newest first."""
        root, found = self.home / "names", []
        for path in root.glob("*/*.json"):
            content = json.loads(path.read_text(encoding="utf-8"))
            found.append(Name(f"{path.parent.name}/{path.stem}", content["id"], content["at"]))
        return sorted(found, key=lambda name: (-name.at, name.name))

    def resolve(self, name: str, *, kinds: tuple[str, ...] = ()) -> Artifact:
        """Return the artifact for `recipe/step`, a bare step name (its newest run), an id or the beginning of an id."""
        pointers = self.names()
        ids = [p.id for p in pointers if name in (p.name, p.name.partition("/")[2])][:1]
        if not ids and _HEX.fullmatch(name) and self.artifacts.is_dir():
            ids = [p.name for p in self.artifacts.iterdir() if p.name.startswith(name) and (p / MANIFEST).exists()]
            if len(ids) > 1:
                raise StoreError(f"'{name}' begins {len(ids)} ids; give more digits: {', '.join(sorted(ids)[:6])}.")
        artifact = self.get(ids[0]) if ids else None
        if artifact is None:
            known = {p.name for p in pointers} | {p.name.partition("/")[2] for p in pointers}
            hint = nearest(name, known) or " The store is empty: run a recipe first, for example `septet quickstart`."
            raise StoreError(f"There is no artifact named '{name}' in {self.home}.{hint}")
        if kinds and artifact.kind not in kinds:
            raise StoreError(f"'{name}' is a {artifact.kind}, and a {' or '.join(kinds)} is needed here.")
        return artifact

    def users(self, id: str) -> list[Artifact]:
        """Return the artifacts made directly from this one."""
        return [artifact for artifact in self if id in artifact.inputs.values()]

    # -- making -----------------------------------------------------------------------------------------------------

    def point(self, recipe: str, step: str, id: str) -> None:
        """Let `recipe/step` mean this id from now on."""
        folder = self.home / "names" / recipe
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / f"{step}.json", {"id": id, "at": time.time()})

    def run_folder(self, recipe: str) -> Path:
        """Return the folder for a recipe's report and events, made if need be."""
        folder = self.home / "runs" / recipe
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @contextlib.contextmanager
    def making(
        self, id: str, *, waiting: Callable[[], None] = lambda: None, stopping: Callable[[], bool] = lambda: False
    ) -> Iterator[Path]:
        """Hold the right to make an id; yields its work folder. Waits for another process that makes the same one.

        `waiting` is called once if there is something to wait for; while it waits, Stopped is raised when `stopping()`.
        """
        with self._lock(id, waiting=waiting, stopping=stopping):
            folder = self.home / "work" / id
            # `out` begins empty each time: only `state` is meant to outlive a kill
            shutil.rmtree(folder / "out", ignore_errors=True)
            for part in ("out", "state"):
                (folder / part).mkdir(parents=True, exist_ok=True)
            yield folder

    def commit(self, work: Path, artifact: Artifact) -> Artifact:
        """Make the finished work folder visible as an artifact; the manifest is written last, then one rename."""
        out = work / "out"
        artifact = artifact.with_facts(digest=digest_folder(out))
        for path in out.rglob("*"):
            if path.is_file():
                _flush(path)
        write_json(out / MANIFEST, artifact.manifest())
        self.artifacts.mkdir(parents=True, exist_ok=True)
        target = self.artifacts / artifact.id
        os.rename(out, target)
        _flush(self.artifacts)
        shutil.rmtree(work, ignore_errors=True)
        return Artifact.load(target)

    @contextlib.contextmanager
    def using(self) -> Iterator[None]:
        """Hold the store open for a run, so that nothing is collected from under it."""
        with self._lock("store", shared=True):
            yield

    # -- removing ---------------------------------------------------------------------------------------------------

    def remove(self, artifact: Artifact, *, force: bool = False) -> None:
        """Remove one artifact and the names that point to it; refuses while others were made from it, unless forced."""
        users = self.users(artifact.id)
        if users and not force:
            made = ", ".join(f"{user.kind} {user.short}" for user in users[:5])
            raise StoreError(
                f"{artifact.kind} {artifact.short} is an input of {made}; remove those first, or use --force."
            )
        with self._alone():
            for name in self.names():
                if name.id == artifact.id:
                    (self.home / "names" / f"{name.name}.json").unlink(missing_ok=True)
            self._discard(artifact.path)

    def collect(self, *, dry_run: bool = False, work: bool = False) -> list[tuple[str, int]]:
        """Remove artifacts that no name reaches through lineage; with `work`, unfinished work too.

        Returns (what, bytes) for each removed folder.
        """
        with self._alone():
            keep, todo = set(), [name.id for name in self.names()]
            while todo:
                id = todo.pop()
                artifact = None if id in keep else self.get(id)
                if artifact is not None:
                    keep.add(id)
                    todo.extend(artifact.inputs.values())
            doomed = [artifact.path for artifact in self if artifact.id not in keep]
            if work and (self.home / "work").is_dir():
                doomed += sorted((self.home / "work").iterdir())
            removed = []
            for path in doomed:
                size = sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
                removed.append((path.relative_to(self.home).as_posix(), size))
                if not dry_run:
                    self._discard(path)
            return removed

    def _discard(self, path: Path) -> None:
        # renamed first, so that a kill in the middle leaves no artifact with some of its files
        trash = self.home / "trash"
        trash.mkdir(parents=True, exist_ok=True)
        target = trash / f"{path.name}.{os.getpid()}"
        os.rename(path, target)
        shutil.rmtree(target, ignore_errors=True)

    # -- locks ------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        def busy() -> None:
            raise StoreError(f"A run is using {self.home}; wait until it ends (or stop it), then try again.")

        with self._lock("store", waiting=busy):
            yield

    @contextlib.contextmanager
    def _lock(
        self,
        name: str,
        *,
        shared: bool = False,
        waiting: Callable[[], None] = lambda: None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> Iterator[None]:
        folder = self.home / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        # the file is never removed: unlinking a lock file lets two processes hold "the same" lock
        with (folder / f"{name}.lock").open("a") as file:
            told = False
            while True:
                try:
                    fcntl.flock(file, mode | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if not told:
                        waiting()
                    told = True
                    if stopping():
                        raise Stopped("Stopped while it waited for another run.") from None
                    time.sleep(WAIT)  # a lock that is waited for without end would not hear a signal
            yield


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
