"""`septet preview` and `septet predict`, from a table of labels to a prediction, as people use them.

python -m pytest tests/surfaces/test_task_commands.py
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from tests.conftest import child_environment
from tests.train.families import CONTEXT
from tests.train.folders import save_family

WORDS = ("w20 w21", "w22 w23 w24", "w25", "w26 w27 w28")


@pytest.fixture(scope="module")
def run_septet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cwd")

    def run(*args: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "septet.cli", *args]
        environment = child_environment(folder)
        return subprocess.run(
            command, capture_output=True, text=True, timeout=120, cwd=folder, env=environment, input=given
        )

    return run


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a table of labels and a tiny encoder."""
    folder = tmp_path_factory.mktemp("place")
    lines = [f"{text} {'w11' if good else 'w12'},{'good' if good else 'bad'}" for text in WORDS for good in (1, 0)] * 3
    numbered = [f"w{30 + number // 2} {line}" for number, line in enumerate(lines)]
    (folder / "rows.csv").write_text("text,label\n" + "\n".join(numbered) + "\n")
    (folder / "base").mkdir()
    save_family("bert", folder / "base")
    return folder


@pytest.fixture(scope="module")
def judge(place, run_septet):
    """The home in which the table was learned."""
    builder = {"kind": "table", "train": str(place / "rows.csv"), "split": {"validation": 0.2}}
    for args in (
        ["checkpoint", "--folder", str(place / "base"), "--name", "base"],
        ["dataset", "--builder", json.dumps(builder), "--name", "rows"],
        ["finetune", "--model", "base", "--data", "rows", "--adapter", "full", "--epochs", "20", "--batch-size", "4",
         "--learning-rate", "0.01", "--name", "judge"],
    ):  # fmt: skip
        done = run_septet("--home", str(place / "home"), *args)
        assert done.returncode == 0, done.stderr
    return place / "home"


def test_preview_shows_what_is_learned(judge, run_septet):
    done = run_septet("--home", str(judge), "preview", "base", "rows", "--rows", "2")
    assert done.returncode == 0, done.stderr
    assert "classification: " in done.stdout
    assert "=> [[good]]" in done.stdout or "=> [[bad]]" in done.stdout
    told = json.loads(run_septet("--home", str(judge), "--json", "preview", "base", "rows", "--rows", "1").stdout)
    assert [piece["what"] for piece in told["shown"][0]][-2:] == ["note", "learned"]
    assert told["cut"] == 0


def test_predict_reads_arguments_lines_and_files(judge, place, run_septet):
    done = run_septet("--home", str(judge), "predict", "judge", "w20 w21 w11", "w20 w21 w12")
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.split("\n\n")
    assert first.split().index("good") < first.split().index("bad")
    assert second.split().index("bad") < second.split().index("good")
    (place / "asked.jsonl").write_text('{"text": "w25 w11"}\n')
    told = json.loads(
        run_septet("--home", str(judge), "--json", "predict", "judge", "--file", str(place / "asked.jsonl")).stdout
    )
    assert told[0]["prediction"] == "good"
    assert sum(told[0]["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    said = run_septet("--home", str(judge), "predict", "judge", given="w25 w12\n")
    assert said.stdout.split().index("bad") < said.stdout.split().index("good")


def test_what_is_too_long_is_counted_refused_and_told(judge, run_septet):
    home = ("--home", str(judge))
    done = run_septet(*home, "preview", "base", "rows", "--rows", "1", "--max-tokens", "5")
    assert "are longer than 5 tokens, and lose" in done.stdout
    assert "where the task says too_long: cut" in done.stdout
    short = (
        "finetune",
        "--model",
        "base",
        "--data",
        "rows",
        "--adapter",
        "full",
        "--max-tokens",
        "5",
        "--name",
        "short",
    )
    done = run_septet(*home, *short)
    assert done.returncode != 0
    assert "too_long: drop" in done.stderr
    assert "Traceback" not in done.stderr
    done = run_septet(*home, *short, "--task", "{kind: classification, too_long: drop}")
    assert done.returncode == 0, done.stderr
    assert "rows are longer than 5 tokens and were left out" in done.stdout + done.stderr
    long = "w20 " * 200 + "w11"
    said = run_septet(*home, "predict", "judge", long)
    assert f"({203 - CONTEXT} of its tokens were not read: the text is longer than the model's context)" in said.stdout
    assert json.loads(run_septet(*home, "--json", "predict", "judge", long).stdout)[0]["cut_tokens"] == 203 - CONTEXT


def test_what_cannot_be_asked_is_said_without_a_traceback(judge, run_septet):
    done = run_septet("--home", str(judge), "predict", "judge", "w20", "--context", "w21")
    assert done.returncode == 2
    assert "the task 'classification' reads no passage" in done.stderr
    assert "Traceback" not in done.stderr
