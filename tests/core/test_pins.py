"""What moving names meant when they were first used.

python -m pytest tests/core/test_pins.py
"""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from septet.core import pins
from septet.core.errors import StoreError


@pytest.fixture(autouse=True)
def _apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pins, "_home", None)
    monkeypatch.setattr(pins, "_memory", {})


def test_the_first_value_stays(tmp_path: Path):
    pins.use(tmp_path / "home")
    assert pins.get("a") is None
    assert pins.pin("a", lambda: "1") == "1"
    assert pins.pin("a", lambda: "2") == "1"
    assert pins.pin("b", lambda: "3") == "3"
    assert json.loads((tmp_path / "home" / pins.FILE).read_text()) == {"a": "1", "b": "3"}


def test_without_a_home_pins_are_kept_in_memory(tmp_path: Path):
    assert pins.pin("a", lambda: "1") == "1"
    assert pins.pin("a", lambda: "2") == "1"
    pins.use(tmp_path)
    assert pins.get("a") is None


def test_what_cannot_be_found_is_not_pinned(tmp_path: Path):
    pins.use(tmp_path)
    with pytest.raises(ZeroDivisionError):
        pins.pin("a", lambda: str(1 / 0))
    assert pins.pin("a", lambda: "1") == "1"


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}'])
def test_a_file_that_was_broken_by_hand(tmp_path: Path, text: str):
    pins.use(tmp_path)
    (tmp_path / pins.FILE).write_text(text)
    with pytest.raises(StoreError, match=r"pins\.json .*remove it to resolve its names anew"):
        pins.get("a")


def _many(home: Path, number: int) -> list[str]:
    pins.use(home)
    return [pins.pin(f"key{place}", lambda: f"of {number}") for place in range(20)]


def test_processes_at_once_agree_and_lose_nothing(tmp_path: Path):
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        found = pool.starmap(_many, [(tmp_path, number) for number in range(3)])
    assert found[0] == found[1] == found[2]
    pins.use(tmp_path)
    assert [pins.get(f"key{place}") for place in range(20)] == found[0]
