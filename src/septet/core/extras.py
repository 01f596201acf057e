"""Packages of an extra: imported when used, with a message that names the extra where they are missing.

What it is not: a check of versions; pyproject.toml states those.

    python -c "from septet.core.extras import need; print(need('json', 'corpus'))"
"""

from __future__ import annotations

import importlib
from types import ModuleType

from septet.core.errors import SeptetError

__all__ = ["need"]


def need(package: str, extra: str) -> ModuleType:
    """Import and return a package. Errors: SeptetError naming the extra to install where it is missing."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package.split(".")[0]:
            raise
        raise SeptetError(
            f"This needs the package '{package}'. Install it with: pip install 'septet[{extra}]'"
        ) from None
