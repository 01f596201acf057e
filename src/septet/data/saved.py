"""The settings beside weights that a small model of ours was saved with: JSON with a format, checked when it is opened.

What it is not: a format of large models; those are Hugging Face folders.

    python -m pytest tests/data/test_linear.py tests/data/test_tagger.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from septet.core.errors import StoreError

__all__ = ["open_settings"]


def open_settings(path: Path, known: object, step: str) -> dict[str, Any]:
    """Return the settings that the step wrote. Errors: StoreError where there are none, or of a format that is not `known`."""
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StoreError(
            f"{path.parent} holds no {path.name}; a folder made by the step '{step}' is expected."
        ) from None
    if settings.get("format") != known:
        raise StoreError(f"{path} has format {settings.get('format')!r}; {known} is expected.")
    return settings
