"""Encoding with a tokenizer that we trained: our Encoder beside the plain calls of `tokenizers`, on one thread.

A byte-level BPE of 32,768 tokens is trained on 40 novels, before the clock starts. Texts: 20 other novels (ASCII prose), web
pages (C4), and the Declaration of Human Rights in all languages whose encoding Python knows. The arms alternate, in an order
that turns round every round; their ids are compared first. Times are processor time of the whole process, so that what else the
machine does counts little. The ceiling, "every word a token", is tiktoken with the same pattern and a vocabulary that holds every
word of the text: cutting, one look-up and one id a word, and no merging at all. A copy of the text in memory is shown beside.

What it is not: a benchmark of vocabularies, or of many threads.

    SEPTET_DATA=FOLDER python bench/tokenizer.py [--rounds 9] [--quick]
"""

from __future__ import annotations

import os

# before tokenizers is imported: its threads are counted once
os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import argparse
import gzip
import importlib.metadata
import io
import json
import statistics
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tiktoken
from common import machine, median_ratio, write
from tokenizers import Tokenizer

from septet.data.encode import Encoder
from septet.data.tokenizers.spelling import byte_names
from septet.data.tokenizers.training import train

SIZE = 32_768
MIB = 2**20


def novels(folder: Path) -> list[str]:
    found = sorted((folder / "pretraining/english_novels").glob("*.txt.gz"))
    return [gzip.decompress(path.read_bytes()).decode("utf-8-sig") for path in found]


def web(folder: Path) -> list[str]:
    raw = gzip.decompress((folder / "pretraining/c4_and_wiki_samples/c4_demo.jsonl.gz").read_bytes())
    return [json.loads(line)["text"] for line in io.BytesIO(raw) if line.strip()]


def languages(folder: Path) -> list[str]:
    texts = []
    with zipfile.ZipFile(folder / "pretraining/udhr_languages/udhr.zip") as file:
        for name in sorted(file.namelist()):
            encoding = name.rsplit("-", 1)[-1]
            try:
                texts.append(file.read(name).decode(encoding.replace("Latin1", "latin-1").replace("UTF8", "utf-8")))
            except (LookupError, UnicodeDecodeError):
                continue
    return [text for text in texts if text]


def seconds(run: Callable[[list[str]], object], texts: list[str]) -> float:
    start = time.process_time()
    run(texts)
    return time.process_time() - start


def interval(values: list[float], *, draws: int = 10_000) -> tuple[float, float]:
    drawn = np.random.default_rng(0).choice(np.asarray(values), size=(draws, len(values)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="two rounds on little text: does it run?")
    options = parser.parse_args()
    if "SEPTET_DATA" not in os.environ:
        sys.exit("SEPTET_DATA is not set; it names the folder of real data sets.")
    folder = Path(os.environ["SEPTET_DATA"])
    facts = machine()
    books = novels(folder)
    learnt, read = (books[:4], books[58:]) if options.quick else (books[:40], books[40:])
    start = time.perf_counter()
    tokenizer = train(learnt, size=4096 if options.quick else SIZE)
    trained = time.perf_counter() - start
    start = time.perf_counter()
    encoder = Encoder(tokenizer)
    opened = time.perf_counter() - start
    if encoder.backend != "tiktoken":
        sys.exit(f"the encoder does not use tiktoken: {encoder.reason}")
    tokenizer.encode_special_tokens = True
    kinds = {"novels": read, "web pages": web(folder), "languages": languages(folder)}
    arms: dict[str, Callable[[list[str]], object]] = {
        "ours": encoder.encode_batch,
        "tokenizers encode_batch_fast": lambda texts: tokenizer.encode_batch_fast(texts, add_special_tokens=False),
        "tokenizers encode_batch": lambda texts: tokenizer.encode_batch(texts, add_special_tokens=False),
    }
    rows: list[dict[str, Any]] = []
    raw: dict[str, dict[str, list[float]]] = {}
    for kind, texts in kinds.items():
        size = sum(len(text.encode()) for text in texts)
        theirs = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        for ours, other in zip(encoder.encode_batch(texts), theirs, strict=True):
            assert ours.tolist() == other.ids, f"the ids of {kind} differ"
        tokens = sum(len(other.ids) for other in theirs)
        del theirs
        everything = {
            **arms,
            "every word a token": every_word(encoder, tokenizer, texts),
            "memory copy": lambda texts: [bytearray(text, "utf-8") for text in texts],
        }
        times: dict[str, list[float]] = {name: [] for name in everything}
        for number in range(2 if options.quick else options.rounds):
            for name in list(everything) if number % 2 == 0 else list(reversed(everything)):
                times[name].append(seconds(everything[name], texts))
        raw[kind] = times
        for name, taken in times.items():
            speeds = [size / MIB / one for one in taken]
            low, high = interval(speeds)
            row = {"text": kind, "MiB": round(size / MIB, 2), "arm": name, "MiB/s": statistics.median(speeds)}
            row |= {"low": low, "high": high}
            if name != "ours":
                ratio = median_ratio(taken, times["ours"])
                row |= {"ours is faster by": ratio["ratio"], "from": ratio["low"], "to": ratio["high"]}
            rows.append(row)
            print(json.dumps(row), flush=True)
        rows[-5]["bytes a token"] = size / tokens
    write(
        "tokenizer",
        {
            "title": "Tokenizing: our Encoder beside plain tokenizers, one thread",
            "about": "The same byte-level BPE of 32,768 tokens, trained on 40 novels, gives the same ids in every arm. Times "
            "are processor time. 'Every word a token' is the ceiling: tiktoken with the same pattern and a vocabulary that holds "
            "every word, so that nothing is merged.",
            "command": "make bench BENCH=tokenizer",
            "rows": rows,
            "machine": {**facts, "threads": 1},
            "versions": {name: importlib.metadata.version(name) for name in ("tiktoken", "tokenizers", "numpy")},
            "train_seconds": round(trained, 2),
            "open_seconds": round(opened, 2),
            "rounds": 2 if options.quick else options.rounds,
            "quick": options.quick,
            "seconds": raw,
        },
    )


def every_word(encoder: Encoder, tokenizer: Tokenizer, texts: list[str]) -> Callable[[list[str]], object]:
    """Cutting, one look-up and one id a word: what is left when nothing has to be merged."""
    back = {name: number for number, name in enumerate(byte_names())}
    words = {word for text in texts for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)}
    longer = sorted(bytes(back[character] for character in word) for word in words if len(word) > 1)
    ranks = {token: rank for rank, token in enumerate([*(bytes([number]) for number in range(256)), *longer])}
    made = tiktoken.Encoding(
        "words", pat_str=encoder.pattern, mergeable_ranks=ranks, special_tokens={"<|never a token|>": len(ranks)}
    )
    return lambda texts: [made.encode_to_numpy(text, disallowed_special=()) for text in texts]


if __name__ == "__main__":
    main()
