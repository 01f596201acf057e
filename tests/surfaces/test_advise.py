"""`septet advise` as people meet it: the page, JSON, and what was typed wrong."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from septet.cli.commands.advise import _page
from septet.data.profile import profile
from septet.infer.task import Task
from septet.nn.catalogue import catalogue
from septet.ops.advice import Machine, architectures, choose, ladder
from septet.ops.candidates import _of_known
from septet.ops.given import Meant
from septet.train.estimate.adapting import KINDS, Cost
from septet.train.estimate.memory import Need

Septet = Callable[..., subprocess.CompletedProcess[str]]


def test_a_page_is_a_page_and_no_wider_than_a_terminal():
    text = "The old man sits at the window and reads the newspaper of yesterday"
    rows = [{"text": f"{text}, number {number}", "label": f"label{number % 9}"} for number in range(2000)]
    found = profile("classification", {"train": rows, "held_out": rows[:50]}, language="en")
    meant = Meant(
        "reviews.csv", Task.parse("classification"), {"train": rows}, "", {"kind": "table", "train": "reviews.csv"}
    )
    ranked = architectures(found.purpose, meant.task.fits)
    machine = Machine(name="processor", cores=2, room=24e9, speed=1e11, measured="100 GFLOP/s measured")

    def cost(candidate: object, kinds: tuple[str, ...] = ("full", "lora")) -> dict[str, Cost]:
        need = Need(1e9, 1e9, 2e9, 3e9, 0, rows=32, context=40, depth=1, width=1)
        return {kind: Cost(adapter=kind, learns=10**8, need=need, flops=1e14) for kind in kinds}

    models = [
        _of_known(one, "catalogue", f"septet checkpoint --hub {one.name} --name base") for one in catalogue().models
    ]
    choices, left = choose(found, models, ranked, machine, cost, limit=4, budget=7200, batch=32)
    rungs = ladder(found, cost(None, KINDS), machine)
    page = click.unstyle(_page(meant, found, ranked, machine, choices, left, rungs, choices[0], 7200, 32))
    lines = page.splitlines()
    assert max(map(len, lines)) <= 100, max(lines, key=len)
    assert 40 < len(lines) < 80
    assert lines[0] == "reviews.csv: classification"
    assert "  1 encoder          Each token sees all others" in page
    assert "  > full" in page
    assert "17 min" in page  # 1e14 operations at 1e11 a second
    assert "septet finetune --model base --data rows --adapter full --epochs 3" in page
    assert f"The catalogue is of {catalogue().as_of}" in page
    assert "too_long" not in page
    cut = click.unstyle(_page(meant, found, ranked, machine, choices, left, rungs, choices[0], 7200, 32, most=8))
    assert cut.count("--max-tokens 8 --task '{kind: classification, too_long: cut}'") == 2


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "Give a file of rows, a recipe or a data set"),
        (["reviews.cvs"], "There is no file or folder 'reviews.cvs'. Did you mean 'reviews.csv'?"),
        (["nothing"], "There is no file 'nothing', and: There is no artifact named 'nothing'"),
        (["reviews.csv", "--budget", "1e15"], "a time is expected, such as 30m, 2h or 3d"),
    ],
)
def test_what_was_typed_wrong(args: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    from septet.cli.main import main

    (tmp_path / "reviews.csv").write_text("text,label\na,x\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["--home", str(tmp_path / "home"), "advise", *args])
    assert end.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_the_whole_of_it_as_json(septet: Septet, tmp_path: Path):
    rows = "".join(
        f"the film number {number} was {['fine', 'dull'][number % 2]},{number % 2}\n" for number in range(300)
    )
    (tmp_path / "reviews.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    done = septet("--json", "advise", "reviews.csv", "--memory", "24GiB", OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["profile"]["task"] == "classification"
    assert found["machine"]["room"] == pytest.approx(24 * 2**30)
    assert found["machine"]["speed"] > 1e8
    assert found["architectures"][0]["architecture"] == "encoder"
    assert found["models"]
    assert all(model["source"] for model in found["models"] if model["where"] == "catalogue")
    assert [one["adapter"] for one in found["adapters"]] == list(KINDS)
    assert [one["adapter"] for one in found["adapters"] if one["recommended"]] == ["lora"]  # 240 rows
    done = septet("advise", "reviews.csv", "--gpu", "h100", "--model", "Qwen3-4B", OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    assert "How much should learn of Qwen3-4B" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120
