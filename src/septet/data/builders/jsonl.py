"""One's own questions and answers: rows of JSON in the forms that are in use, plain or .gz.

Read, row by row: {"messages": [{"role", "content"}]}; ShareGPT {"conversations": [{"from", "value"}]}; Alpaca
{"instruction", "input", "output"}; {"prompt", "completion"} or {"prompt", "response"}; {"question", "answer"}. Text only: rows
that call tools or hold pictures are refused with file and row. Reserved tokens inside a text are taken out and counted.

    septet dataset --builder '{kind: jsonl, path: rows.jsonl}'
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from septet.core.component import InputPath
from septet.core.errors import DataError
from septet.data.builder import Builder, Built, Row
from septet.data.documents import Document, read_rows
from septet.data.messages import messages_of
from septet.data.special import without_reserved

__all__ = ["Jsonl"]


class Jsonl(Builder):
    """Rows of one's own."""

    reads_corpus = False

    path: InputPath
    """The file of rows."""
    held_out_share: float = Field(default=0.1, ge=0, le=0.9)
    """Share of the rows that is never trained on; the hash of seed and row chooses."""

    def build(self, train: Sequence[Document], held_out: Sequence[Document], *, seed: int) -> Built:
        """The rows in their order. Errors: DataError with file and row for what cannot be read as questions and answers."""
        path = Path(self.path)
        if not path.is_file():
            raise DataError("This is a folder; the builder 'jsonl' expects one file of rows.", file=path)
        sides: tuple[list[Row], list[Row]] = ([], [])
        cleaned = number = 0
        for number, row in read_rows(path):
            messages = messages_of(path, number, row)
            clean = [{**message, "content": without_reserved(message["content"])} for message in messages]
            cleaned += clean != messages
            # Equal rows fall on the same side, so that no held-out row was trained on.
            digest = hashlib.sha256(f"{seed}\0{json.dumps(clean, sort_keys=True)}".encode()).digest()
            out = int.from_bytes(digest[:8], "big") < self.held_out_share * 2**64
            sides[out].append({"messages": clean, "document": f"{path.name}:{number}", "kind": "given"})
        if number == 0:
            raise DataError(
                "The file holds no rows; one JSON object a line, or a list of objects, is expected.", file=path
            )
        return Built(*sides, notes={"rows_with_reserved_tokens": cleaned})
