"""Preparing a corpus: clean, exact and MinHash de-duplication, tokenise; how fast, beside datatrove, and what is caught.

The text is that of the public sets below pretraining/, cut into documents of a few hundred words, and copies of them with words
replaced so that the Jaccard similarity of their word 5-grams is known. Three measurements:

- `peer`: both tools apply the same rules (Gopher repetition, Gopher quality, exact, MinHash 14 x 8 over word 5-grams, one BPE) to
  the same documents with one process; runs alternate, and start-up counts. datatrove needs its own environment (--peer-python).
  Seconds are those of the clock and those of the processor; the latter hold on a busy machine too. `--peer-only` measures nothing
  else and keeps a result of its own: all of the text and 256 MB of copies take datatrove half an hour.
- `caught`: how many planted pairs of each similarity our MinHash catches, beside the closed form and `datasketch`.
- `growth`: 10, 50 and 250 MB with 1 and 2 processes: seconds, and the largest process's memory.

What it is not: a judgement of the rules; docs/guides/quality.md has the kill rates.

    make bench BENCH=corpus ARGS="--data /path/to/data --peer-python /path/to/other/venv/bin/python"
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from common import machine, median_ratio, write

from septet.data.filters.minhash_dedup import PRESETS
from septet.data.minhash import band_keys, caught, shingle_text, signatures

SIMILARITIES = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
NGRAM = 5
MEGABYTE = 1_000_000
RULES = ["gopher-repetition", "gopher-quality", "exact-dedup", "minhash-dedup"]


def texts(data: Path) -> Iterator[str]:
    """Yield documents of 150 to 700 words: pieces of novels, speeches and articles, and whole web pages."""
    drawn = random.Random(0)
    for path in sorted((data / "pretraining").rglob("*")):
        if "udhr" in path.parts[-2] or "stopwords" in path.parts[-2] or "copy_from" in path.name or "warc" in path.name:
            continue
        if path.name.endswith(".txt.gz"):
            whole = [gzip.decompress(path.read_bytes()).decode("utf-8-sig", "replace")]
        elif path.name.endswith(".jsonl.gz"):
            whole = [json.loads(line)["text"] for line in gzip.decompress(path.read_bytes()).splitlines()]
        elif path.suffix == ".zip" and "xml" not in path.name:
            with zipfile.ZipFile(path) as file:
                names = [name for name in file.namelist() if name.endswith(".txt") and "README" not in name]
                whole = [file.read(name).decode("utf-8", "replace") for name in names]
        else:
            continue
        for text in whole:
            words, start = re.sub(r"(?<=\S)\r?\n(?=\S)", " ", text).split(" "), 0
            while start < len(words):
                size = drawn.randint(150, 700)
                piece = " ".join(words[start : start + size]).strip()
                if len(piece) > 200:
                    yield piece
                start += size


def altered(text: str, similarity: float, drawn: random.Random) -> str:
    """Replace words, each far from the last, so that the 5-grams of both texts have about this Jaccard similarity."""
    words = text.split(" ")
    shingles = max(len(words) - NGRAM + 1, 1)
    # a word that is replaced takes five of N 5-grams with it: J = (N - 5k) / (N + 5k)
    changes = round(shingles * (1 - similarity) / (1 + similarity) / NGRAM)
    step = len(words) / max(changes, 1)
    for number in range(changes):
        words[min(int((number + 0.5) * step), len(words) - 1)] = f"zq{drawn.randrange(10**6)}"
    return " ".join(words)


def jaccard(one: str, two: str) -> float:
    sets = []
    for text in (one, two):
        words = shingle_text(text).split()
        sets.append({tuple(words[n : n + NGRAM]) for n in range(max(len(words) - NGRAM + 1, 1))})
    return len(sets[0] & sets[1]) / max(len(sets[0] | sets[1]), 1)


def prepare(data: Path, folder: Path, size: int, share_unique: float) -> dict[str, Any]:
    """Write JSON lines of about `size` bytes: unique documents, and altered and exact copies of them."""
    drawn = random.Random(1)
    unique: list[str] = []
    used = 0
    for text in texts(data):
        unique.append(text)
        used += len(text.encode())
        if used >= size * share_unique:
            break
    rows = list(unique)
    copies = 0
    while used + copies < size:
        similarity = drawn.choice((*SIMILARITIES, 1.0))
        text = altered(drawn.choice(unique), similarity, drawn)
        rows.append(text)
        copies += len(text.encode())
    drawn.shuffle(rows)
    folder.mkdir(parents=True)
    for number in range(4):
        with open(folder / f"{number}.jsonl", "w", encoding="utf-8") as file:
            for place, text in enumerate(rows[number::4]):
                file.write(json.dumps({"text": text, "id": f"{number}-{place:06d}"}, ensure_ascii=False) + "\n")
    return {"bytes": used + copies, "unique_bytes": used, "documents": len(rows), "unique_documents": len(unique)}


def recipe(folder: Path, source: Path, tokenizer: Path) -> Path:
    path = folder / "bench.yaml"
    content = {
        "name": "bench",
        "steps": {
            "text": {
                "kind": "corpus",
                "source": {"kind": "jsonl", "path": str(source), "id_field": "id"},
                "filters": RULES,
                "held_out": {"share": 0, "by": "document"},
                "keep_read": False,
            },
            "vocab": {"kind": "tokenizer", "import_from": str(tokenizer)},
            "rows": {"kind": "pack", "corpus": "$text", "tokenizer": "$vocab", "context": 1024},
        },
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def timed(command: list[str], **environment: str) -> tuple[float, float, float, str]:
    """Run a command; return its seconds, its processor's seconds, the memory of its largest process in MB, and what it printed."""
    watcher = (
        "import resource, subprocess, sys, time\n"
        "began = time.perf_counter()\n"
        "done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)\n"
        "print(done.stdout)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "peak = used.ru_maxrss / 1024 if sys.platform == 'linux' else used.ru_maxrss / 2**20\n"
        "print('WATCH', time.perf_counter() - began, used.ru_utime + used.ru_stime, peak)\n"
        "sys.exit(done.returncode)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", watcher, *command],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )
    if done.returncode:
        raise SystemExit(
            f"{' '.join(command)} ended with status {done.returncode}:\n{done.stdout[-3000:]}{done.stderr}"
        )
    told = done.stdout.rsplit("WATCH ", 1)[1].split()
    return float(told[0]), float(told[1]), float(told[2]), done.stdout


