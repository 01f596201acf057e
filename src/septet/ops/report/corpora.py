"""What the report says of a corpus and of packed rows: stages, reasons with examples, counts, languages, lengths, the mixture.

septet run recipes/mixed-corpus.yaml        # its report.html shows all of it
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from septet.core.artifact import Artifact
from septet.ops.report.charts import Span, number, size_text, spans
from septet.ops.report.html import Markup, join, table, tag

__all__ = ["corpus_parts", "packed_parts"]

MOST = 14
"""Languages, sources or licences that are shown."""
COUNTED = 20
"""Things that a filter counted and that are shown: `decontaminate` counts by evaluation item."""
EXAMPLES = 3
SHOWN = 160


def corpus_parts(name: str, artifact: Artifact) -> list[Markup]:
    """Return the parts of the report that one corpus fills."""
    content = json.loads((artifact.path / "report.json").read_text(encoding="utf-8"))
    parts = [_stages(name, content), _dropped(content), _counted(content.get("stages", []))]
    parts += [_shares(what, rows) for what, rows in content.get("tables", {}).items()]
    parts += [_lengths(content.get("lengths", {})), _skipped(content)]
    return [part for part in parts if part is not None]


def _stages(name: str, content: Mapping[str, Any]) -> Markup | None:
    stages = content.get("stages", [])
    if not stages:
        return None
    first = max(stages[0]["documents"], 1)
    counted = ["words", "tokens"] if "tokens" in stages[0] else ["words"]
    rows = [
        [
            row.get("kind", ""),
            number(row["documents"]),
            f"{row['documents'] / first:.1%}",
            *(_count(row, name) for name in counted),
            size_text(row["bytes"]),
            _count(row, "dropped"),
            _count(row, "changed"),
            _count(row, "added"),
        ]
        for row in stages
    ]
    told = f"The documents of '{name}' after each stage."
    split = content.get("split", {})
    if split:
        train, held_out = split["train"], split["held_out"]
        told += f" {number(train['documents'])} are trained on ({size_text(train['bytes'])}), "
        told += f"{number(held_out['documents'])} are held out by {split['by']} ({size_text(held_out['bytes'])})."
    head = ["stage", "documents", "kept", *counted, "text", "dropped", "changed", "added"]
    return tag("div", table(head, rows, told, numbers=set(range(1, len(head)))), class_="card scroll")


def _dropped(content: Mapping[str, Any]) -> Markup | None:
    found = content.get("dropped", [])
    if not found:
        return tag("p", "Nothing was dropped.", class_="quiet") if content.get("stages") else None
    rows = []
    for row in found:
        examples = [
            tag("details", tag("summary", str(example["name"])), tag("p", _short(example["text"]), class_="quiet"))
            for example in row.get("examples", [])[:EXAMPLES]
        ]
        rows.append([row["filter"], row["reason"], number(row["count"]), join(*examples)])
    told = "What was left out of training, and why; an example opens with a click."
    return tag(
        "div", table(["filter", "reason", "documents", "such as"], rows, told, numbers={2}), class_="card scroll"
    )


def _counted(stages: Sequence[Mapping[str, Any]]) -> Markup | None:
    rows = []
    for stage in stages:
        found = list(stage.get("counts", {}).items())
        rows += [[stage["kind"], what, number(count)] for what, count in found[:COUNTED]]
        if len(found) > COUNTED:
            rows.append([stage["kind"], f"and {number(len(found) - COUNTED)} more", ""])
    if not rows:
        return None
    told = "What the filters found in the documents that they kept, and took out or counted."
    return tag("div", table(["filter", "what", "times"], rows, told, numbers={2}), class_="card scroll")


def _shares(what: str, found: Mapping[str, Mapping[str, int]]) -> Markup | None:
    if set(found) <= {""}:
        return None
    rows = sorted(found.items(), key=lambda item: (-item[1]["bytes"], item[0]))
    shown = [Span(key or "not known", row["bytes"] / 1e6) for key, row in rows[:MOST]]
    more = f"; {len(rows) - MOST} smaller ones are not shown" if len(rows) > MOST else ""
    title = f"Text that stays, by {what}"
    return tag("figure", spans(shown, title=title, unit="MB"), tag("figcaption", f"{title}, in MB{more}."))


def _lengths(found: Mapping[str, int]) -> Markup | None:
    if not found:
        return None
    keys = sorted(map(int, found))
    shown = []
    for key in range(keys[0], keys[-1] + 1):
        low, high = (1 << key - 1, (1 << key) - 1) if key else (0, 0)
        name = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        shown.append(Span(f"{name} words", found.get(str(key), 0)))
    title = "Documents by their length"
    return tag("figure", spans(shown, title=title, unit="documents"), tag("figcaption", f"{title}."))


def _skipped(content: Mapping[str, Any]) -> Markup | None:
    rows = content.get("skipped_files", [])
    if not rows:
        return None
    count = content.get("skipped", len(rows))
    listed = [tag("li", f"{row['file']}: {row['reason']}") for row in rows[:40]]
    if count > len(listed):
        listed.append(tag("li", f"and {number(count - len(listed))} more"))
    told = f"{number(count)} {'record' if count == 1 else 'records'} could not be read"
    return tag("details", tag("summary", told), tag("ul", *listed))


def packed_parts(name: str, artifact: Artifact) -> list[Markup]:
    """Return the parts of the report that packed rows fill."""
    content = json.loads((artifact.path / "report.json").read_text(encoding="utf-8"))
    mixed = sum(row["rows"] * row["epochs"] for row in content["sources"].values()) or 1
    rows = [
        [
            source or "the source",
            number(row["documents"]),
            number(row["tokens"]),
            number(row["rows"]),
            f"{row['waste']:.2%}",
            f"{row['epochs']:g}",
            f"{row['rows'] * row['epochs'] / mixed:.1%}",
        ]
        for source, row in content["sources"].items()
    ]
    told = f"The rows of '{name}': {number(content['context'])} tokens each, {content['waste']:.2%} of them padding."
    head = ["source", "documents", "tokens", "rows", "padding", "passes", "share of the mixture"]
    return [tag("div", table(head, rows, told, numbers=set(range(1, 7))), class_="card scroll")]


def _count(row: Mapping[str, Any], key: str) -> str:
    return number(row[key]) if isinstance(row.get(key), int) else "–"


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
