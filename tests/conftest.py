"""Shared test set-up: small real components in `toys` (an outside package), an empty store, the folder of real data sets."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from septet.core.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


@pytest.fixture
def septet(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command line in a process of its own, in an empty folder, with `home` as its store."""

    def run(*args: object, timeout: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "septet.cli", *map(str, args)]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=tmp_path,
            env=child_environment(tmp_path, **environment),
        )

    return run


def child_environment(folder: Path, **more: str) -> dict[str, str]:
    """The environment of a child process: this interpreter's import path, the toys, and a store in `folder`."""
    path = os.pathsep.join(filter(None, sys.path))
    return {**os.environ, "PYTHONPATH": path, "SEPTET_HOME": str(folder / "home"), "COLUMNS": "120", **more}


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets; tests that need it are skipped where SEPTET_DATA is unset, and fail where it is wrong."""
    folder = os.environ.get("SEPTET_DATA")
    if not folder:
        pytest.skip("SEPTET_DATA is not set")
    path = Path(folder)
    assert (path / "README.md").is_file(), f"SEPTET_DATA={folder} has no README.md; it must be the folder of data sets"
    return path
