"""Every bash and python block of the README, CONTRIBUTING and the guides runs, in order, as a reader would run it.

A copy of the project and a store in which `recipes/tiny.yaml` has run are prepared once; each page gets its own copy of both. Bash
blocks run with `set -euo pipefail` and `septet` on the PATH; the python blocks of a page share one interpreter. What a block
starts in the background lives until the page's end and is then ended by its process group. Two notes after the language:

    bash not-run: reason        shown, and not run
    python file: path           written to that path in the copy

What it is not: a check of what the blocks print; they succeed or fail.

    python -m pytest -m slow tests/docs/test_guides.py
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.docs.markdown import ROOT, RUN, Fence, fences

pytestmark = pytest.mark.slow

LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", ".septet", "__pycache__", ".*_cache", "build", "dist", "*.egg-info", "node_modules"
)
BLOCK_SECONDS, RECIPE_SECONDS = 240, 420

# Runs blocks sent as JSON lines, in one namespace; what they print goes to stderr, the replies to stdout.
INTERPRETER = """
import json, os, sys, traceback
replies = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
space = {"__name__": "__main__"}
for line in sys.stdin:
    block = json.loads(line)
    try:
        exec(compile("\\n" * (block["line"] - 1) + block["content"], block["file"], "exec"), space)
        reply = ""
    except BaseException:
        reply = traceback.format_exc()
    sys.stdout.flush()
    print(json.dumps(reply), file=replies, flush=True)
"""


class Reader:
    """Somebody who follows a page: one folder, one environment, one python session, and what was left running."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        self.log = folder.parent / f"{folder.name}.log"
        path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        keep = {key: value for key, value in os.environ.items() if not key.startswith(("SEPTET_", "PYTEST_"))}
        # the copy's own code comes first, even where the project is installed in editable form
        imports = os.pathsep.join([str(folder / "src"), *filter(None, sys.path[1:])])
        self.environment = {**keep, "PATH": path, "PYTHONPATH": imports, "COLUMNS": "100", "PYTHONUNBUFFERED": "1"}
        self.running: list[subprocess.Popen] = []
        self.python: subprocess.Popen | None = None

    def follow(self, fence: Fence) -> None:
        """Do what a block says; raises AssertionError with its output where it fails."""
        if fence.note.startswith("not-run:"):
            return
        if fence.note.startswith("file:"):
            path = self.folder / fence.note.removeprefix("file:").strip()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(fence.content, encoding="utf-8")
        elif fence.language == "bash":
            self.bash(fence)
        elif fence.language == "python":
            self.evaluate(fence)

    def bash(self, fence: Fence, seconds: float = BLOCK_SECONDS) -> None:
        with self.log.open("a", encoding="utf-8") as log:
            block = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", fence.content],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # its process group has its id, so what it leaves behind can be ended
            )
            self.running.append(block)
            try:
                status = block.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                status = f"still running after {seconds:.0f} s"
        assert status == 0, f"{fence.place}: status {status}\n{fence.content}\n{self.told()}"

    def evaluate(self, fence: Fence) -> None:
        if self.python is None:
            self.python = subprocess.Popen(
                [sys.executable, "-c", INTERPRETER],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.log.open("a", encoding="utf-8"),
                text=True,
                start_new_session=True,
            )
            self.running.append(self.python)
        assert self.python.stdin
        assert self.python.stdout
        block = {"file": fence.file.name, "line": fence.line, "content": fence.content}
        self.python.stdin.write(json.dumps(block) + "\n")
        self.python.stdin.flush()
        answered, _, _ = select.select([self.python.stdout], [], [], BLOCK_SECONDS)
        assert answered, f"{fence.place}: still running after {BLOCK_SECONDS} s\n{fence.content}"
        line = self.python.stdout.readline()
        error = json.loads(line) if line else "the interpreter ended"
        assert not error, f"{fence.place}:\n{fence.content}\n{error}\n{self.told()}"

    def told(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")[-4000:]

    def leave(self) -> None:
        """End what the page started, by its process group."""
        for process in self.running:
            for number in (signal.SIGTERM, signal.SIGKILL):
                try:
                    os.killpg(process.pid, number)
                except ProcessLookupError:
                    break
                try:
                    process.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    continue


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `septet`, `python` and `python3` that run this interpreter."""
    folder = tmp_path_factory.mktemp("programs")
    for name, arguments in (("septet", "-m septet.cli"), ("python", ""), ("python3", "")):
        path = folder / name
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        path.chmod(0o755)
    return folder


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, programs: Path) -> Path:
    """A copy of the project in whose store the tiny recipe has run."""
    folder = tmp_path_factory.mktemp("prepared") / "septet"
    shutil.copytree(ROOT, folder, ignore=LEFT_OUT)
    reader = Reader(folder, programs)
    try:
        reader.bash(Fence(ROOT / "recipes" / "tiny.yaml", 1, "bash", "septet run recipes/tiny.yaml"), RECIPE_SECONDS)
    finally:
        reader.leave()
    return folder


@pytest.fixture
def reader(prepared: Path, programs: Path, tmp_path: Path) -> Iterator[Reader]:
    folder = tmp_path / "septet"
    shutil.copytree(prepared, folder)
    found = Reader(folder, programs)
    yield found
    found.leave()


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_can_be_followed_from_top_to_bottom(page: Path, reader: Reader):
    for fence in fences(page):
        reader.follow(fence)


def test_a_second_run_keeps_everything(reader: Reader):
    told = Fence(ROOT / "recipes" / "tiny.yaml", 1, "bash", "septet run recipes/tiny.yaml")
    reader.bash(told)
    assert "0 to make" in reader.told()


def test_a_block_that_fails_is_told_with_its_place_and_its_output(reader: Reader):
    page = ROOT / "README.md"
    with pytest.raises(AssertionError, match=r"README.md:7: status 3\n[\s\S]*only then"):
        reader.follow(Fence(page, 7, "bash", "echo only then\nexit 3\n"))
    with pytest.raises(AssertionError, match=r"README.md:9:[\s\S]*ZeroDivisionError"):
        reader.follow(Fence(page, 9, "python", "1 / 0\n"))


def test_the_python_blocks_of_a_page_share_one_session_and_files_are_written(reader: Reader):
    page = ROOT / "README.md"
    reader.follow(Fence(page, 1, "python", "x = 2\n"))
    reader.follow(Fence(page, 1, "python", "assert x == 2\n"))
    reader.follow(Fence(page, 1, "python file: a/b.txt", "words\n"))
    assert (reader.folder / "a" / "b.txt").read_text() == "words\n"
    reader.follow(Fence(page, 1, "bash not-run: it would fail", "exit 1\n"))
