"""datatrove's side of bench/corpus.py: the same filters, exact and MinHash de-duplication, and tokenising, in one process.

It runs in an environment of its own, which has datatrove and spaCy: it imports nothing of ours.

    python bench/peers/datatrove_corpus.py FOLDER_OF_JSONL TOKENIZER_JSON WORK_FOLDER
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import (
    ExactDedupConfig,
    ExactDedupFilter,
    ExactDedupSignature,
    ExactFindDedups,
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.tokens import DocumentTokenizer
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.hashing import HashConfig


def main(source: str, tokenizer: str, work: str) -> None:
    root = Path(work)
    seconds: dict[str, float] = {}
    exact = ExactDedupConfig(content_getter=lambda doc: doc.text.encode(), hash_config=HashConfig(precision=64))
    minhash = MinhashConfig(hash_config=HashConfig(precision=64, hash_fc="sha1"))  # as for FineWeb

    def run(name: str, *steps: object) -> None:
        began = time.perf_counter()
        LocalPipelineExecutor(list(steps), tasks=1, workers=1, logging_dir=str(root / "logs" / name)).run()
        seconds[name] = time.perf_counter() - began

    clean, unique = str(root / "clean"), str(root / "unique")
    run(
        "filters",
        JsonlReader(source),
        GopherRepetitionFilter(),
        GopherQualityFilter(),
        JsonlWriter(clean, compression=None),
    )
    run("exact signatures", JsonlReader(clean), ExactDedupSignature(str(root / "es"), config=exact))
    run("exact find", ExactFindDedups(str(root / "es"), str(root / "ed"), config=exact))
    run(
        "exact filter",
        JsonlReader(clean),
        ExactDedupFilter(str(root / "ed"), config=exact),
        JsonlWriter(unique, compression=None),
    )
    run("minhash signatures", JsonlReader(unique), MinhashDedupSignature(str(root / "ms"), config=minhash))
    began = time.perf_counter()
    LocalPipelineExecutor(
        [MinhashDedupBuckets(str(root / "ms"), str(root / "mb"), config=minhash)],
        tasks=minhash.num_buckets,
        workers=1,
        logging_dir=str(root / "logs" / "buckets"),
    ).run()
    seconds["minhash buckets"] = time.perf_counter() - began
    run("minhash cluster", MinhashDedupCluster(str(root / "mb"), str(root / "mc"), config=minhash))
    run(
        "minhash filter and tokenise",
        JsonlReader(unique),
        MinhashDedupFilter(str(root / "mc")),
        DocumentTokenizer(str(root / "tokens"), tokenizer, eos_token="<|endoftext|>", shuffle_documents=False),
    )
    tokens = sum(path.stat().st_size for path in (root / "tokens").glob("*.ds")) // 2
    print("RESULT " + json.dumps({"seconds": seconds, "tokens": tokens}))


if __name__ == "__main__":
    main(*sys.argv[1:4])
