"""What a corpus kept and dropped, stage by stage, with examples; languages, lengths, sources, the split."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from septet.cli.tables import bar, table
from septet.core.quantities import size

if TYPE_CHECKING:
    from septet.cli.main import Settings
    from septet.core.artifact import Artifact

__all__ = ["show"]

EXAMPLES = 2
SHOWN = 90
MOST = 15
COUNTED = 20


def show(artifact: Artifact, settings: Settings) -> str:
    """Return the corpus's report for a terminal; the whole of it with --json."""
    report = json.loads((artifact.path / "report.json").read_text(encoding="utf-8"))
    if settings.json:
        return json.dumps(report, ensure_ascii=False, indent=1)
    parts = [_stages(report["stages"]), _dropped(report["dropped"]), _counts(report["stages"])]
    parts += [_group(name, rows) for name, rows in report.get("tables", {}).items()]
    parts += [_lengths(report.get("lengths", {})), _split(report["split"]), _skipped(report)]
    return "\n\n".join(filter(None, parts))


def _stages(stages: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    first = stages[0]
    counted = ["words", "tokens"] if "tokens" in first else ["words"]
    for stage in stages:
        kept = stage["documents"] / max(first["documents"], 1)
        rows.append(
            [
                stage["kind"],
                f"{stage['documents']:,}",
                *(f"{stage[name]:,}" for name in counted),
                size(stage["bytes"]),
                f"{kept:.1%}",
                f"{stage.get('dropped', 0):,}" if stage is not first else "",
                f"{stage.get('changed', 0):,}" if stage is not first else "",
            ]
        )
    head = ["stage", "documents", *counted, "text", "kept", "dropped", "changed"]
    return "What came out of each stage\n" + table(head, rows, right=range(1, 8))


def _dropped(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return "Nothing was dropped."
    lines = ["Why documents were left out, with examples"]
    for row in rows[:MOST]:
        lines.append(f"  {row['count']:>9,}  {row['filter']}: {row['reason']}")
        for example in row["examples"][:EXAMPLES]:
            text = " ".join(example["text"].split())
            lines.append(f"             {example['name'][:40]}: {text[:SHOWN]}{'...' if len(text) > SHOWN else ''}")
    if len(rows) > MOST:
        lines.append(f"  and {len(rows) - MOST} more reasons: report.json has them all")
    return "\n".join(lines)


def _counts(stages: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for stage in stages:
        found = list(stage.get("counts", {}).items())
        rows += [[stage["kind"], name, f"{count:,}"] for name, count in found[:COUNTED]]
        if len(found) > COUNTED:  # the items of an evaluation set, each by its name
            rows.append([stage["kind"], f"and {len(found) - COUNTED:,} more", ""])
    return "What the filters counted\n" + table(["filter", "what", "count"], rows, right={2}) if rows else ""


def _group(name: str, found: Mapping[str, Mapping[str, int]]) -> str:
    if set(found) <= {""}:
        return ""  # nothing is known
    rows = sorted(found.items(), key=lambda item: (-item[1]["bytes"], item[0]))
    total = sum(row["bytes"] for row in found.values()) or 1
    shown = [
        [
            key or "(not known)",
            f"{row['documents']:,}",
            f"{row['words']:,}",
            size(row["bytes"]),
            bar(row["bytes"] / total),
        ]
        for key, row in rows[:MOST]
    ]
    more = f"\n  and {len(rows) - MOST} more" if len(rows) > MOST else ""
    return f"What stays, by {name}\n" + table([name, "documents", "words", "text", ""], shown, right={1, 2, 3}) + more


def _lengths(found: Mapping[str, int]) -> str:
    if not found:
        return ""
    most = max(found.values())
    rows = []
    for key in range(min(map(int, found)), max(map(int, found)) + 1):
        count = found.get(str(key), 0)
        low, high = (1 << key - 1, (1 << key) - 1) if key else (0, 0)
        rows.append([f"{low:,}" if low == high else f"{low:,} to {high:,}", f"{count:,}", bar(count / most)])
    return "Words in a document\n" + table(["words", "documents", ""], rows, right={0, 1})


def _split(split: Mapping[str, Any]) -> str:
    rows = [
        [part.replace("_", " "), f"{split[part]['documents']:,}", size(split[part]["bytes"])]
        for part in ("train", "held_out")
    ]
    return f"The split, by {split['by']}\n" + table(["part", "documents", "text"], rows, right={1, 2})


def _skipped(report: Mapping[str, Any]) -> str:
    rows = report.get("skipped_files", [])
    if not rows:
        return ""
    count = report.get("skipped", len(rows))
    lines = [f"Not read: {count:,} {'record' if count == 1 else 'records'}"]
    lines += [f"  {row['file']}: {row['reason']}" for row in rows[:MOST]]
    return "\n".join([*lines, *([f"  and {count - MOST:,} more"] if count > MOST else [])])
