"""tokenizer: prints what a tokenizer does to the text: by language and source, unused tokens, what does not come back.

What it is not: a measurement; the figures are those of report.json in the artifact.

    septet tokenizer show NAME
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from septet.cli.main import Settings
from septet.core.artifact import Artifact
from septet.core.errors import StoreError

__all__ = ["show"]

_COLUMNS = ("documents", "bytes", "tokens", "tokens_per_word", "tokens_per_character", "bytes_per_token")


def show(artifact: Artifact, settings: Settings) -> str:
    """The report as text, or as JSON with --json. Errors: StoreError for an artifact without a report."""
    path = artifact.path / "report.json"
    if artifact.kind != "tokenizer" or not path.is_file():
        raise StoreError(f"{artifact.short} ({artifact.kind}) has no tokenizer report; make the tokenizer anew.")
    report = json.loads(path.read_text(encoding="utf-8"))
    if settings.json:
        return json.dumps(report, ensure_ascii=False, indent=1)
    return "\n".join(_lines(report))


def _lines(report: Mapping[str, Any]) -> Iterator[str]:
    yield f"{report['model']}, {report['tokens']:,} tokens"
    special = ", ".join(f"{token} {number}" for token, number in list(report["special"].items())[:12])
    yield f"special    {special or 'none'}{' ...' if len(report['special']) > 12 else ''}"
    yield f"roles      {', '.join(f'{role} {token}' for role, token in report['roles'].items()) or 'none'}"
    yield f"longest    {', '.join(map(repr, report['longest'][:8]))}"
    if "parts" not in report:
        return
    because = f" ({report['not_by_tiktoken']})" if "not_by_tiktoken" in report else ""
    yield f"encoded by {report['encoded_by']}{because}"
    for title, name in (("part", "parts"), ("language", "by_language"), ("source", "by_source")):
        yield ""
        yield from _table(title, report[name])
    yield ""
    unused = report["unused"]
    examples = f": {', '.join(map(repr, unused['examples'][:8]))}" if unused["examples"] else ""
    yield f"unused in the training text: {unused['count']:,} tokens{examples}"
    yield f"single bytes of longer characters: {_share(report['single_byte_share'])} of the tokens"
    if report["unknown_share"] is not None:
        yield f"unknown: {_share(report['unknown_share'])} of the tokens"
    trip = report["round_trip"]
    yield f"come back exactly: {trip['same']:,} of {trip['documents']:,} documents"
    for example in trip["examples"]:
        yield f"  {example['id']}: {example['text']!r} came back as {example['back']!r}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.3g} %"


def _table(title: str, rows: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    width = max(len(title), *(len(name or "(none)") for name in rows), 8) if rows else len(title)
    yield "  ".join([title.ljust(width), *(column.replace("_", " ").rjust(_width(column)) for column in _COLUMNS)])
    for name, row in rows.items():
        cells = (_cell(row[column]).rjust(_width(column)) for column in _COLUMNS)
        yield "  ".join([(name or "(none)").ljust(width), *cells])


def _width(column: str) -> int:
    return max(len(column), 12)


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