def ours(folder: Path, source: Path, tokenizer: Path, processes: int) -> dict[str, Any]:
    home = folder / f"home-{time.monotonic_ns()}"
    script = recipe(folder, source, tokenizer)
    command = [
        sys.executable,
        "-m",
        "septet.cli",
        "--home",
        str(home),
        "run",
        str(script),
        "--processes",
        str(processes),
    ]
    seconds, processor, memory, _ = timed(command, PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
    facts = {}
    for path in (home / "artifacts").glob("*/manifest.json"):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        facts[manifest["kind"]] = manifest["facts"]
    shutil.rmtree(home)
    return {
        "seconds": seconds,
        "processor_seconds": processor,
        "memory": memory,
        "steps": {kind: found["seconds"] for kind, found in facts.items()},
        "kept": facts["corpus"]["train_documents"],
        "tokens": facts["packed"]["tokens"],
    }


def peer(folder: Path, source: Path, tokenizer: Path, python: str) -> dict[str, Any]:
    work = folder / "peer"
    shutil.rmtree(work, ignore_errors=True)
    script = Path(__file__).parent / "peers" / "datatrove_corpus.py"
    seconds, processor, memory, printed = timed([python, str(script), str(source), str(tokenizer), str(work)])
    told = json.loads(printed.split("RESULT ", 1)[1].splitlines()[0])
    return {
        "seconds": seconds,
        "processor_seconds": processor,
        "memory": memory,
        "steps": told["seconds"],
        "tokens": told["tokens"],
    }


def catching(data: Path, pairs: int) -> list[dict[str, Any]]:
    """For each similarity: the share of planted pairs that share a band, beside the closed form and datasketch's LSH."""
    from datasketch import MinHash

    ngram, bands, rows = PRESETS["fineweb"]
    pool = [text for text in texts(data) if 400 <= len(text.split()) <= 700][: pairs * len(SIMILARITIES)]
    drawn = random.Random(2)
    found = []
    for number, similarity in enumerate(SIMILARITIES):
        ours_hits = theirs_hits = 0
        exact: list[float] = []
        for text in pool[number * pairs : (number + 1) * pairs]:
            other = altered(text, similarity, drawn)
            exact.append(jaccard(text, other))
            keys = band_keys(
                signatures([text, other], ngram=ngram, permutations=bands * rows, seed=drawn.randrange(2**31)),
                bands,
                rows,
            )
            ours_hits += bool((keys[0] == keys[1]).all(axis=1).any())
            seed = drawn.randrange(2**31)
            hashes = []
            for one in (text, other):
                words = shingle_text(one).split()
                sketch = MinHash(num_perm=bands * rows, seed=seed)
                sketch.update_batch([" ".join(words[n : n + ngram]).encode() for n in range(len(words) - ngram + 1)])
                hashes.append(sketch.hashvalues.reshape(bands, rows))
            theirs_hits += bool((hashes[0] == hashes[1]).all(axis=1).any())
        expected = statistics.mean(caught(value, bands, rows) for value in exact)
        found.append(
            {
                "similarity": statistics.mean(exact),
                "pairs": len(exact),
                "caught": ours_hits / len(exact),
                "closed form": expected,
                "datasketch": theirs_hits / len(exact),
                "standard error": (expected * (1 - expected) / len(exact)) ** 0.5,
            }
        )
    # different documents that are taken for twins: what precision would suffer from
    wrong = 0
    distinct = pool[: 8 * pairs]
    keys = band_keys(signatures(distinct, ngram=ngram, permutations=bands * rows), bands, rows)
    for band in range(bands):
        seen: dict[bytes, int] = {}
        for number, key in enumerate(keys[:, band]):
            other = seen.setdefault(key.tobytes(), number)
            if other != number and jaccard(distinct[other], distinct[number]) < 0.3:
                wrong += 1
    found.append({"different documents": len(distinct), "wrongly caught": wrong})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("SEPTET_DATA"), help="the folder of data sets")
    parser.add_argument("--peer-python", help="an interpreter that has datatrove and spaCy")
    parser.add_argument("--peer-size", type=float, default=12, help="MB for the comparison")
    parser.add_argument("--pairs", type=int, default=3, help="alternating pairs of runs")
    parser.add_argument("--sizes", type=float, nargs="*", default=[10, 50, 250], help="MB for growth")
    parser.add_argument("--peer-only", action="store_true", help="the comparison alone, kept as a result of its own")
    parser.add_argument("--planted", type=int, default=300, help="planted pairs at each similarity")
    options = parser.parse_args()
    if options.data is None:
        raise SystemExit("--data (or SEPTET_DATA) names the folder of data sets")
    facts = machine()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        caught_rows = [] if options.peer_only else catching(options.data, options.planted)
        tokenizer = vocabulary(options.data, folder)
        rows, peers = beside(options, folder, tokenizer) if options.peer_python else ([], {})
        growth_rows, growth = ([], []) if options.peer_only else growing(options, folder, tokenizer)
    known = {}
    for package in ("tokenizers", "tiktoken", "numpy", "datasketch"):
        try:
            known[package] = version(package)
        except PackageNotFoundError:
            continue
    about = "Gopher repetition and quality, exact and MinHash de-duplication, one BPE of 32,000 tokens, packing; start-up counts. "
    common = {"machine": facts, "versions": known}
    if options.peer_only:
        text = peers["peer"]["text"]
        megabytes, unique = text["bytes"] / MEGABYTE, text["unique_bytes"] / MEGABYTE
        write(
            "corpus-peer",
            {
                "title": "Preparing a whole corpus, beside datatrove",
                "about": f"{about}{megabytes:.0f} MB: {unique:.0f} MB of text below pretraining/, and copies of it with words "
                "replaced. Rates count the processor's seconds, in one process, so that other work on the machine does not enter.",
                "command": f"make bench BENCH=corpus ARGS='--peer-only --peer-size {options.peer_size:g} --pairs {options.pairs}'",
                "rows": rows,
                **common,
                **peers,
            },
        )
        return
    write(
        "corpus",
        {
            "title": "Preparing a corpus",
            "about": f"{about}Memory is that of the largest process.",
            "command": "make bench BENCH=corpus",
            "rows": rows + growth_rows + planted(caught_rows),
            **common,
            "caught": caught_rows,
            **peers,
            "growth": growth,
        },
    )


