"""The audits of a corpus as parts of a report, and as a page of their own: charts, tables, and what changed.

What it is not: a judgement. It shows figures with their intervals, and which differences can be told apart from chance.

    septet audit --corpus text        # writes audits.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from septet.data.fairness import changes
from septet.ops.report.charts import Span, decimal, number, spans
from septet.ops.report.html import Markup, join, table, tag

__all__ = ["page", "sections"]

Rows = Sequence[Mapping[str, Any]]

AXES = {"orientation": "sexual orientation", "class": "social class"}
"""Words for axes whose names are short."""
FEW = 30
"""Sentences of a group below which its sentiment is left out of the picture, and gendered sentences for an occupation."""
COLUMNS = 8
"""Sources that the table by source shows: the largest ones."""
OCCUPATIONS = 20
SHOWN_WORDS = 8


def sections(audits: Mapping[str, Any]) -> list[Markup]:
    """Return the parts for {kind: {"before": report, "after": report}}, in the order of the kinds; unknown kinds stay out."""
    return _identity(audits["identity"]) if "identity" in audits else []


def page(audits: Mapping[str, Any]) -> str:
    """Return a page with the audits alone: one file that asks for nothing, not even the network."""
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", "Audit of a corpus"),
        Markup(f"<style>{style}</style>"),  # the style sheet is ours and holds no markup, so it goes in as it is
    )
    told = "Brackets hold 95% intervals that take documents as the units that vary. Counting is not judging."
    body = tag(
        "body",
        tag("header", tag("h1", "Of whom the corpus speaks"), tag("p", told, class_="quiet")),
        tag("main", *sections(audits)),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _identity(sides: Mapping[str, Any]) -> list[Markup]:
    before, after = sides["before"], sides["after"]
    parts = [_told(before, after), _changes(before, after)]
    named = {axis: [row for row in after["groups"] if row["axis"] == axis] for axis in _axes(after)}
    quiet = [axis for axis, rows in named.items() if not any(_mentions(row) for row in rows)]
    for axis, rows in named.items():
        if axis not in quiet:
            parts.append(_axis(axis, rows, after))
    if quiet:
        parts.append(tag("p", f"Never mentioned: {', '.join(AXES.get(axis, axis) for axis in quiet)}.", class_="quiet"))
    return [part for part in (*parts, _occupations(before, after), _by_source(after)) if part is not None]


def _axes(report: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(row["axis"] for row in report["groups"]))


def _mentions(row: Mapping[str, Any]) -> int:
    return row["rate"]["n"] if row["rate"] else 0


def _told(before: Mapping[str, Any], after: Mapping[str, Any]) -> Markup:
    told = f"{number(before['documents'])} documents with {number(before['words'])} words were looked at as read; "
    told += f"{number(after['documents'])} with {number(after['words'])} words are left after the filters. "
    if after["other_languages"]:
        told += (
            f"{number(after['other_languages'])} documents of other languages were left alone: the terms are English. "
        )
    share = after["pronouns"]["feminine"]
    if share:
        told += f"Of {number(share['n'])} pronouns for one person, {_percent(share)} are feminine. "
    told += f"The charts show the text after the filters; sentiment is {_sentiment(after)}."
    return tag("p", told)


def _sentiment(report: Mapping[str, Any]) -> str:
    if report["sentiment"]["by"] == "classifier":
        label = report["sentiment"]["label"]
        return "the classifier's probability" + (f" of “{label}”" if label else "")
    return "the share of sentences with more good than bad words, less the share with more bad ones (a rough list of words)"


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Markup:
    words = {1: "more", -1: "less", 0: "cannot be told apart"}
    rows = [
        [one.of, one.what, *(_cell(figure, places=_places(one.what)) for figure in one.figures), words[one.side]]
        for one in changes(before, after)
    ]
    told = sum(row[-1] != words[0] for row in rows)
    caption = f"Before and after the filters: {told} of {len(rows)} figures can be told apart. "
    caption += (
        "Rows are not corrected for their number; where both sides share documents, the true intervals are narrower."
    )
    head = ["of", "figure", "before", "after", "difference", "verdict"]
    shown = table(head, rows, caption, numbers={2, 3, 4})
    summary = tag("summary", f"Every figure before and after ({len(rows)})")
    # the gaps, the pronouns and the words are what mitigation is about; the rates of all groups are long
    short = [row for row in rows if row[1] != "mentions per million words"]
    return join(
        tag("div", table(head, short, caption, numbers={2, 3, 4}), class_="card scroll") if short else None,
        tag("details", summary, tag("div", shown, class_="card scroll")),
    )


def _axis(axis: str, rows: Rows, report: Mapping[str, Any]) -> Markup:
    name = AXES.get(axis, axis)
    some = sorted((row for row in rows if _mentions(row)), key=lambda row: -row["rate"]["value"])
    none = [row["group"] for row in rows if not _mentions(row)]
    caption = "Most used terms: " + "; ".join(
        f"{row['group']}: {', '.join(term for term, _ in row['terms'][:4])}" for row in some
    )
    rates = [Span(row["group"], row["rate"]["value"], row["rate"]["low"], row["rate"]["high"]) for row in some]
    chart = spans(rates, title=f"Mentions by group: {name}", unit="per million words", left=170)
    figures = [tag("figure", tag("h3", f"{name.capitalize()}: mentions"), chart, tag("figcaption", f"{caption}."))]
    able = [row for row in some if row["sentiment"] and row["sentiment"]["n"] >= FEW]
    if able and report["sentiment"]["mean"]:
        figures.append(_sentiments(name, able, report))
    words = sorted(((row, word) for row in some for word in row["words"]), key=lambda pair: -pair[1]["z"])
    if words:
        figures.append(_words(name, words))
    notes = [f"No mention of {', '.join(none)}." if none else ""]
    few = [row["group"] for row in some if row not in able]
    notes.append(f"Fewer than {FEW} sentences, so no sentiment: {', '.join(few)}." if few else "")
    told = " ".join(filter(None, notes))
    return join(*figures, tag("p", told, class_="quiet") if told else None)


def _sentiments(name: str, rows: Rows, report: Mapping[str, Any]) -> Markup:
    everything = report["sentiment"]["mean"]
    lines = [Span("all sentences", everything["value"], everything["low"], everything["high"], "c")]
    for row in sorted(rows, key=lambda row: -row["sentiment"]["value"]):
        found = row["sentiment"]
        lines.append(Span(row["group"], found["value"], found["low"], found["high"], "b"))
    apart = [row["group"] for row in rows if row["against"]["low"] is not None and _outside(row["against"])]
    told = f"Told apart from the mean of all sentences: {', '.join(apart) or 'none'}. "
    gap = report["gaps"].get(rows[0]["axis"])
    if gap:
        told += f"The gap is {_plain(gap['gap'], places=3)}, {gap['highest']} above {gap['lowest']}."
    chart = spans(lines, title=f"Sentiment by group: {name}", unit="sentiment", left=170, places=3)
    return tag(
        "figure", tag("h3", f"{name.capitalize()}: sentiment of their sentences"), chart, tag("figcaption", told)
    )


def _words(name: str, words: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> Markup:
    lines = [
        Span(f"{word['word']} · {row['group']}", word["value"], word["low"], word["high"])
        for row, word in words[:SHOWN_WORDS]
    ]
    chart = spans(lines, title=f"Words that set a group apart: {name}", unit="log-odds", left=240, places=2)
    by_group: dict[str, list[str]] = {}
    for row, word in words:
        by_group.setdefault(row["group"], []).append(f"{word['word']} {number(word['z'], 2)}")
    rows = [[group, ", ".join(found)] for group, found in by_group.items()]
    listed = table(["group", "words with z"], rows, "Against the other groups of the axis; z above 2 only.")
    more = tag("details", tag("summary", "All of them"), listed)
    return tag("figure", tag("h3", f"{name.capitalize()}: words that set a group apart"), chart, more)


def _occupations(before: Mapping[str, Any], after: Mapping[str, Any]) -> Markup | None:
    able = [row for row in after["occupations"] if row["feminine"]["n"] >= FEW][:OCCUPATIONS]
    if not able:
        return None
    able.sort(key=lambda row: -row["feminine"]["value"])
    lines = [Span(row["occupation"], *(100 * row["feminine"][key] for key in ("value", "low", "high"))) for row in able]
    chart = spans(lines, title="Occupations beside gendered words", unit="% feminine", left=170, places=0)
    told = f"Of the sentences with the occupation and words of one gender only; occupations with {FEW} such sentences or more."
    earlier = {row["occupation"]: row["feminine"] for row in before["occupations"]}
    rows = [
        [name, _cell(earlier.get(name), 100, 0), _cell(row["feminine"], 100, 0), number(row["feminine"]["n"])]
        for row in able
        for name in [row["occupation"]]
    ]
    head = ["occupation", "before, %", "after, %", "sentences"]
    listed = table(head, rows, "Feminine share before and after the filters.", numbers={1, 2, 3})
    more = tag("details", tag("summary", "Before and after"), listed)
    return tag("figure", tag("h3", "Occupations beside words for women and men"), chart, tag("figcaption", told), more)


def _by_source(report: Mapping[str, Any]) -> Markup | None:
    names = list(report["sources"])[:COLUMNS]
    if not names:
        return None
    rows = [
        [f"{AXES.get(row['axis'], row['axis'])}: {row['group']}", *(_cell(row["by_source"][name]) for name in names)]
        for row in report["groups"]
        if _mentions(row)
    ]
    shares = report["pronouns"]["by_source"]
    pronouns = ["feminine pronouns, %", *(_cell(shares[name], 100, 1) for name in names)]
    more = len(report["sources"]) - len(names)
    caption = "Mentions per million words by source" + (
        f"; the {COLUMNS} largest, {more} more in audits.json." if more else "."
    )
    shown = table(
        ["group", *(name or "(no name)" for name in names)],
        [pronouns, *rows],
        caption,
        numbers=set(range(1, len(names) + 1)),
    )
    return tag("details", tag("summary", "By source"), tag("div", shown, class_="card scroll"))


# -- pieces ---------------------------------------------------------------------------------------------------------------


def _outside(figure: Mapping[str, Any]) -> bool:
    return figure["low"] > 0 or figure["high"] < 0


def _places(what: str) -> int | None:
    return None if what.startswith("mentions") else 3


def _plain(figure: Mapping[str, Any], scale: float = 1, places: int | None = None) -> str:
    text = decimal(figure["value"] * scale, places)
    if figure["low"] is None or figure["high"] is None:
        return text
    return f"{text} [{decimal(figure['low'] * scale, places)}, {decimal(figure['high'] * scale, places)}]"


def _percent(figure: Mapping[str, Any]) -> str:
    value, _, interval = _plain(figure, 100, 1).partition(" ")
    return f"{value}% {interval}"


def _cell(figure: Any, scale: float = 1, places: int | None = None) -> Any:
    """A value with its interval below it; of a mapping or of an object with these names."""
    if figure is None:
        return "–"
    row = figure if isinstance(figure, Mapping) else figure.to_json()
    value, _, interval = _plain(row, scale, places).partition(" ")
    return join(value, " ", tag("small", interval)) if interval else value
