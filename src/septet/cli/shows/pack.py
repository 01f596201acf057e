"""What packed rows hold: sources, waste, passes; and one row with the documents that it came from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from septet.cli.tables import bar, table

if TYPE_CHECKING:
    from septet.cli.main import Settings
    from septet.core.artifact import Artifact

__all__ = ["show"]


def show(artifact: Artifact, settings: Settings) -> str:
    """Return the packing's report for a terminal; the whole of it with --json."""
    from septet.data.packed import Packed, document_at  # numpy: 0.1 s

    report = json.loads((artifact.path / "report.json").read_text(encoding="utf-8"))
    if settings.json:
        return json.dumps(report, ensure_ascii=False, indent=1)
    mixed = sum(row["rows"] * row["epochs"] for row in report["sources"].values()) or 1
    rows = [
        [
            name or "(one source)",
            f"{row['documents']:,}",
            f"{row['tokens']:,}",
            f"{row['rows']:,}",
            f"{row['waste']:.2%}",
            f"{row['epochs']:g}",
            f"{row['rows'] * row['epochs'] / mixed:.1%}",
            bar(row["rows"] * row["epochs"] / mixed),
        ]
        for name, row in report["sources"].items()
    ]
    head = ["source", "documents", "tokens", "rows", "padding", "passes", "share", ""]
    parts = [f"Rows of {report['context']:,} tokens\n" + table(head, rows, right={1, 2, 3, 4, 5, 6})]
    if len(report["stages"]) > 1:
        stages = [[str(n), *(f"{v:,}" for v in stage.values())] for n, stage in enumerate(report["stages"], start=1)]
        names = list(report["stages"][0])
        parts.append("Rows of each source in each stage\n" + table(["stage", *names], stages, right=range(1, 9)))
    packed = Packed(artifact.path)
    wrong = packed.verify()
    parts.append(f"Damaged files: {', '.join(wrong)}" if wrong else "Every file has the bytes that were written.")
    source = packed.names[0]
    corpus = settings.store.get(artifact.inputs["corpus"])
    if corpus is not None:
        lines = [f"Row 0 of {source or 'the source'} is made of"]
        for span in packed.origin(source, 0)[:12]:
            doc = document_at(corpus.path, "train", span.place)
            end = span.start + span.length - 1
            where = f"{doc.file}:{doc.line}" if doc.line else doc.file
            lines.append(f"  {span.start:>6} to {end:<6} {doc.id}, token {span.offset} on  ({where})")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)
