"""The encoder that is installed here: minilm where the extra `septet[encoder]` is there, else none.

Which one it is enters the id of what is made with it, so installing the extra makes a new index.

    septet index --corpus text --encoder auto
"""

from __future__ import annotations

from septet.retrieval.encoder import Encoder, TextEncoder
from septet.retrieval.encoders.minilm import MiniLM, installed_version
from septet.retrieval.encoders.none import NoEncoder

__all__ = ["Auto"]


class Auto(Encoder):
    """Stands for minilm where its package is installed, else for none."""

    def resolve(self) -> Encoder:
        return MiniLM() if installed_version() is not None else NoEncoder()

    def fingerprint(self) -> str:
        found = self.resolve()
        return f"{found.kind} {type(found).version} {found.fingerprint() or ''}".strip()

    def open(self, *, threads: int | None = None) -> TextEncoder | None:
        return self.resolve().open(threads=threads)
