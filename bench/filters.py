"""Speed of the quality filters on one core, and what each rule drops.

Four kinds of text, after `normalise`: 300 pages of C4; 124 speeches of presidents of the United States; chats, forum posts and
advertisements in pieces of about 6,000 characters; novels, unwrapped, in pieces of as much. Every filter runs once over each in
every round, in an order that is drawn anew; reported are medians of MB (10^6 bytes of UTF-8) a second of processor time, with
bootstrap intervals of 95 %. One round runs before the count begins. What it is not: a comparison with other tools, and no
judgement of the rules; it counts what they drop.

    make bench BENCH=filters ARGS="--data /path/to/data"        python bench/filters.py --rounds 5 --picture
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from cli import interval
from common import machine, write

from septet.data.documents import Document
from septet.data.filter import Filter
from septet.data.filters.normalise import normalise

FILTERS: dict[str, Any] = {
    "c4-tfds": "c4-tfds",
    "c4-datatrove": "c4-datatrove",
    "gopher-quality": "gopher-quality",
    "gopher-quality, punctuation is no word": {"kind": "gopher-quality", "punctuation_is_words": False},
    "gopher-repetition": "gopher-repetition",
    "fineweb": "fineweb",
    "fineweb, 0.1 as in the paper": {"kind": "fineweb", "max_repeated_characters": 0.1},
    "fineweb, quotes end lines too": {"kind": "fineweb", "quotes_end_lines": True},
    "language, en": {"kind": "language", "keep": ["en"]},
    "mojibake": "mojibake",
}
PIECE = 6_000  # characters
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "filters.svg"


def corpora(data: Path, megabytes: float) -> dict[str, list[Document]]:
    """Return name -> documents; of the novels so much."""
    samples = data / "pretraining" / "c4_and_wiki_samples"
    with gzip.open(samples / "c4_demo.jsonl.gz", "rt", encoding="utf-8") as file:
        pages = [json.loads(line)["text"] for line in file]
    speeches = [
        speech
        for name in ("inaugural", "state_union")
        for speech in archive(data / f"pretraining/us_speeches/{name}.zip")
    ]
    pieces: list[str] = []
    for path in sorted((data / "pretraining" / "english_novels").glob("*.gz")):
        if sum(map(len, pieces)) >= megabytes * 1e6:
            break
        with gzip.open(path, "rt", encoding="utf-8-sig") as file:
            pieces += novel(file.read())
    web = archive(data / "pretraining" / "webtext_noisy" / "webtext.zip")
    chats = [piece for text in web for piece in cut(text.split("\n"))]
    texts = {"C4": pages, "speeches": speeches, "chats": chats, "novels": pieces}
    return {
        name: [Document(id=f"{n}", text=normalise(text)) for n, text in enumerate(some)] for name, some in texts.items()
    }


def archive(path: Path) -> Iterator[str]:
    """Yield the texts of a zip."""
    with ZipFile(path) as packed:
        for name in packed.namelist():
            if name.endswith(".txt"):
                yield packed.read(name).decode("utf-8", "replace")


def novel(text: str) -> Iterator[str]:
    """Yield pieces of whole paragraphs, one a line."""
    paragraphs = re.split(r"\n\s*\n|\n(?=\s*[\"“'‘])|(?<=[.!?\"”])\n", text)
    return cut(" ".join(paragraph.split()) for paragraph in paragraphs)


def cut(lines: Iterable[str]) -> Iterator[str]:
    """Yield pieces of whole lines, each as long as it must be."""
    piece: list[str] = []
    for line in lines:
        piece.append(line)
        if sum(map(len, piece)) >= PIECE:
            yield "\n".join(piece)
            piece = []
    if piece:
        yield "\n".join(piece)


def once(spec: Any, docs: list[Document]) -> tuple[float, Counter[str]]:
    """Return the seconds of processor time, and how many documents each reason dropped."""
    reasons: Counter[str] = Counter()
    one = Filter.parse(spec)

    def drop(doc: Document, reason: str) -> None:
        reasons[reason] += 1

    began = time.process_time()
    for _ in one.apply(docs, drop):
        pass
    return time.process_time() - began, reasons


def measure(texts: dict[str, list[Document]], rounds: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Return a row for each filter and kind of text."""
    size = {name: sum(len(doc.text.encode()) for doc in docs) / 1e6 for name, docs in texts.items()}
    pairs = [(label, name) for label in FILTERS for name in texts]
    speeds: dict[tuple[str, str], list[float]] = {pair: [] for pair in pairs}
    dropped: dict[tuple[str, str], Counter[str]] = {}
    rng = random.Random(seed)
    for number in range(rounds + 1):
        for label, name in rng.sample(pairs, len(pairs)):
            seconds, reasons = once(FILTERS[label], texts[name])
            assert dropped.setdefault((label, name), reasons) == reasons, f"{label} is not deterministic"
            if number:
                speeds[label, name].append(size[name] / max(seconds, 1e-9))
        print(f"round {number} of {rounds}", file=sys.stderr)
    rows = []
    for label, name in pairs:
        low, high = interval(speeds[label, name])
        gone, docs = dropped[label, name], len(texts[name])
        rows.append({
            "filter": label, "text": name, "documents": docs, "MB_a_second": round(statistics.median(speeds[label, name]), 1),
            "low": round(low, 1), "high": round(high, 1), "dropped_%": round(100 * gone.total() / docs, 1),
            "dropped": dict(gone.most_common()), "speeds": [round(speed, 2) for speed in speeds[label, name]],
        })  # fmt: skip
    return rows


