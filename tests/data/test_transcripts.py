"""Transcripts in WebVTT and SRT.

python -m pytest tests/data/test_transcripts.py
"""

from __future__ import annotations

import pytest

from septet.core.errors import DataError
from septet.data.transcripts import Said, as_text, is_transcript, read_transcript

VTT = """\ufeffWEBVTT - a call
Kind: captions

NOTE
00:00.000 --> 00:09.000
not a cue

STYLE
::cue { color: red }

intro
00:01.000 --> 00:02.500 align:start position:10%
<v.loud Ann Lee>Hello <i>there</i>,</v>
<v Bob>R&amp;D &lt;calling&gt;.

01:00:05.250 --> 01:00:06.000
<v Bob>How are <00:05.500><c.yellow>you</c>?
"""
SRT = """1\r
00:00:01,000 --> 00:00:02,000\r
Ann: {\\an8}Good <font color="red">morning</font>.\r
\r
2\r
00:00:02,000 --> 00:00:04,000\r
All of us are here.\r
\r
3\r
00:00:05,000 --> 00:00:06,000\r
- Who is?\r
- BOB JONES: Me. Note: late.\r
"""


def test_webvtt():
    assert read_transcript(VTT, "a.vtt") == [
        Said(1.0, 2.5, "Ann Lee", "Hello there,"),
        Said(1.0, 3606.0, "Bob", "R&D <calling>. How are you?"),
    ]


def test_srt():
    said = read_transcript(SRT, "a.srt")
    assert said == [
        Said(1.0, 4.0, "Ann", "Good morning. All of us are here."),
        Said(5.0, 6.0, "", "Who is?"),
        Said(5.0, 6.0, "BOB JONES", "Me. Note: late."),
    ]
    assert as_text(said) == "Ann: Good morning. All of us are here.\nWho is?\nBOB JONES: Me. Note: late."
    assert as_text(said[:1], times=True) == "[0:00:01] Ann: Good morning. All of us are here."


def test_captions_that_roll_are_read_once():
    cues = ("one two", "one two\nthree", "three\nfour")
    text = "WEBVTT\n" + "".join(f"\n00:0{n}.000 --> 00:0{n + 1}.000\n{cue}\n" for n, cue in enumerate(cues, start=1))
    assert read_transcript(text, "a.vtt") == [Said(1.0, 4.0, "", "one two three four")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("WEBVTT\n\nhello", "a.vtt: The transcript has no cue"),
        ("", "has no cue"),
        ("WEBVTT\n\n00:01 --> 00:02\nx", r"a.vtt, row 3: '00:01 --> 00:02' is no timing"),
        ("WEBVTT\n\n00:02.000 --> 00:01.000\nx", "row 3: The cue ends before it begins"),
    ],
)
def test_errors(text: str, says: str):
    with pytest.raises(DataError, match=says):
        read_transcript(text, "a.vtt")


def test_names():
    assert is_transcript(" calls/a.VTT ")
    assert not is_transcript("see a.vtt for\nmore")
    assert not is_transcript("a.txt")
