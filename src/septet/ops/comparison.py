"""Models that were trained, beside each other: what differs in how they were made, their figures, their curves in one chart.

What it is not: an evaluation; the figures are those that each training kept.

    septet compare small large --out comparison.html
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from septet.core.artifact import Artifact
from septet.core.errors import DataError
from septet.core.step import Step
from septet.ops.report.charts import Curve, curves, number
from septet.ops.report.html import Markup, document, table, tag

__all__ = ["Compared", "compare", "flat", "put", "said", "write_page"]

STYLES = "abcdef"
FIGURES = ("parameters", "tokens", "steps", "tokens_per_second", "seconds", "loss", "held_out_loss")


@dataclass(frozen=True)
class Compared:
    """names: one for each. differs: field -> a value each. figures: name -> a value each. curves: rows of each curve.jsonl."""

    names: list[str]
    differs: dict[str, list[Any]]
    figures: dict[str, list[Any]]
    curves: list[list[dict[str, Any]]]

    def to_dict(self) -> dict[str, Any]:
        return {"names": self.names, "differs": self.differs, "figures": self.figures, "curves": self.curves}


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as dotted names.

    >>> flat({"a": {"b": 1}, "c": 2})
    {'a.b': 1, 'c': 2}
    """
    if not isinstance(value, dict):
        return {prefix.rstrip("."): value}
    found: dict[str, Any] = {}
    for name, inner in value.items():
        found |= flat(inner, f"{prefix}{name}.")
    return found


def compare(named: Sequence[tuple[str, Artifact]]) -> Compared:
    """Compare artifacts that have a curve. Errors: DataError for one that was not trained."""
    found = []
    for name, artifact in named:
        path = artifact.path / "curve.jsonl"
        if not path.is_file():
            raise DataError(
                f"'{name}' is a {artifact.kind} without a curve (curve.jsonl); what pretrain, finetune and align make has one.",
                file=artifact.path,
            )
        found.append([json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line])
    steps = [{**_defaults(artifact), **flat(artifact.step)} for _, artifact in named]
    fields = list(dict.fromkeys(name for step in steps for name in step))
    valued = {name: [step.get(name) for step in steps] for name in fields}
    differs = {name: values for name, values in valued.items() if any(value != values[0] for value in values)}
    facts = [flat({k: v for k, v in artifact.facts.items() if k != "digest"}) for _, artifact in named]
    wanted = list(dict.fromkeys(name for one in facts for name in one if _is_figure(name)))
    figures = {name: [one.get(name) for one in facts] for name in wanted}
    return Compared([name for name, _ in named], differs, figures, found)


def _defaults(artifact: Artifact) -> dict[str, Any]:
    """A step's dump holds every field; one that was made before a field existed lacks it, and had its default."""
    from septet.core import registry

    kind = artifact.step.get("kind", "")
    if kind not in registry.names(Step.drawer):
        return {}
    fields = registry.find(Step.drawer, kind, family=Step).model_fields
    return {name: None for name, field in fields.items() if not field.is_required() and field.default is None}


def _is_figure(name: str) -> bool:
    return name.split(".")[0] in FIGURES or name.endswith("bits_per_byte")


def write_page(compared: Compared, out: Path) -> Path:
    """Write the comparison as one HTML page that needs nothing else."""
    charts = []
    for what, title in (("loss", "Loss of training"), ("held_out_loss", "Loss of held-out text")):
        lines = [
            Curve(name, [(row["tokens"], row[what]) for row in rows if what in row], STYLES[place % len(STYLES)])
            for place, (name, rows) in enumerate(zip(compared.names, compared.curves, strict=True))
        ]
        if any(line.points for line in lines):
            chart = curves(lines, title=title, x="tokens", y="nats a token", width=960, height=380)
            charts.append(tag("section", tag("h2", title), chart))
    head = ["", *compared.names]
    numbers = set(range(1, len(head)))
    differs = [[name, *map(said, values)] for name, values in compared.differs.items()]
    figures = [[name.replace("_", " "), *map(said, values)] for name, values in compared.figures.items()]
    body: list[Markup] = [tag("h1", " and ".join(compared.names))]
    body.append(
        tag("section", tag("h2", "What differs"), table(head, differs, "Fields of the step that are not the same"))
    )
    body.append(
        tag("section", tag("h2", "Figures"), table(head, figures, "What each training measured", numbers=numbers))
    )
    return put(document(f"Comparison: {', '.join(compared.names)}", tag("main", *body, *charts)), out)


def put(page: str, out: Path) -> Path:
    """Write a page in one go, so that nobody reads half of it."""
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    temporary.write_text(page, encoding="utf-8")
    os.replace(temporary, out)
    return out


def said(value: Any) -> str:
    """Return a value for people; a dash for none."""
    if value is None:
        return "–"
    return number(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
