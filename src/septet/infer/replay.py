"""A cache of answers on disk, addressed by what was asked: a second run asks nobody.

The name of a file is the SHA-256 of the address and of the request's body, which hold no key. A file is written whole or not at
all, so many threads and processes may share a folder. Only the user may read it: prompts are the user's data.

What it is not: a cache that ages. An answer stays until its file is deleted.

    python -m pytest tests/infer/test_remote.py -k replay
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from septet.infer.engine import EngineError

__all__ = ["Replay"]


class Replay:
    """Answers by request in a folder. Without a folder nothing is kept."""

    def __init__(self, folder: str | Path | None) -> None:
        self.folder = None if folder is None else Path(folder).expanduser()

    def _path(self, asked: Any) -> Path:
        assert self.folder is not None
        text = json.dumps(asked, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        name = hashlib.sha256(text.encode()).hexdigest()
        return self.folder / name[:2] / f"{name}.json"

    def get(self, asked: Any) -> Any:
        """Return the answer that was kept for this request, or None. Raises EngineError for a file that is damaged."""
        if self.folder is None:
            return None
        path = self._path(asked)
        try:
            return json.loads(path.read_text(encoding="utf-8"))["answer"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EngineError(
                f"{path} is not an answer of the cache ({type(error).__name__}). Delete it, and it is asked for again."
            ) from None

    def put(self, asked: Any, answer: Any) -> None:
        """Keep an answer. Raises EngineError where the folder cannot be written."""
        if self.folder is None:
            return
        path = self._path(asked)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")  # readable by the user alone
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump({"asked": asked, "answer": answer}, file)  # ASCII: half a surrogate pair cannot break it
                os.replace(name, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(name)
                raise
        except OSError as error:
            raise EngineError(f"The answer cannot be kept in {path}: {error.strerror or error}.") from None
