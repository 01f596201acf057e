"""No encoder: the index is BM25 alone.

Chosen on purpose, or by "auto" where the extra `septet[encoder]` is not installed.

    septet index --corpus text --encoder none
"""

from __future__ import annotations

from septet.retrieval.encoder import Encoder, TextEncoder

__all__ = ["NoEncoder"]


class NoEncoder(Encoder):
    """No vectors; words alone."""

    def open(self, *, threads: int | None = None) -> TextEncoder | None:
        return None
