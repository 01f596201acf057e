"""tokenizer: learns a vocabulary from training text, takes one over from another project, or widens one.

Learnt: byte-pair encoding, WordPiece or Unigram, over bytes or characters, from a bounded and weighted sample of a corpus. Taken
over: tokenizer.json, SentencePiece, GPT-2's files, WordPiece vocab.txt, tiktoken ranks, with the same ids. Widened: old tokens
keep their ids. The folder opens with transformers' AutoTokenizer; report.json says what the tokenizer does to the text. Held-out
text is measured, never learnt.

What it is not: the model's side of a wider vocabulary; see `resize`.

    septet tokenizer --corpus text --size 4096
    septet tokenizer --import-from tokenizer.model --corpus text
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from septet.core.artifact import Artifact, Fact, write_json
from septet.core.component import CorpusRef, InputPath, TokenizerRef, hash_path
from septet.core.step import Step, Work
from septet.data.documents import Document, read_documents
from septet.data.tokenizers.families import FAMILIES, FamilyName
from septet.data.tokenizers.folder import Parts, open_folder, save
from septet.data.tokenizers.sampling import Sample, plan
from septet.data.tokenizers.spelling import PATTERNS
from septet.data.tokenizers.training import Design, available_memory, estimate, guard, train

if TYPE_CHECKING:
    from septet.data.tokenizers.report import Measure

__all__ = ["Tokenizer"]

Weight = Annotated[float, Field(ge=0)]


class Tokenizer(Step):
    """Learn a vocabulary from a corpus, take one over, or widen one."""

    produces: ClassVar[str] = "tokenizer"
    version: ClassVar[int] = 2

    corpus: CorpusRef | None = None
    """The corpus whose training text is learnt from; where nothing is learnt, the text that the report measures."""
    model: Literal["bpe", "wordpiece", "unigram"] = "bpe"
    """bpe: byte-pair encoding; wordpiece: as BERT's; unigram: as T5's and XLNet's."""
    size: int = Field(default=4096, ge=16, le=1_000_000)
    """Number of tokens in all, special ones included; with `extend` and a corpus, what the vocabulary grows to."""
    byte_level: bool | None = None
    """Learn over bytes, so that any text comes back exactly; else over characters. Default: true for bpe, which alone can."""
    byte_fallback: bool = True
    """Over characters (bpe, unigram): a character that the vocabulary lacks becomes its bytes; else the unknown token."""
    family: FamilyName = "none"
    """The special tokens: none (the reserved ones), or those of a family of models, put around a text as that family does."""
    lowercase: bool = False
    """Lower-case text first; wordpiece then takes accents off too, as uncased BERT does."""
    unicode_form: Literal["none", "nfc", "nfkc"] | None = None
    """Unicode normalisation of the text. Default: nfkc for unigram (as SentencePiece), else none."""
    pattern: str = "auto"
    """How text is cut into words (bpe, GPT-2's and tiktoken's files): auto, gpt2, llama3, or a regular expression."""
    weights: dict[str, Weight] = Field(default={})
    """Share of each source in the text that is learnt from, beside the others; a source that is not named weighs 1."""
    sample_bytes: int = Field(default=1_000_000_000, ge=1, le=2_000_000_000)
    """About how much text is learnt from and measured, in bytes; above 2 GB the trainer's counts could overflow."""
    seed: int = 0
    """Chooses the documents of the sample, where the corpus is larger."""
    import_from: InputPath | None = None
    """A tokenizer to take over: tokenizer.json, SentencePiece .model, GPT-2 or tiktoken files, vocab.txt, or their folder."""
    extend: TokenizerRef | None = None
    """A tokenizer to widen: its tokens keep their ids, new ones follow."""
    add: tuple[str, ...] = ()
    """New tokens at the end of the vocabulary, found in a text as they are written."""
    add_special: tuple[str, ...] = ()
    """New special tokens at the end of the vocabulary, such as markers of a chat; never read from typed text."""

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str) -> str:
        if value not in PATTERNS:
            from tokenizers import Regex  # 0.1 s, only where a pattern is given

            try:
                Regex(value)
            except Exception as error:  # the library raises plain Exception
                raise ValueError(
                    f"{value!r} is no regular expression ({error}); name one of {', '.join(PATTERNS)}, or give one."
                ) from None
        return value

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if self.import_from is not None and self.extend is not None:
            raise ValueError(
                "import_from and extend exclude each other: take the tokenizer over first, then extend it."
            )
        if self.import_from is None and self.extend is None:
            if self.corpus is None:
                raise ValueError(
                    "nothing to make a tokenizer of. Give a corpus to learn from, a file to take over (import_from), or a "
                    "tokenizer to widen (extend)."
                )
            if self.model != "bpe" and self.byte_level:
                raise ValueError(
                    f"byte_level: {self.model} is learnt over characters; use bpe for a vocabulary over bytes (unigram with "
                    "byte_fallback loses nothing either)."
                )
            smallest = self.design().smallest
            if self.size <= smallest - 1:
                raise ValueError(
                    f"size: {self.size} tokens are too few; at least {smallest} are needed before anything is learnt (special "
                    "tokens, and the 256 bytes)."
                )
        return self

    def design(self) -> Design:
        """What is learnt, with what was left open filled in."""
        over_bytes = self.model == "bpe" if self.byte_level is None else self.byte_level
        form = self.unicode_form or ("nfkc" if self.model == "unigram" else "none")
        return Design(
            model=self.model,
            size=self.size,
            byte_level=over_bytes,
            byte_fallback=self.byte_fallback,
            family=self.family,
            lowercase=self.lowercase,
            unicode_form=form,
            pattern=self.pattern,
        )

    def fingerprint(self) -> str | None:
        if self.import_from is None:
            return None
        from septet.data.tokenizers.foreign import beside

        # a path names one file; the merges or the configuration beside it are read too
        second = beside(Path(self.import_from))
        return None if second is None else hash_path(second)

    def run(self, work: Work, **inputs: Artifact) -> dict[str, Fact]:
        """Errors: DataError for a corpus without training text, or files that are no tokenizer."""
        from septet.data.tokenizers.report import describe
        from septet.data.tokenizers.widen import with_tokens

        folder = inputs["corpus"].path if "corpus" in inputs else None
        sample = None
        if folder is not None:
            sample = plan(lambda: _documents(folder), budget=self.sample_bytes, weights=self.weights, seed=self.seed)
        work.progress(1, 4, unit="stages")
        if idle := self._without_effect():
            work.log(f"Nothing is learnt anew here, so these fields have no effect: {', '.join(idle)}.")
        parts, facts = self._make(work, inputs, folder, sample)
        if self.add or self.add_special:
            parts = with_tokens(parts, self.add, special=self.add_special)
        work.progress(2, 4, unit="stages")
        save(parts.encoder, work.out, parts)
        measure = None
        if folder is not None and sample is not None:
            measure = _measure(work, folder, sample.unweighted(self.sample_bytes))
        report = describe(parts, measure)
        write_json(work.out / "report.json", report)
        facts = {"tokens": report["tokens"], **facts}
        if measure is not None:
            for part in ("train", "held_out"):
                figures = report["parts"][part]
                facts |= {f"{part}_tokens": figures["tokens"], f"{part}_bytes_per_token": figures["bytes_per_token"]}
            facts |= {
                "unused_tokens": report["unused"]["count"],
                "tokens_per_word": report["parts"]["train"]["tokens_per_word"],
                "same_after_decoding": measure.returned / measure.trips if measure.trips else None,
            }
        if not {"eos", "sep"} & set(parts.roles):
            work.log(
                "The tokenizer has no token that ends a text or separates texts, so 'pretrain' cannot tell where a document ends. "
                f"Every family brings one: {', '.join(FAMILIES)}."
            )
        work.progress(4, 4, unit="stages")
        return facts

    def _without_effect(self) -> list[str]:
        """Fields that were given and that only learning a new vocabulary looks at."""
        if self.import_from is None and self.extend is None:
            return []
        only = {"model", "byte_level", "byte_fallback", "unicode_form"}
        only |= {"size", "weights"} if self.extend is None else {"family", "lowercase", "pattern"}
        return [name for name in type(self).model_fields if name in only & self.model_fields_set]

    def _make(
        self, work: Work, inputs: dict[str, Artifact], folder: Path | None, sample: Sample | None
    ) -> tuple[Parts, dict[str, Fact]]:
        if self.import_from is not None:
            from septet.data.tokenizers.foreign import loses_marks, take_over

            path = Path(self.import_from)
            parts = take_over(path, family=self.family, lowercase=self.lowercase, pattern=self.pattern)
            if loses_marks(parts):
                work.log(
                    "Unlike the original, the tokenizer loses accents that join with no letter (a tilde over a t)."
                )
            return parts, {}
        if self.extend is not None:
            return self._widen(work, inputs["extend"].path, folder, sample)
        assert folder is not None, "what is learnt has a corpus"
        assert sample is not None
        design = self.design()
        need = estimate(sample.texts(lambda: _documents(folder)), design, total=sample.expected_bytes)
        told = guard(need, available_memory(), sample_bytes=sample.expected_bytes)
        if sample.expected_bytes >= 10_000_000:
            work.log(f"Learning from {sample.expected_bytes / 1e6:,.0f} MB of text: {told}.")
        encoder = train(sample.texts(lambda: _documents(folder)), design)
        found = encoder.get_vocab_size()
        if found < self.size:
            work.log(f"The text has no more than {found} tokens that occur twice; {self.size} were asked for.")
        family = FAMILIES[self.family]
        roles = dict(family.roles)
        if design.unknown is not None:
            roles.setdefault("unk", design.unknown)
        facts: dict[str, Fact] = {"sample_bytes": sample.expected_bytes}
        return Parts(encoder, roles, family.padding_side), facts

    def _widen(
        self, work: Work, base: Path, folder: Path | None, sample: Sample | None
    ) -> tuple[Parts, dict[str, Fact]]:
        from septet.data.tokenizers.widen import learn

        parts = open_folder(base)
        old = parts.encoder.get_vocab_size()
        wanted = self.size - old - len(self.add) - len(self.add_special)
        new: list[str] = []
        if folder is not None and wanted <= 0 and not self.add and not self.add_special:
            work.log(f"The tokenizer has {old} tokens already, and size is {self.size}: raise it to learn new ones.")
        if folder is not None and sample is not None and wanted > 0:
            parts, new = learn(parts, sample.texts(lambda: _documents(folder)), wanted)
            if len(new) < wanted:
                work.log(f"The text has no more than {len(new)} new tokens that occur twice; {wanted} were asked for.")
        return parts, {"old_tokens": old, "learnt_tokens": len(new)}


def _documents(folder: Path, part: str = "train") -> Iterator[Document]:
    return read_documents(folder / f"{part}.jsonl")


def _measure(work: Work, folder: Path, sample: Sample) -> Measure:
    """Measure a sample without weights and all of the held-out text."""
    from septet.data.encode import Encoder
    from septet.data.tokenizers.report import Measure

    measure = Measure(Encoder(work.out), open_folder(work.out).encoder)
    measure.add((doc for doc in _documents(folder) if sample.copies(doc)), "train")
    work.progress(3, 4, unit="stages")
    measure.add(_documents(folder, "held_out"), "held_out")
    return measure
