"""tokenizer: learns a vocabulary from the training text: byte-level byte-pair encoding.

Any text can be written and read back exactly, because every byte is in the vocabulary. The first six ids are the reserved
tokens of `septet.data.special`. The folder opens with transformers' AutoTokenizer. Held-out text is measured, never learnt.
Source: Sennrich et al. 2016 (byte-pair encoding); Radford et al. 2019 (over bytes).

    septet tokenizer --corpus text --size 4096
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from septet.core.artifact import Artifact, Fact
from septet.core.component import CorpusRef
from septet.core.errors import DataError
from septet.core.step import Step, Work
from septet.data.documents import read_documents
from septet.data.special import END_OF_TEXT, PAD, RESERVED

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Encoder

__all__ = ["Tokenizer", "measure", "save", "train"]

SMALLEST = 256 + len(RESERVED)

# Words with the space before them, numbers in groups of three digits, runs of signs, runs of white space.
PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


class Tokenizer(Step):
    """Learn a vocabulary from a corpus."""

    produces: ClassVar[str] = "tokenizer"

    corpus: CorpusRef
    """The corpus whose training text is learnt from."""
    model: Literal["bpe"] = "bpe"
    """bpe: byte-level byte-pair encoding."""
    size: int = Field(default=4096, ge=SMALLEST, le=1_000_000)
    """Number of tokens, reserved ones and the 256 bytes included."""

    def run(self, work: Work, **inputs: Artifact) -> dict[str, Fact]:
        """Errors: DataError for a corpus without training text."""
        folder = inputs["corpus"].path
        encoder = train((doc.text for doc in read_documents(folder / "train.jsonl")), size=self.size)
        work.progress(1, 2, unit="stages")
        save(encoder, work.out)
        facts: dict[str, Fact] = {"tokens": encoder.get_vocab_size()}
        if encoder.get_vocab_size() < self.size:
            work.log(
                f"The text has no more than {encoder.get_vocab_size()} tokens that occur twice; {self.size} were asked for."
            )
        used: set[int] = set()
        for part in ("train", "held_out"):
            found = measure(encoder, (doc.text for doc in read_documents(folder / f"{part}.jsonl")))
            facts |= {f"{part}_tokens": found[0], f"{part}_bytes_per_token": found[1]}
            if part == "train":
                used = found[2]
        facts["unused_tokens"] = encoder.get_vocab_size() - len(RESERVED) - len(used - set(range(len(RESERVED))))
        work.progress(2, 2, unit="stages")
        return facts


def train(texts: Iterable[str], *, size: int) -> Encoder:
    """Learns a vocabulary of at most `size` tokens; the result does not depend on the order of the texts."""
    from tokenizers import Regex, decoders, models, pre_tokenizers, trainers  # 0.1 s; the command line does without
    from tokenizers import Tokenizer as Encoder

    encoder = Encoder(models.BPE(byte_fallback=False))
    encoder.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    encoder.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        show_progress=False,
        special_tokens=list(RESERVED),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    some = False

    def watched() -> Iterator[str]:
        nonlocal some
        for text in texts:
            some = some or bool(text)
            yield text

    encoder.train_from_iterator(watched(), trainer=trainer)
    if not some:
        raise DataError("The corpus has no training text; a vocabulary needs some. Hold out less, or give more text.")
    return encoder


def save(encoder: Encoder, folder: Path) -> None:
    """Writes tokenizer.json and tokenizer_config.json: a folder that AutoTokenizer opens."""
    folder.mkdir(parents=True, exist_ok=True)
    encoder.save(str(folder / "tokenizer.json"), pretty=False)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "pad_token": PAD,
        "additional_special_tokens": [token for token in RESERVED if token not in (END_OF_TEXT, PAD)],
        "clean_up_tokenization_spaces": False,
        "add_prefix_space": False,
        "padding_side": "right",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def measure(encoder: Encoder, texts: Iterable[str]) -> tuple[int, float | None, set[int]]:
    """(tokens, bytes per token or None where there is no text, ids that occur)."""
    tokens = size = 0
    used: set[int] = set()
    batch: list[str] = []

    def flush() -> None:
        nonlocal tokens
        for encoding in encoder.encode_batch_fast(batch, add_special_tokens=False):
            tokens += len(encoding.ids)
            used.update(encoding.ids)
        batch.clear()

    for text in texts:
        batch.append(text)
        size += len(text.encode("utf-8"))
        if len(batch) == 512:
            flush()
    flush()
    return tokens, round(size / tokens, 4) if tokens else None, used
