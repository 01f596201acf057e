"""The report: from a small store whose artifacts are committed as a run commits them; escaping, charts, verdict.

python -m pytest tests/ops/test_report.py
"""

from __future__ import annotations

import json
import math
from html.parser import HTMLParser
from pathlib import Path

import pytest

from septet.core.artifact import Artifact, make_id
from septet.core.events import RunStarted, StepFinished, StepKept
from septet.core.store import Store
from septet.ops.report import write_report
from septet.ops.report.charts import Curve, Span, curves, number, spans, ticks
from septet.ops.report.html import Markup, join, tag
from septet.ops.report.lineage import Node, draw, implied, layers
from septet.ops.report.verdict import sentences, side

EVIL = "<script>alert('x')</script> & \"quoted\" \x07"


def example(name: str, text: str) -> dict[str, str]:
    return {"name": name, "text": text}


def commit(
    store: Store, name: str, kind: str, *, inputs: dict[str, str], step: dict, facts: dict, files: dict[str, str]
) -> Artifact:
    """Make one artifact the way a run makes it."""
    with store.making(make_id({"name": name, "inputs": inputs})) as folder:
        for path, text in files.items():
            (folder / "out" / path).write_text(text, encoding="utf-8")
        artifact = Artifact(make_id({"name": name, "inputs": inputs}), kind, inputs, step, facts)
        return store.commit(folder, artifact)


