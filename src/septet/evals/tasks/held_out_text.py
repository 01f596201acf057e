"""Held-out text: the cost of unseen documents for the models, for xz and for a byte n-gram, on exactly the same bytes.

The model and the pre-trained one read a random part of the corpus' held-out documents; both baselines learn from all training
documents and are charged for the same part. Figures come from every scorer that reads likelihoods; besides, the difference in
bits per byte between each model and each baseline, paired by document and resampled by group.

What it is not: a test of facts or of usefulness.
"""

from __future__ import annotations

import math
from typing import ClassVar

from pydantic import Field

from septet.core.errors import DataError
from septet.data.documents import read_documents
from septet.evals.baselines import ByteNgram, xz_bits
from septet.evals.sample import Output, Sample, pick
from septet.evals.stats import ratio_difference
from septet.evals.task import Bench, Figure, Findings, Task, figures_of, judge_all

__all__ = ["HeldOutText"]

XZ = "xz -9e"


class HeldOutText(Task):
    """Likelihood of held-out documents beside two baselines."""

    needs: ClassVar[tuple[str, ...]] = ("corpus",)

    limit: int = Field(default=200_000, ge=1)
    """UTF-8 bytes of held-out text to read; documents are drawn by the seed until so many are there."""
    stride: int | None = Field(default=None, ge=1)
    """Tokens between the windows of a document longer than the context; None is half the context."""
    ngram_order: int = Field(default=5, ge=1, le=8)
    """Bytes of the n-gram, the predicted one among them."""

    def run(self, bench: Bench) -> Findings:
        folder = bench.inputs["corpus"]
        train = [document.text for document in read_documents(folder / "train.jsonl")]
        held_out = [document for document in read_documents(folder / "held_out.jsonl") if document.text]
        if not train or not held_out:
            raise DataError(
                "this task needs training and held-out documents. Give the corpus a held-out share, or leave the task out.",
                file=folder,
            )
        chosen = pick(
            held_out, seed=bench.seed, key=lambda d: d.id, limit=self.limit, cost=lambda d: len(d.text.encode())
        )
        samples = [Sample(id=d.id, reference=d.text, group=d.group) for d in chosen]
        texts = [sample.reference for sample in samples]
        size = sum(len(text.encode()) for text in texts)
        share = f"{len(samples)} of {len(held_out)} held-out documents, {size:,} bytes"

        outputs: dict[str, list[Output]] = {}
        notes: dict[str, str] = {}
        # the fine-tuned model between the two would cost another pass and tell little
        readers = {name: bench.readers[name] for name in ("model", "base") if name in bench.readers}
        turns = len(readers) + 1
        for turn, (name, reader) in enumerate(readers.items()):
            readings = reader.read(
                texts,
                stride=self.stride,
                tell=lambda done, total, turn=turn: bench.tell(round(1000 * (turn + done / total)), 1000 * turns),
            )
            outputs[name] = [Output(nll=reading.nll, num_tokens=reading.num_tokens) for reading in readings]
            notes[name] = f"{share}; {reader.note(self.stride)}"
            reader.close()  # one model in memory at a time
        ngram = ByteNgram(train, order=self.ngram_order)
        gram = f"byte {self.ngram_order}-gram"
        xz = xz_bits(train, texts)
        for name, bits in ((XZ, xz.by_text), (gram, ngram.bits(texts))):
            outputs[name] = [Output(nll=float(cost) * math.log(2)) for cost in bits]
        notes[XZ] = f"{share}; C(train + test) - C(train), exact in total, apportioned over documents for the interval"
        notes[gram] = f"{share}; {ngram.signature}"
        bench.tell(1000 * turns, 1000 * turns)

        figures: list[Figure] = []
        for scorer in bench.reading("likelihood"):
            for name, made in outputs.items():
                scores = judge_all(scorer, samples, made)
                figures += figures_of(self.kind, scorer, scores, of=name, seed=bench.seed, note=notes[name])
        groups, sizes = [s.cluster for s in samples], [float(len(text.encode())) for text in texts]
        for name in readers:
            for baseline in (XZ, gram):
                found = ratio_difference(
                    [output.nll / math.log(2) for output in outputs[name]],
                    [output.nll / math.log(2) for output in outputs[baseline]],
                    sizes,
                    seed=bench.seed,
                    groups=groups,
                )
                metric = f"bits_per_byte minus {baseline}"
                figures.append(
                    Figure(self.kind, metric, name, found, "bits/byte", True, "below 0: the model needs fewer")
                )
        return Findings(figures)
