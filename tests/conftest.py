"""Shared test set-up: small real components in `toys`, an empty store, and the folder of real data sets."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from septet.core.store import Store

sys.path.insert(0, str(Path(__file__).parent / "toys_pkg"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets; tests that need it are skipped where SEPTET_DATA is unset, and fail where it is wrong."""
    folder = os.environ.get("SEPTET_DATA")
    if not folder:
        pytest.skip("SEPTET_DATA is not set")
    path = Path(folder)
    assert (path / "README.md").is_file(), f"SEPTET_DATA={folder} has no README.md; it must be the folder of data sets"
    return path