def vocabulary(data: Path, folder: Path) -> Path:
    """Train the tokenizer that both sides use, once, on 10 MB of the text; return its file."""
    first = folder / "first"
    prepare(data, first, 10 * MEGABYTE, 1.0)
    home = folder / "home"
    run = [sys.executable, "-m", "septet.cli", "--home", str(home)]
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    timed([*run, "corpus", "--source", json.dumps({"kind": "jsonl", "path": str(first)})], **environment)
    timed([*run, "tokenizer", "--corpus", "corpus", "--size", "32000"], **environment)
    return next(home.glob("artifacts/*/tokenizer.json"))


def beside(options: argparse.Namespace, folder: Path, tokenizer: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Run ours and datatrove in alternation on the same documents; return rows for people and the raw figures."""
    source = folder / "both"
    about = prepare(options.data, source, int(options.peer_size * MEGABYTE), 0.4)
    mine: list[dict[str, Any]] = []
    theirs: list[dict[str, Any]] = []
    for number in range(options.pairs):
        order = [
            lambda: mine.append(ours(folder, source, tokenizer, 1)),
            lambda: theirs.append(peer(folder, source, tokenizer, options.peer_python)),
        ]
        for one in order if number % 2 == 0 else reversed(order):
            one()
        print(json.dumps({"ours": mine[-1], "datatrove": theirs[-1]}), flush=True)
    clock = "processor_seconds"
    speed = {
        name: [about["bytes"] / MEGABYTE / run[clock] for run in runs]
        for name, runs in (("ours", mine), ("datatrove", theirs))
    }
    ratio = median_ratio(speed["ours"], speed["datatrove"])
    rows: list[dict[str, Any]] = [
        {"what": f"{name}, one process", "MB a second": statistics.median(values),
         "MB of unique text a second": statistics.median(values) * about["unique_bytes"] / about["bytes"]}
        for name, values in speed.items()
    ]  # fmt: skip
    rows.append({"what": "ours / datatrove", "ratio": ratio["ratio"], "low": ratio["low"], "high": ratio["high"]})
    return rows, {"peer": {"text": about, "ours": mine, "datatrove": theirs, "ratio": ratio}}


def growing(
    options: argparse.Namespace, folder: Path, tokenizer: Path
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Time and memory for growing amounts of text with one process and two; return rows for people and the raw figures."""
    rows, growth = [], []
    for size in options.sizes:
        source = folder / f"growth-{size:g}"
        about = prepare(options.data, source, int(size * MEGABYTE), 1.0 if size <= 40 else 40 / size)
        for processes in (1, 2):
            found = ours(folder, source, tokenizer, processes)
            growth.append({"text": about, "processes": processes, **found})
            rows.append(
                {
                    "what": f"{size:g} MB, {processes} process{'es' if processes > 1 else ''}",
                    "seconds": found["seconds"],
                    "MB a second": about["bytes"] / MEGABYTE / found["seconds"],
                    "memory, MB": found["memory"],
                }
            )
            print(json.dumps(growth[-1]), flush=True)
        shutil.rmtree(source)
    return rows, growth


def planted(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows for people about what near-duplicate removal catches."""
    rows: list[dict[str, Any]] = [
        {"what": f"planted pairs at {row['similarity']:.2f}", "caught": row["caught"], "closed form": row["closed form"],
         "datasketch": row["datasketch"], "pairs": row["pairs"]}
        for row in found if "similarity" in row
    ]  # fmt: skip
    last = found[-1]
    rows.append(
        {"what": f"{last['different documents']} different documents", "wrongly caught": last["wrongly caught"]}
    )
    return rows


if __name__ == "__main__":
    main()
