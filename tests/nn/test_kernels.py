"""Compiling a piece of C: kept and taken again, done without where it cannot be, and never half-written.

python -m pytest tests/nn/test_kernels.py
"""

from __future__ import annotations

import concurrent.futures
import shutil
import stat

import pytest

from septet.nn.kernels import build


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    build.library.cache_clear()
    yield tmp_path / "cache" / "septet" / "kernels"
    build.library.cache_clear()


needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")


@needs_compiler
def test_it_is_compiled_once_and_kept(cache, monkeypatch):
    assert build.library("attention") is not None
    (kept,) = cache.iterdir()
    build.library.cache_clear()
    monkeypatch.setattr(build, "_compile", lambda *given: pytest.fail("compiled again"))
    assert build.library("attention") is not None
    assert list(cache.iterdir()) == [kept]


@needs_compiler
def test_several_at_a_time_make_one_file(cache):
    def load(_):
        return build.library.__wrapped__("attention")

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert all(found is not None for found in pool.map(load, range(4)))
    assert len(list(cache.iterdir())) == 1


@needs_compiler
def test_another_processor_has_another_file(cache, monkeypatch):
    assert build.library("attention") is not None
    build.library.cache_clear()
    monkeypatch.setattr(build, "_processor", lambda: "another")
    assert build.library("attention") is not None
    assert len(list(cache.iterdir())) == 2


@needs_compiler
def test_a_compiler_that_does_not_know_this_processor_is_asked_for_less(cache, tmp_path, monkeypatch):
    modest = tmp_path / "modest"
    modest.write_text('#!/bin/sh\ncase "$*" in *native*) exit 1;; esac\nexec cc "$@"\n', encoding="utf-8")
    modest.chmod(modest.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CC", str(modest))
    assert build.library("attention") is not None


def test_without_a_compiler_there_is_none(cache, monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    assert build.library("attention") is None
    assert not cache.exists()
    assert "'no-such-compiler' is not there" in (build.absent() or "")
    monkeypatch.setenv("SEPTET_KERNELS", "0")
    assert build.absent() is None


def test_it_can_be_switched_off(cache, monkeypatch):
    monkeypatch.setenv("SEPTET_KERNELS", "0")
    assert build.library("attention") is None
    assert not cache.exists()


def test_a_compiler_that_fails_is_told_and_done_without(cache, tmp_path, monkeypatch, caplog):
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'not today' >&2\nexit 1\n", encoding="utf-8")
    broken.chmod(broken.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CC", str(broken))
    assert build.library("attention") is None
    assert "not today" in caplog.text
    assert list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    build.library.cache_clear()
    assert build.library("attention") is None
    build.library.cache_clear()
    assert shutil.which("cc") is None or "computed by torch" in caplog.text
