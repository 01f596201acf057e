"""Packages that come with an extra of this one, and the message for people who have not installed it.

python -c "from septet.core.extras import need; print(need('ftfy', 'corpus').__version__)"
"""

from __future__ import annotations

import importlib
from types import ModuleType

from septet.core.errors import SeptetError

__all__ = ["need"]


def need(package: str, extra: str) -> ModuleType:
    """Import a module of an optional package. Errors: SeptetError that names the extra, where the package is missing."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package.partition(".")[0]:
            raise  # the package is there; something that it needs is not
        raise SeptetError(f"{package} is not installed; it is needed here: pip install 'septet[{extra}]'") from None
