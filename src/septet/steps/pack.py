"""pack: turns a corpus into rows of tokens on disk, packed and ready to be mixed and trained on.

Documents are tokenised and laid into rows of one length by best fit (no document sees another, nothing is lost, the waste is
measured) and written to files that are mapped into memory; every token leads back to its document. Rows hold one source each, so
that the mixture can weigh sources, repeat them and order them in stages; a document with a weight (from `reweight`) is packed as
often as its weight says. The held-out part is packed too, unmixed.

What it is not: training. `pretrain` takes what this makes as its `packed`.

    septet pack --corpus text --tokenizer vocab --context 512 --mixture '{weights: {novels: 2, web: 1}}'
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from septet.core.artifact import Artifact, Fact, write_json
from septet.core.component import CorpusRef, TokenizerRef
from septet.core.errors import DataError
from septet.core.step import Step, Work
from septet.data.documents import Document, document_of
from septet.data.mixture import Mixture
from septet.data.packed import INDEX, Packed, Writer
from septet.data.weights import repetitions

if TYPE_CHECKING:
    from septet.data.encode import Encoder

__all__ = ["Pack", "open_encoder", "pack_shard"]

RANGE = 32 << 20
"""Bytes of the corpus's file in a shard."""
AT_ONCE = 256
"""Documents that are encoded together."""
PARTS = ("train", "held_out")


class Pack(Step):
    """Tokenise, pack and mix a corpus."""

    produces: ClassVar[str] = "packed"

    corpus: CorpusRef
    """The corpus."""
    tokenizer: TokenizerRef
    """The tokenizer."""
    context: int = Field(default=1024, ge=8, le=1 << 20)
    """Tokens in a row."""
    mixture: Mixture = Mixture()
    """How the sources of the corpus are mixed."""

    def run(self, work: Work, **inputs: Artifact) -> dict[str, Fact]:
        """Errors: DataError for a corpus without training text; ComponentError for a mixture that does not fit it."""
        corpus, tokenizer = inputs["corpus"].path, inputs["tokenizer"].path
        shards = [
            {"part": part, "number": number, "start": start, "end": end}
            for part in PARTS
            for number, (start, end) in enumerate(_ranges(corpus / f"{part}.jsonl"))
        ]
        for part in PARTS:
            (work.out / part).mkdir(parents=True, exist_ok=True)
            (work.state / part).mkdir(parents=True, exist_ok=True)
        settings = {
            "corpus": str(corpus),
            "tokenizer": str(tokenizer),
            "context": self.context,
            "state": str(work.state),
            "seed": self.mixture.seed,
        }
        found: dict[str, dict[str, list[dict[str, Any]]]] = {part: {} for part in PARTS}
        results = work.runtime.map(pack_shard, settings, shards)
        vocabulary, size = 0, 0
        for done, (shard, result) in enumerate(zip(shards, results, strict=True), start=1):
            for name, entry in result["sources"].items():
                found[shard["part"]].setdefault(name, []).append(entry)
                for what in entry["sha256"]:
                    file = f"{entry['stem']}.{what}.npy"
                    _link(work.state / shard["part"] / file, work.out / shard["part"] / file)
            vocabulary = result["vocabulary"]
            size += result["bytes"] if shard["part"] == "train" else 0
            work.progress(done, len(shards), unit="shards")
        if not found["train"]:
            raise DataError("the corpus has no training text. Hold out less, or give more text.", file=corpus)
        index = {"context": self.context, "vocabulary": vocabulary, "parts": found}
        write_json(work.out / INDEX, index)
        packed = Packed(work.out)
        order = self.mixture.order(packed.sizes())
        report = _report(
            packed, order.epochs(), [dict(zip(order.names, map(int, row), strict=True)) for row in order.counts]
        )
        write_json(work.out / "report.json", report)
        return {
            "tokens": report["tokens"],
            "rows": report["rows"],
            "waste": report["waste"],
            "bytes_per_token": round(size / max(report["tokens"], 1), 4),
            "mixed_rows": len(order),
            "mixed_tokens": round(sum(row["tokens"] * row["epochs"] for row in report["sources"].values())),
            "epochs": order.epochs(),
            "held_out_rows": len(Packed(work.out, "held_out")),
            "vocabulary": vocabulary,
        }


