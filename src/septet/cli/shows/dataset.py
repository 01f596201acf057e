"""What a data set holds: task, parts, labels, lengths, what its parts share, labels that look wrong, and an example."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from septet.cli.tables import bar, table

if TYPE_CHECKING:
    from septet.cli.main import Settings
    from septet.core.artifact import Artifact

__all__ = ["show"]

MOST = 20
SHOWN = 100


def show(artifact: Artifact, settings: Settings) -> str:
    """Return what is known of the data set for a terminal; the whole of it with --json."""
    told = json.loads((artifact.path / "dataset.json").read_text(encoding="utf-8"))
    if settings.json:
        return json.dumps(told, ensure_ascii=False, indent=1)
    from septet.data.review import remarks  # numpy: 0.1 s

    found = told["review"]
    columns = ", ".join(f"{role} from {names}" for role, names in told["columns"].items())
    head = f"A data set for {told['task']}" + (f": {columns}" if columns else "")
    notes = [*told["remarks"], *remarks(found)]
    parts = [head, _rows(found["rows"]), _labels(found["labels"], found["rows"]), *_lengths(found["lengths"])]
    parts += ["\n".join(["Worth a look", *(f"  {line}" for line in notes)]) if notes else "", *_examples(found)]
    with (artifact.path / "train.jsonl").open(encoding="utf-8") as file:
        parts.append(f"The first training row\n{json.dumps(json.loads(file.readline()), ensure_ascii=False, indent=1)}")
    return "\n\n".join(filter(None, parts))


def _rows(rows: Mapping[str, int]) -> str:
    total = sum(rows.values())
    shown = [[part.replace("_", " "), f"{count:,}", f"{count / total:.1%}"] for part, count in rows.items()]
    return "The parts\n" + table(["part", "rows", "share"], shown, right={1, 2})


def _labels(labels: Mapping[str, Mapping[str, int]], rows: Mapping[str, int]) -> str:
    if not labels:
        return ""
    shown = []
    for label, counts in list(labels.items())[:MOST]:
        share = counts.get("train", 0) / max(rows.get("train", 0), 1)
        shown.append([label[:40], *(f"{counts.get(part, 0):,}" for part in rows), f"{share:.1%}", bar(share)])
    more = f"\n  and {len(labels) - MOST} more" if len(labels) > MOST else ""
    head = ["label", *(part.replace("_", " ") for part in rows), "of training", ""]
    return "Rows with each label\n" + table(head, shown, right=range(1, len(rows) + 2)) + more


def _lengths(lengths: Mapping[str, Any]) -> list[str]:
    parts = []
    if lengths:
        shown = [
            [
                name,
                unit,
                *(f"{sizes[key]:,g}" if key == "median" else f"{sizes[key]:,}" for key in ("median", "p95", "longest")),
            ]
            for name, units in lengths.items()
            for unit, sizes in units.items()
        ]
        parts.append("Lengths\n" + table(["text", "in", "median", "95% up to", "longest"], shown, right={2, 3, 4}))
    for name, units in lengths.items():
        histogram = units["words"]["histogram"]
        most = max(histogram.values())
        shown = []
        for bits in range(min(map(int, histogram)), max(map(int, histogram)) + 1):
            count = histogram.get(str(bits), 0)
            low, high = (1 << bits - 1, (1 << bits) - 1) if bits else (0, 0)
            shown.append([f"{low:,}" if low == high else f"{low:,} to {high:,}", f"{count:,}", bar(count / most)])
        parts.append(f"Words of '{name}'\n" + table(["words", "rows", ""], shown, right={0, 1}))
    return parts


def _examples(found: Mapping[str, Any]) -> list[str]:
    parts = []
    near: Sequence[tuple[str, Mapping[str, str]]] = [
        (f"{shared['first']} and {shared['second']}".replace("_", " "), pair)
        for shared in found["shared"]
        for pair in shared["examples"]
    ]
    if near:
        lines = [
            line
            for parts_named, pair in near
            for line in (f"  {parts_named}", f"    {_flat(pair['first'])}", f"    {_flat(pair['second'])}")
        ]
        parts.append("\n".join(["Nearly equal texts in two parts", *lines]))
    wrong = found["contradicted"]["examples"]
    if wrong:
        parts.append(
            "\n".join(
                ["One text, several labels", *(f"  {', '.join(one['labels'])}: {_flat(one['text'])}" for one in wrong)]
            )
        )
    return parts


def _flat(text: str) -> str:
    return " ".join(text.split())[:SHOWN]
