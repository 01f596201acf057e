"""What the sinks print and keep.

python -m pytest tests/ops/test_sinks.py
"""

from __future__ import annotations

import json

import pytest

from septet.core import events
from septet.ops.progress import Clock, count, duration, facts_line, numbers
from septet.ops.sinks.events_file import EventsFile
from septet.ops.sinks.json_lines import JsonLines
from septet.ops.sinks.live import Live
from septet.ops.sinks.plain import Plain

RUN = [
    events.RunStarted(recipe="toys", plan=[("text", "a" * 32, "keep"), ("base", "b" * 32, "make")]),
    events.StepKept(step="text", id="a" * 32),
    events.StepStarted(step="base", id="b" * 32, at=0.0),
    events.Progress(step="base", done=0, total=100, at=0.0, metrics={"loss": 8.31776, "tokens_per_second": 8123.4}),
    events.Progress(step="base", done=25, total=100, at=10.0, metrics={"loss": 5.5, "tokens_per_second": 8123.4}),
    events.Message(step="base", text="a [line] for people"),
    events.StepFinished(step="base", id="b" * 32, seconds=200.2, facts={"loss": 3.2, "seconds": 200.2, "note": "x"}),
    events.RunFinished(recipe="toys", seconds=201),
]


def test_plain_prints_lines_with_the_time_left(capsys):
    sink = Plain(every=0)
    for event in RUN:
        sink.on(event)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "toys: 2 steps, 1 kept, 1 to make",
        "[text] kept aaaaaaaaaaaa",
        "[base] makes bbbbbbbbbbbb",
        "[base] 0 of 100 steps, loss 8.318, 8,123 tokens/s",
        "[base] 25 of 100 steps, loss 5.5, 8,123 tokens/s, 30 s left",  # 25 in 10 s: 75 more take 30 s
        "[base] a [line] for people",
        "[base] done in 3 min 20 s: loss 3.2",
        "toys: done in 3 min 21 s",
    ]


def test_plain_says_that_a_step_stopped_and_leaves_the_whole_to_who_asked(capsys):
    Plain().on(events.StepFailed(step="text", id="a" * 32, reason="Two places cannot be used:\n  row 1\n  row 2"))
    assert capsys.readouterr().out == "[text] stopped: Two places cannot be used:\n"


def test_live_shows_every_step_and_takes_text_literally(capsys):
    sink = Live()
    for event in RUN:
        sink.on(event)
    sink.close()
    out = capsys.readouterr().out
    assert "base" in out
    assert "3 min 20 s" in out
    assert "a [line] for people" in out


def test_events_are_kept_one_json_object_a_line(tmp_path, capsys):
    path = tmp_path / "events.jsonl"
    path.write_text('{"event": "earlier"}\n')
    kept, shown = EventsFile(path=str(path)), JsonLines()
    for event in RUN:
        kept.on(event)
        shown.on(event)
    kept.close()
    lines = path.read_text().splitlines()
    assert len(lines) == 1 + len(RUN)  # appended
    assert lines[1:] == capsys.readouterr().out.splitlines()
    assert json.loads(lines[4])["metrics"]["loss"] == 8.31776


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (52.4, "52 s"), (59.6, "60 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_numbers_for_people():
    assert count(1234) == "1,234"
    assert count(0.81234) == "0.8123"
    assert count(1234.6) == "1,235"
    assert numbers({"held_out_loss": 3.1, "tokens_per_second": 1999.7}) == "held out loss 3.1, 2,000 tokens/s"
    assert facts_line({"a": 1, "flag": True, "name": "x", "seconds": 3}) == "a 1"


def test_a_clock_needs_some_time_before_it_tells():
    clock = Clock()
    assert clock.left(events.Progress(done=5, total=10, at=0.0)) is None
    assert clock.left(events.Progress(done=5, total=10, at=3.0)) is None  # nothing moved
    assert clock.left(events.Progress(done=6, total=10, at=4.0)) == pytest.approx(16.0)