def rates(rows: list[dict[str, Any]]) -> Iterator[tuple[str, str, dict[str, float]]]:
    """Yield (filter, rule, text -> dropped share) for each rule that dropped something."""
    names = list(dict.fromkeys(row["text"] for row in rows))
    for label in dict.fromkeys(row["filter"] for row in rows):
        mine = {row["text"]: row for row in rows if row["filter"] == label}
        for rule in dict.fromkeys(rule for name in names for rule in mine[name]["dropped"]):
            yield label, rule, {n: mine[n]["dropped"].get(rule, 0) / mine[n]["documents"] for n in names}


def picture(rows: list[dict[str, Any]]) -> str:
    """Return an SVG with a bar for each rule and kind of text: the share of the documents that it drops, to scale."""
    found = list(rates(rows))
    names = list(found[0][2])
    colours = ("#3b6ea8", "#c9822b", "#5b8c5a", "#8a5a9e")
    most = max(max(shares.values()) for _, _, shares in found)
    left, width, bar, gap = 430, 330, 9, 9
    parts: list[str] = []
    height = 46.0
    last = ""
    for label, rule, shares in found:
        if label != last:
            height += 12
            parts.append(f'<text x="8" y="{height + 10:.0f}" font-weight="600">{escape(label)}</text>')
            height += 20
            last = label
        shown = [(place, name) for place, name in enumerate(names) if shares[name]]
        middle = height + len(shown) * bar / 2 + 4
        parts.append(f'<text x="{left - 10}" y="{middle:.0f}" text-anchor="end">{escape(rule)}</text>')
        for row, (place, name) in enumerate(shown):
            y, length = height + row * bar, max(1.0, shares[name] / most * width)
            size = f'width="{length:.1f}" height="{bar - 1}"'
            parts.append(f'<rect x="{left}" y="{y:.0f}" {size} fill="{colours[place]}"/>')
            text = f"{100 * shares[name]:.1f} %"
            parts.append(f'<text x="{left + length + 4:.0f}" y="{y + 8:.0f}" font-size="9">{text}</text>')
        height += len(shown) * bar + gap
    legend = "".join(
        f'<rect x="{left + 110 * place}" y="14" width="10" height="10" fill="{colours[place]}"/>'
        f'<text x="{left + 110 * place + 15}" y="23">{escape(name)}</text>'
        for place, name in enumerate(names)
    )
    title = "What each rule drops"
    words = "Share of documents by filter and rule; a document that breaks several rules counts for the first."
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 60} {height + 10:.0f}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="12" fill="#222"><title>{title}</title><desc>{words}</desc>'
        f'<rect width="100%" height="100%" fill="#fff"/>{legend}{"".join(parts)}</svg>\n'
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of the quality filters, and what each rule drops.")
    parser.add_argument("--data", type=Path, default=os.environ.get("SEPTET_DATA"), help="the folder of real data sets")
    parser.add_argument("--rounds", type=int, default=7, help="how often each filter runs (default 7, at least 3)")
    parser.add_argument("--megabytes", type=float, default=4, help="how much of the novels is read (default 4)")
    parser.add_argument("--picture", action="store_true", help="also draw docs/images/filters.svg")
    given = parser.parse_args()
    if given.data is None or not (given.data / "pretraining").is_dir():
        parser.error("--data: the folder of real data sets, with pretraining/ in it (or set SEPTET_DATA)")
    if given.rounds < 3:
        parser.error("--rounds: at least 3, or there is no interval")
    before = machine()
    rows = measure(corpora(given.data, given.megabytes), given.rounds)
    about = "Processor time of one core. A document that breaks several rules counts for the first; shares by rule are in the file."
    write("filters", {
        "title": "Quality filters: speed, and what they drop", "about": about, "machine": before,
        "versions": {name: version(name) for name in ("septet", "numpy", "ftfy", "py3langid")},
        "command": "make bench BENCH=filters", "rows": rows,
    })  # fmt: skip
    if given.picture:
        PICTURE.write_text(picture(rows), encoding="utf-8")
    for row in rows:
        print(f"{row['filter']:40} {row['text']:10} {row['MB_a_second']:7.1f} MB/s  {row['dropped_%']:5.1f} % dropped")
    print()
    for label, rule, shares in rates(rows):
        print(f"| `{label}` | {rule} | " + " | ".join(f"{100 * share:.1f}" for share in shares.values()) + " |")


if __name__ == "__main__":
    main()
