"""Real and awkward texts for tests of tokenizers."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path

AWKWARD = (
    "",
    " ",
    "  ",
    "   leading",
    "trailing   ",
    "\n",
    "\n\n a\t\tb\r\n",
    "x\x00y\x01\x02z\x7f",
    "emoji 👩‍👩‍👧‍👦🏳️‍🌈😀 end",
    "\ufeffmark",
    "a\u00a0b\u3000c\u2028d\u0085e",
    "e\u0301 ﬁ ½ Å K",
    "안녕하세요 각 각",
    "你好，世界。 नमस्ते สวัสดี",
    "▁a ▁",
    "I'LL we've 'S ''s don't",
    "12345678 3,141.59 2² Ⅻ ٣٤٥",
    "-" * 200,
    "=+=" * 50,
    "a" * 3000,
    "\u200b\u200dx",
    *(" " * n + "x" + "\n" * n + "-" * n for n in range(1, 70)),
)


def languages(folder: Path, *, length: int = 2000) -> dict[str, str]:
    """The beginning of the Declaration of Human Rights in each language whose encoding Python knows."""
    found: dict[str, str] = {}
    with zipfile.ZipFile(folder / "pretraining/udhr_languages/udhr.zip") as file:
        for name in sorted(file.namelist()):
            encoding = name.rsplit("-", 1)[-1].replace("Latin1", "latin-1").replace("UTF8", "utf-8")
            try:
                text = file.read(name).decode(encoding)[:length]
            except (LookupError, UnicodeDecodeError):
                continue
            if text:
                found[name.rsplit("/", 1)[-1]] = text
    return found


def web(folder: Path, *, count: int = 60) -> list[str]:
    raw = gzip.decompress((folder / "pretraining/c4_and_wiki_samples/c4_demo.jsonl.gz").read_bytes()).decode()
    return [json.loads(line)["text"][:3000] for line in raw.split("\n")[:count] if line.strip()]


def novel(folder: Path, name: str = "Dickens_Oliver_1839", *, length: int = 60_000) -> str:
    return gzip.decompress((folder / f"pretraining/english_novels/{name}.txt.gz").read_bytes()).decode()[:length]


def everything(folder: Path) -> dict[str, str]:
    """Name -> text: languages, web pages, a novel, and the awkward ones."""
    found = languages(folder)
    found |= {f"web {number}": text for number, text in enumerate(web(folder))}
    found |= {"novel": novel(folder)}
    return found | {f"awkward {text[:12]!r} {number}": text for number, text in enumerate(AWKWARD)}
