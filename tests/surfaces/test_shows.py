"""`septet STEP show NAME`: what people read of corpora, tokenizers and packed rows.

python -m pytest tests/surfaces/test_shows.py
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from septet.cli.tables import bar, table
from septet.core.quantities import size


@pytest.fixture
def made(septet, tmp_path: Path):
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number}.txt").write_text(
            f"Text number {number} says what the others do not: {number * 7919}.\n" * 3
        )
    (folder / "copy.txt").write_bytes((folder / "3.txt").read_bytes())
    (folder / "bad.txt").write_bytes(b"\xff\xfe\x00\xd8")
    source = json.dumps(
        {"kind": "several", "of": {"notes": {"kind": "text", "path": str(folder), "licence": "CC0-1.0"}}}
    )
    steps = (
        ("corpus", "--source", source, "--filters", "exact-dedup", "--name", "text"),
        ("tokenizer", "--corpus", "text", "--size", "300", "--name", "vocab"),
        ("pack", "--corpus", "text", "--tokenizer", "vocab", "--context", "32", "--name", "rows"),
    )
    for step in steps:
        done = septet(*step)
        assert done.returncode == 0, done.stderr
    return septet


def test_each_shows_what_it_made(made):
    shown = made("corpus", "show", "text").stdout
    for words in ("What came out of each stage", "exact-dedup: same text as another", "notes/", "CC0-1.0", "Not read: 1 record",
                  "Words in a document", "The split, by group"):  # fmt: skip
        assert words in shown
    shown = made("pack", "show", "rows").stdout
    for words in (
        "Rows of 32 tokens",
        "notes",
        "Every file has the bytes that were written.",
        "Row 0 of notes is made of",
    ):
        assert words in shown
    assert "BPE, 300 tokens" in made("tokenizer", "show", "vocab").stdout
    report = json.loads(made("--json", "corpus", "show", "text").stdout)
    assert report["stages"][0]["documents"] == 13
    assert json.loads(made("--json", "pack", "show", "rows").stdout)["sources"]["notes"]["epochs"] == 1.0


def test_a_wrong_name_or_kind_is_told(made):
    done = made("corpus", "show", "txt")
    assert (done.returncode, "Did you mean 'text'" in done.stderr) == (2, True)
    done = made("pack", "show", "text")
    assert (done.returncode, "is a corpus, and a packed is needed" in done.stderr) == (2, True)
    assert "corpus show" in made("--help").stdout


def test_tables_and_bars():
    assert table(["name", "n"], [["a", "10"], ["bc", "7"]], right={1}) == "  name   n\n  a     10\n  bc     7"
    assert [bar(share, 4) for share in (0, 0.01, 0.5, 1)] == ["", "▏", "██", "████"]
    assert [size(n) for n in (12, 1500, 2_500_000, 340_000_000_000)] == ["12 B", "1.5 kB", "2.5 MB", "340 GB"]


def test_a_data_set_is_shown(septet, tmp_path: Path):
    rows = [f"one text of number {n} here,{'good' if n % 2 else 'bad'}" for n in range(40)]
    (tmp_path / "a.csv").write_text("\n".join(["text,label", *rows, "one text of number 1 here,bad"]) + "\n")
    done = septet("dataset", "--builder", "{kind: table, train: a.csv, split: {validation: 0.2}}", "--name", "verdicts")
    assert done.returncode == 0, done.stderr
    shown = septet("dataset", "show", "verdicts").stdout
    for words in ("A data set for classification: text from text, label from label", "Rows with each label", "Words of 'text'",
                  "1 texts come with different labels", "One text, several labels", "The first training row"):  # fmt: skip
        assert words in shown
    told = json.loads(septet("--json", "dataset", "show", "verdicts").stdout)
    assert told["review"]["contradicted"]["texts"] == 1
