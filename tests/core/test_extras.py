"""Optional packages.

python -m pytest tests/core/test_extras.py
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from septet.core.errors import SeptetError
from septet.core.extras import need


def test_a_package_that_is_there():
    assert need("json", "corpus") is json
    assert need("json.decoder", "corpus").JSONDecoder is json.JSONDecoder


def test_a_package_that_is_not_there_says_what_to_install():
    with pytest.raises(SeptetError, match=r"needs the package 'no_such_package'.*pip install 'septet\[corpus\]'"):
        need("no_such_package.part", "corpus")


def test_a_package_that_lacks_something_itself_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "half_a_package.py").write_text("import no_such_dependency")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        need("half_a_package", "corpus")
    sys.modules.pop("half_a_package", None)
