"""Optional packages: imported when they are first needed, with a message that says what to install.

What it is not: a check at start-up. A command that needs no optional package never looks for one.

    python -c "from septet.core.extras import need; print(need('pyarrow', 'corpus').__version__)"
"""

from __future__ import annotations

import importlib
from typing import Any

from septet.core.errors import SeptetError

__all__ = ["need"]


def need(package: str, extra: str) -> Any:
    """Import and return a module of an optional package, such as `need("pyarrow.parquet", "corpus")`.

    Errors: SeptetError naming the extra that brings the package, where it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package.partition(".")[0]:
            raise  # the package is there, and something that it needs itself is not
        name = package.partition(".")[0]
        message = f"This needs the package '{name}', which is not installed: pip install 'septet[{extra}]'"
        raise SeptetError(message) from None
