"""Optional packages: imported where they are used, and where one is missing, the command that installs it.

It is not a list of what exists: `pyproject.toml` says which packages an extra holds.

    python -c "from septet.core.extras import need; print(need('sklearn', 'corpus').__version__)"
"""

from __future__ import annotations

import importlib
from types import ModuleType

from septet.core.errors import SeptetError

__all__ = ["need"]


def need(package: str, extra: str) -> ModuleType:
    """Import a module of an optional package. Errors: SeptetError naming the extra that holds it."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if not error.name or error.name.split(".")[0] != package.split(".")[0]:
            raise  # the package is there, and something that it needs is not
        name = package.split(".")[0]
        raise SeptetError(f"The package '{name}' is not installed; run: pip install 'septet[{extra}]'") from None
