import math

import pytest

from septet.data.documents import Document
from septet.retrieval.standing import DEPRECATED, LENGTH, MENTIONS, PARTS, mentions, standing


def _doc(name: str, text: str, **meta: object) -> Document:
    return Document(id=name, name=name, text=text, meta=meta)


def test_mentions_by_hand() -> None:
    documents = [
        _doc("os.path.join", "os.path.join itself does not count"),
        _doc("str.strip", "Strip."),
        _doc("functools.wraps", "Wrap."),
        _doc("sum", "Add."),
        _doc("code 1", "import os\nx = os.path.join(a, b.strip())\ny = sum(z)"),
        _doc("code 2", "from os import path\nfrom functools import (wraps,\n  partial)\npath.join(a)"),
        _doc("code 3", "'x'.strip(); consume(1)"),
    ]
    documents[1] = Document(id="str.strip", name="str.strip", text="Strip.", meta={"type": "method"})
    assert mentions(documents).tolist()[:4] == [2, 2, 1, 1]


def test_a_method_shares_its_name() -> None:
    documents = [_doc(f"{owner}.copy", "C.", type="method") for owner in ("dict", "list")] + [_doc("code", "a.copy()")]
    assert mentions(documents).tolist()[:2] == [0.5, 0.5]


def test_standing_by_hand() -> None:
    documents = [_doc("a", "x" * 9), _doc("b.c", "x" * 9, type="method", deprecated=True)]
    plain = MENTIONS * math.log(4) + LENGTH * math.log(10)
    assert standing(documents, mentions(documents) + 3).tolist() == pytest.approx(
        [plain, plain + PARTS["method"] + DEPRECATED]
    )