def pack_shard(settings: dict[str, Any], shard: dict[str, Any]) -> dict[str, Any]:
    """Pack the documents whose lines begin in [start, end) of the corpus's file; one set of files for each source among them."""
    part, number = shard["part"], shard["number"]
    done = Path(settings["state"], part, f"{number:05d}.json")
    if done.is_file():
        told = json.loads(done.read_text(encoding="utf-8"))
        if told["shard"] == shard:  # another version of this program may have cut the file elsewhere
            return told
    encoder, separator, pad = open_encoder(settings["tokenizer"])
    options = {"context": settings["context"], "separator": separator, "pad": pad, "vocabulary": encoder.size}
    writers: dict[str, Writer] = {}
    size = 0
    batch: list[tuple[int, Document]] = []

    def flush() -> None:
        nonlocal size
        texts = [doc.text for _, doc in batch]
        size += sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
        for (place, doc), tokens in zip(batch, encoder.encode_batch(texts), strict=True):
            if doc.source not in writers:
                writers[doc.source] = Writer(**options)
            times = repetitions(doc, settings["seed"]) if part == "train" else 1
            if times:
                writers[doc.source].add(tokens, place, times)
        batch.clear()

    for place, doc in _lines(Path(settings["corpus"], f"{part}.jsonl"), shard["start"], shard["end"]):
        batch.append((place, doc))
        if len(batch) == AT_ONCE:
            flush()
    flush()
    found = {}
    for which, name in enumerate(sorted(writers)):
        stem = f"{number:05d}-{which}"
        found[name] = {"stem": stem, **writers[name].write(done.with_name(stem))}
    result = {"shard": shard, "sources": found, "vocabulary": encoder.size, "bytes": size}
    write_json(done, result)
    return result


@cache
def open_encoder(folder: str) -> tuple[Encoder, int, int]:
    """Return an encoder, the id that stands between documents, and the id of the padding; opened once a process."""
    from septet.data.encode import Encoder  # 0.1 s; the command line does without
    from septet.data.tokenizers.folder import open_folder

    parts = open_folder(Path(folder))
    ids = {role: parts.special[token] for role, token in parts.roles.items() if token in parts.special}
    separator = next((ids[role] for role in ("eos", "sep", "bos") if role in ids), None)
    if separator is None:
        raise DataError(
            "the tokenizer has no end-of-text token (eos, sep or bos), which stands between documents.", file=folder
        )
    return Encoder(parts.encoder), separator, ids.get("pad", separator)


def _ranges(path: Path) -> list[tuple[int, int]]:
    size = path.stat().st_size
    return [(start, min(start + RANGE, size)) for start in range(0, size, RANGE)]


def _lines(path: Path, start: int, end: int) -> Iterator[tuple[int, Document]]:
    """(where its line begins, document) of the lines that begin in [start, end)."""
    with open(path, "rb") as file:
        if start:
            file.seek(start - 1)
            file.readline()  # the rest of the line before; nothing where a line ends just there
        while (place := file.tell()) < end:
            yield place, document_of(json.loads(file.readline()))


def _link(source: Path, target: Path) -> None:
    """Give the file a second name; the state's goes with the state when the artifact is finished."""
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)


def _report(packed: Packed, epochs: dict[str, float], stages: list[dict[str, int]]) -> dict[str, Any]:
    sources = {}
    for name, shards in packed.shards.items():
        total = {
            what: sum(shard[what] for shard in shards) for what in ("rows", "tokens", "documents", "cut", "pieces")
        }
        positions = total["rows"] * packed.context
        sources[name] = {**total, "waste": round(1 - total["tokens"] / positions, 6), "epochs": epochs.get(name, 0.0)}
    rows = sum(row["rows"] for row in sources.values())
    tokens = sum(row["tokens"] for row in sources.values())
    return {
        "rows": rows,
        "tokens": tokens,
        "context": packed.context,
        "waste": round(1 - tokens / (rows * packed.context), 6),
        "sources": sources,
        "stages": stages,
    }