def lines(rows: list[dict]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def curve(start: float, end: float, steps: int, tokens: int) -> str:
    rows = []
    for i in range(steps + 1):
        loss = end + (start - end) * math.exp(-6 * i / steps) + 0.05 * math.sin(i * 1.7) * (end / 4)
        held = round(end + 0.2 + (start - end) * math.exp(-5 * i / steps), 4) if i % (steps // 8) == 0 else None
        rows.append(
            {
                "step": i,
                "tokens": i * tokens,
                "loss": round(loss, 4),
                "held_out_loss": held,
                "lr": 1e-3,
                "grad_norm": 1.0,
            }
        )
    return lines(rows)


def figure(task: str, metric: str, of: str, value: float, half: float = 0.05, **more: object) -> dict:
    base = {
        "n": 120,
        "method": "percentile bootstrap, 2000 resamples of 29 groups",
        "unit": "",
        "lower_is_better": False,
        "note": "",
    }
    return {
        "task": task,
        "metric": metric,
        "of": of,
        "value": value,
        "low": value - half,
        "high": value + half,
        **base,
        **more,
    }


def figures() -> list[dict]:
    text = {"unit": "bits/byte", "lower_is_better": True}
    found = [
        figure("held-out-text", "bits_per_byte", of, value, **text)
        for of, value in (("model", 1.92), ("base", 1.81), ("xz -9e", 1.62), ("byte 5-gram", 2.21))
    ]
    found += [
        figure("held-out-text", f"{unit}_perplexity", of, value, value / 20, unit=f"per {unit}", lower_is_better=True)
        for unit, values in (("token", (91.5, 74.2)), ("word", (5210.4, 3344.1)), ("byte", (3.78, 3.51)))
        for of, value in zip(("model", "base"), values, strict=True)
    ]
    for of, a, b in (("model", 0.30, -0.29), ("base", 0.19, -0.40)):
        found.append(figure("held-out-text", "bits_per_byte minus xz -9e", of, a, 0.06, **text))
        found.append(figure("held-out-text", "bits_per_byte minus byte 5-gram", of, b, 0.03, **text))
    found += [
        figure("answers", "chrf", of, value, 2.1, n=64, unit="of 100", note="chrF2|nrefs:1|case:mixed")
        for of, value in (("model", 21.4), ("before", 20.9), ("another answer", 17.2))
    ]
    found.append(figure("answers", "chrf minus before", "model", 0.5, 1.1, n=64, unit="of 100"))
    for metric, values in {
        "preference_accuracy": (0.78, 0.61),
        "preference_accuracy, weaker": (0.91, 0.70),
        "preference_accuracy, neighbour": (0.66, 0.55),
    }.items():
        found += [figure("preferences", metric, of, v, 0.04) for of, v in zip(("model", "before"), values, strict=True)]
        found.append(figure("preferences", f"{metric} minus before", "model", values[0] - values[1], 0.06))
    for of, values in (("bm25", (0.52, 0.79, 0.63)), ("dense", (0.61, 0.86, 0.71)), ("hybrid", (0.69, 0.92, 0.78))):
        for metric, value in zip(("recall@1", "recall@5", "mean_reciprocal_rank"), values, strict=True):
            found.append(figure("retrieval", metric, of, value, 0.09, n=75))
    found.append(figure("retrieval", "mean_reciprocal_rank minus bm25", "hybrid", 0.15, 0.07, n=75))
    found.append(figure("retrieval", "first_citation_accuracy", "answers", 0.83, 0.08, n=75))
    found.append(figure("retrieval", "auroc_of_refusing", "answers", 0.94, 0.04, n=100))
    return found


def samples() -> list[dict]:
    found = [
        {
            "task": "answers",
            "id": f"{i}:os.path.f{i}",
            "kind": "what",
            "question": f"What does os.path.f{i} do?",
            "reference": f"Return the number {i} of the path.",
            "model": f"Return the path {i} of the path." if i < 5 else EVIL,
            "before": "Return a list of a list.",
            "scores": {"chrf": {"chrf": 80.0 - 7 * i}, "exact-match": {"exact_match": 0.0}},
        }
        for i in range(10)
    ]
    for i in range(6):
        right = i % 3 > 0
        found.append(
            {
                "task": "retrieval",
                "question": f"How do I join {i} paths?",
                "gold": ["os.path.join"],
                "cited": ["os.path.join"] if right else ["ntpath.join"],
                "correct": right,
                "refused": False,
                "confidence": 0.5,
                "ranks": {"bm25": 1},
            }
        )
    return found


def build(store: Store) -> dict[str, Artifact]:
    made: dict[str, Artifact] = {}

    def add(
        name: str,
        kind: str,
        step: str,
        seconds: float,
        files: dict[str, str],
        *,
        facts: dict | None = None,
        **inputs: str,
    ) -> None:
        ids = {role: made[other].id for role, other in inputs.items()}
        machine = {
            "seconds": seconds,
            "versions": {"python": "3.11", "torch": "2.13"},
            "platform": "Linux",
            "git": "abc",
        }
        made[name] = commit(
            store,
            name,
            kind,
            inputs=ids,
            step={"kind": step, "note": EVIL},
            facts={**machine, **(facts or {})},
            files=files,
        )

    report = {
        "stages": [
            {"stage": "source", "kind": "python-docs", "documents": 10043, "bytes": 2829806},
            {
                "stage": "filter",
                "kind": "docstrings",
                "documents": 8120,
                "bytes": 2601200,
                "dropped": 1923,
                "changed": 0,
            },
            {
                "stage": "filter",
                "kind": "exact-dedup",
                "documents": 7321,
                "bytes": 2400103,
                "dropped": 799,
                "changed": 12,
            },
        ],
        "dropped": [
            {
                "filter": "docstrings",
                "reason": "fewer than 4 words",
                "count": 1923,
                "examples": [{"name": "ast.AST.x", "text": EVIL}, {"name": EVIL, "text": "x"}],
            },
            {
                "filter": "exact-dedup",
                "reason": "same text as another",
                "count": 799,
                "examples": [example("posixpath.join", "Join.")],
            },
        ],
        "split": {
            "by": "module",
            "train": {"documents": 6600, "bytes": 2100000},
            "held_out": {"documents": 721, "bytes": 300103},
        },
        "skipped_files": [{"file": "lib2to3/x.py", "reason": "bad syntax"}],
    }
    add("text", "corpus", "corpus", 9.1, {"report.json": json.dumps(report), "train.jsonl": "x" * 5000})
    add("vocab", "tokenizer", "tokenizer", 3.4, {"tokenizer.json": "{}"}, corpus="text")
    add(
        "base",
        "model",
        "pretrain",
        188.0,
        {"curve.jsonl": curve(8.3, 3.4, 400, 8192)},
        facts={"tokens": 3276800},
        corpus="text",
        tokenizer="vocab",
    )
    add("questions", "dataset", "dataset", 2.2, {"train.jsonl": "{}\n"}, corpus="text")
    add(
        "chat",
        "model",
        "finetune",
        55.0,
        {"curve.jsonl": curve(4.1, 2.2, 80, 4096)},
        facts={"tokens": 327680},
        model="base",
        data="questions",
    )
    add("pairs", "pairs", "pairs", 31.0, {"train.jsonl": "{}\n"}, data="questions", strong="chat", weak="base")
    add("liked", "model", "align", 44.0, {"curve.jsonl": curve(0.6931, 0.42, 40, 2048)}, model="chat", pairs="pairs")
    add("docs", "index", "index", 78.0, {"index.json": "{}"}, corpus="text")
    evaluation = {"report.json": json.dumps(figures()), "samples.jsonl": lines(samples())}
    add(
        "card",
        "report",
        "evaluate",
        41.0,
        evaluation,
        model="liked",
        before="chat",
        base="base",
        corpus="text",
        data="questions",
        pairs="pairs",
        index="docs",
    )
    return made


def events(made: dict[str, Artifact]) -> list:
    told: list = [RunStarted(recipe="ask-python", plan=[])]
    for i, (name, artifact) in enumerate(made.items()):
        told.append(
            StepKept(step=name, id=artifact.id)
            if i < 4
            else StepFinished(step=name, id=artifact.id, seconds=1, facts={})
        )
    return told


@pytest.fixture
def page(store: Store, tmp_path: Path) -> str:
    made = build(store)
    out = tmp_path / "report.html"
    serve = {"app": "assistant", "model": made["liked"].id, "index": made["docs"].id}
    assert write_report(store, "ask-python", made, list(made), events(made), out, serve) == out
    return out.read_text(encoding="utf-8")


class Strict(HTMLParser):
    """Checks that elements nest and close, and collects what a reader sees and what could reach out."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.names: list[str] = []
        self.text: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.names.append(tag)
        self.links += [str(value) for key, value in attrs if key in ("href", "src", "action", "data", "srcset")]
        assert not [key for key, _ in attrs if key.startswith("on")]
        if tag not in ("meta", "link", "br", "hr", "img"):
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def parse(page: str) -> Strict:
    parser = Strict()
    parser.feed(page)
    parser.close()
    assert parser.stack == []
    return parser


def test_it_is_one_file_that_asks_for_nothing(page: str) -> None:
    parsed = parse(page)
    assert "script" not in parsed.names
    assert "link" not in parsed.names
    assert all(link.startswith("#") for link in parsed.links)
    assert "http://" not in page
    assert "https://" not in page
    assert "url(" not in page
    assert "@import" not in page


def test_what_models_and_documents_wrote_is_escaped(page: str) -> None:
    assert "<script" not in page
    assert (
        "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt; &amp; &quot;quoted&quot; \N{REPLACEMENT CHARACTER}" in page
    )
    assert "\x07" not in page


def test_every_section_and_every_step_is_there(page: str) -> None:
    parsed = parse(page)
    text = " ".join(parsed.text)
    for heading in (
        "How it was made",
        "Learning",
        "Evaluation",
        "Answers, good and bad",
        "kept and dropped",
        "cost",
        "make it again",
    ):
        assert heading in text
    for step in ("text", "vocab", "base", "questions", "chat", "pairs", "liked", "docs", "card"):
        assert f">{step}</text>" in page
    assert parsed.names.count("svg") == 1 + 3 + 4  # lineage, three curves, four tasks
    assert "fewer than 4 words" in text
    assert "1,923" in text
    assert "3,276,800" in text


def test_tables_and_pictures_are_accessible(page: str) -> None:
    parsed = parse(page)
    assert page.count("<caption>") == parsed.names.count("table") > 6
    assert page.count('role="img" aria-label=') == parsed.names.count("svg")
    assert page.count("<svg") == page.count("<svg viewBox") == parsed.names.count("svg")
    assert '<html lang="en">' in page
    assert 'scope="row"' in page
    assert 'scope="col"' in page
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_the_same_run_gives_the_same_bytes(store: Store, tmp_path: Path) -> None:
    made = build(store)
    told = [json.loads(event.to_json()) for event in events(made)]
    first = write_report(store, "r", made, list(made), told, tmp_path / "a.html").read_bytes()
    assert first == write_report(store, "r", made, list(made), events(made), tmp_path / "b.html", None).read_bytes()
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".tmp"] == []


def test_a_run_without_evaluation_says_so(store: Store, tmp_path: Path) -> None:
    made = commit(
        store, "only", "tokenizer", inputs={}, step={"kind": "tokenizer"}, facts={}, files={"tokenizer.json": "{}"}
    )
    page = write_report(store, "tiny", {"only": made}, ["only"], [], tmp_path / "r.html").read_text(encoding="utf-8")
    assert "No evaluation was part of this run" in page
    assert "<svg" in page
    assert 'id="learning"' not in page
    parse(page)


# -- verdict --------------------------------------------------------------------------------------------------------------


def test_the_verdict_says_plainly_who_wins() -> None:
    said = " ".join(sentences(figures(), {"model": "liked", "before": "chat", "base": "base"}))
    assert (
        "needs 1.81 [1.76, 1.86] bits per byte: it loses to xz -9e (1.62) and wins against byte 5-gram (2.21)." in said
    )
    assert "A baseline that knows nothing of language models compresses this text better." in said
    assert "After fine-tuning and alignment (liked) it needs 1.92" in said
    assert "chrF 21.4 [19.3, 23.5] of 100" in said
    assert "no better than well-formed words" in said  # 17.2 + 2.1 reaches 19.3
    assert "78% [74, 82] of held-out pairs, before alignment in 61% [57, 65]: alignment raised it." in said
    assert "right for 83% [75, 91] of the answerable test questions (n = 75)" in said


@pytest.mark.parametrize(
    ("value", "half", "lower", "expected"),
    [(-0.2, 0.1, True, 1), (0.2, 0.1, True, -1), (0.05, 0.1, True, 0), (0.2, 0.1, False, 1), (-0.2, 0.1, False, -1)],
)
def test_side_needs_an_interval_without_zero(value: float, half: float, lower: bool, expected: int) -> None:
    assert side(figure("t", "m", "model", value, half, lower_is_better=lower)) == expected
    assert side(figure("t", "m", "model", value, half) | {"low": None}) == 0


def test_a_model_that_wins_or_ties_is_said_to() -> None:
    found = [
        figure("held-out-text", "bits_per_byte", of, 1.5, lower_is_better=True)
        for of in ("model", "xz -9e", "byte 5-gram")
    ]
    found += [
        figure("held-out-text", "bits_per_byte minus xz -9e", "model", -0.3, 0.1, lower_is_better=True),
        figure("held-out-text", "bits_per_byte minus byte 5-gram", "model", -0.05, 0.1, lower_is_better=True),
    ]
    said = sentences(found, {"model": "own"})[0]
    assert "wins against xz -9e (1.50) and cannot be told from byte 5-gram (1.50)" in said
    assert "compresses this text better" not in said
    assert sentences([], {}) == []


# -- pieces ---------------------------------------------------------------------------------------------------------------


def test_tag_escapes_all_but_its_own() -> None:
    assert tag("p", "a<b", tag("b", "&"), class_='"') == '<p class="&quot;">a&lt;b<b>&amp;</b></p>'
    assert join("<", None, ["x", Markup("<hr>")], 3) == "&lt;x<hr>3"
    assert tag("meta", charset="utf-8") == '<meta charset="utf-8">'


def test_numbers_and_ticks() -> None:
    found = [number(x) for x in (0, 3, 12345.0, 1.23456, 0.012345, 123.456, -0.5, 0.00001, 98765.4)]
    assert found == ["0", "3", "12,345", "1.23", "0.0123", "123", "−0.500", "1.0e−05", "98,765"]
    assert ticks(0, 10) == [0, 2, 4, 6, 8, 10]
    assert ticks(0.3, 1.1, 4) == [0.4, 0.6, 0.8, 1.0]
    assert ticks(2, 2) == [2]


def test_layers_and_implied_inputs() -> None:
    inputs = {"a": [], "b": ["a"], "c": ["b", "a"], "d": ["a"]}
    assert layers(inputs) == {"a": 0, "b": 1, "c": 2, "d": 1}
    assert implied(inputs) == {("a", "c")}


def test_boxes_do_not_overlap_and_lines_pass_between_them() -> None:
    nodes = [Node("a", ["x"], []), Node("b", [], ["a"]), Node("c", [], ["b", "a"]), Node("d", [], ["a", "nowhere"])]
    picture = draw(nodes, title="t")
    assert picture.count("<rect") == 4
    assert picture == draw(nodes, title="t")
    assert "nowhere" not in picture


def test_charts_hold_what_they_are_given() -> None:
    chart = curves(
        [Curve("training", [(0, 8.0), (100, 4.0)], "a"), Curve("held out", [], "b")], title="<t>", x="tokens", y="loss"
    )
    assert "&lt;t&gt;" in chart
    assert "held out" not in chart
    assert "tokens" in chart
    assert "No points" in curves([], title="t", x="x", y="y")
    long = curves([Curve("l", [(float(i), 1.0) for i in range(5000)], "a")], title="t", x="x", y="y")
    assert len(long) < 12_000
    bars = spans([Span("own", 0.5, 0.4, 0.6), Span("none", 0.2)], title="t", unit="share")
    assert "0.500  [0.400, 0.600]" in bars
    assert bars.count('class="range') == 1
