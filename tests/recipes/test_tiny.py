"""The whole life of a tiny model through the command line: once undisturbed, once killed ten times; the same bytes.

python -m pytest -m slow tests/recipes/test_tiny.py
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import child_environment

from septet.core.store import Store

pytestmark = pytest.mark.slow

TINY = Path(__file__).parents[2] / "recipes" / "tiny.yaml"
KILLS = 10


@pytest.fixture(scope="module")
def quiet(tmp_path_factory) -> Path:
    """A folder whose store holds an undisturbed run of the tiny recipe."""
    folder = tmp_path_factory.mktemp("quiet")
    done = run(folder)
    assert done.returncode == 0, done.stderr
    return folder


def command() -> list[str]:
    return [sys.executable, "-m", "septet.cli", "--offline", "--json", "run", str(TINY)]


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(), capture_output=True, text=True, cwd=folder, env=child_environment(folder), check=False
    )


def digests(folder: Path) -> dict[str, dict[str, str]]:
    """The id and the digest of every file of every step's artifact."""
    store = Store(folder / "home")
    found = {}
    for name in store.names():
        artifact = store.resolve(name.name)
        found[name.name] = {"id": artifact.id, **artifact.facts["digest"]}
    return found


def test_every_kind_of_artifact_is_made_and_reported(quiet):
    kinds = {artifact.kind for artifact in Store(quiet / "home")}
    assert kinds == {"corpus", "tokenizer", "model", "dataset", "pairs", "index", "report"}
    page = (quiet / "home" / "runs" / "tiny" / "report.html").read_text(encoding="utf-8")
    assert "<svg" in page
    assert "http://" not in page.replace("http://www.w3.org", "").replace("http://127.0.0.1", "")


def test_models_open_with_transformers(quiet):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    store = Store(quiet / "home")
    for step in ("base", "chat", "liked"):
        folder = store.resolve(f"tiny/{step}").path
        model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        assert model.config.vocab_size >= len(tokenizer)
        assert not [p for p in folder.rglob("*") if p.suffix in (".bin", ".pt", ".pkl", ".pth")]


def test_killed_ten_times_it_ends_with_the_same_bytes(quiet, tmp_path):
    expected = digests(quiet)
    whole = len(
        subprocess.run(command(), capture_output=True, text=True, cwd=quiet, env=child_environment(quiet)).stdout
    )
    assert whole, "a second run tells what it keeps"
    lines = (quiet / "home" / "runs" / "tiny" / "events.jsonl").read_text().splitlines()
    rng, kills = random.Random(7), 0
    for _ in range(KILLS * 6):
        process = subprocess.Popen(
            command(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=child_environment(tmp_path),
        )
        assert process.stdout is not None
        if kills < KILLS:
            # so many events later the process dies; the range lets kills fall into every step
            for _ in range(rng.randint(2, max(3, len(lines) // 4))):
                if not process.stdout.readline():
                    break
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                kills += 1
        _, errors = process.communicate(timeout=600)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, errors
    assert kills >= KILLS // 2
    found = digests(tmp_path)
    for name, files in expected.items():
        assert found[name] == files, f"{name} differs after {kills} kills"


def test_a_second_run_keeps_everything(quiet):
    done = run(quiet)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert not [event for event in events if event["event"] == "step_started"]
    assert len([event for event in events if event["event"] == "step_kept"]) == len(digests(quiet))
