"""Public names, from small packages written for the purpose.

python -m pytest tests/data/test_pydocs.py
"""

from __future__ import annotations

from textwrap import dedent

import pytest

from septet.data.pydocs.names import Named, is_private, public_names
from septet.data.pydocs.syntax import read_module


def named(**sources: str) -> dict[str, Named]:
    """Public names over modules; `pkg` and names ending in _ are packages, __ stands for a dot."""
    modules = {}
    for key, source in sources.items():
        is_package = key == "pkg" or key.endswith("_")
        name = key.rstrip("_").replace("__", ".") if not key.startswith("_") else key
        file = name.replace(".", "/") + ("/__init__.py" if is_package else ".py")
        modules[name] = read_module(name, file, dedent(source), is_package=is_package)
    return {row.name: row for row in public_names(modules)}


def test_a_package_offers_what_its_init_imports():
    found = named(
        pkg="from .runners import *\nfrom .runners import hidden as shown\n",
        pkg__runners='__all__ = ["run"]\ndef run(main, *, debug=None):\n    "Run it."\ndef hidden():\n    "Less known."\n',
    )
    assert found["pkg.run"].aliases == ("pkg.runners.run",)
    assert found["pkg.run"].object.file == "pkg/runners.py"
    assert found["pkg.run"].object.line == 2
    assert found["pkg.run"].object.signature == "(main, *, debug=None)"
    assert "pkg.runners.run" not in found


def test_a_name_that_another_module_merely_uses_stays_where_it_is():
    found = named(a='def f():\n    "Do f."\n', ab="from a import f\n")
    assert list(found) == ["a.f"]
    assert found["a.f"].aliases == ()


def test_a_public_module_gives_a_name_to_private_ones():
    found = named(
        _impl='class Thing:\n    "A thing."\n    def go(self, n=1):\n        "Go."\n', things="from _impl import *\n"
    )
    assert found["things.Thing"].public
    assert found["things.Thing"].aliases == ("_impl.Thing",)
    assert found["things.Thing.go"].object.signature == "(n=1)"
    assert "_impl.Thing.go" in found["things.Thing.go"].aliases


def test_methods_bound_to_module_names_get_the_short_name():
    source = """
    class Random:
        "A generator."
        def randint(self, a, b):
            "Return a random integer."
    _inst = Random()
    randint = _inst.randint
    """
    found = named(random=source)
    assert found["random.randint"].aliases == ("random.Random.randint",)
    assert found["random.randint"].object.signature == "(a, b)"


def test_a_public_class_names_what_it_inherits_from_a_private_one():
    source = """
    class _Base:
        def add(self, x):
            "Add x."
        def own(self):
            "From the base."
    class Stack(_Base):
        "A stack."
        def own(self):
            "From the stack."
    """
    found = named(m=source)
    assert found["m.Stack.add"].public
    assert "m._Base.add" in found["m.Stack.add"].aliases
    assert found["m.Stack.own"].object.doc == "From the stack."
    assert not found["m._Base.own"].public


def test_heirs_of_a_public_class_give_other_names():
    source = """
    class Executor:
        "Runs things."
        def submit(self, fn):
            "Submit fn."
        def stop(self):
            "Stop."
    class Threads(Executor):
        "Threads."
        def submit(self, fn):
            return None
        def stop(self):
            "Stop all threads."
    """
    found = named(m=source)
    assert found["m.Executor.submit"].aliases == ("m.Threads.submit",)
    assert found["m.Executor.stop"].aliases == ()
    assert found["m.Threads.stop"].object.doc == "Stop all threads."


def test_names_made_on_first_use_are_seen():
    lazy = """
    __all__ = ("Pool",)
    def __getattr__(name):
        global Pool
        if name == "Pool":
            from .thread import Pool as te
            Pool = te
            return te
    """
    found = named(pkg=lazy, pkg__thread='class Pool:\n    "A pool."\n')
    assert found["pkg.Pool"].aliases == ("pkg.thread.Pool",)


def test_a_class_without_a_docstring_speaks_through_its_init():
    found = named(m='class A:\n    def __init__(self, n, *, k: int = 2) -> None:\n        "Makes an A."\n')
    assert found["m.A"].object.doc == "Makes an A."
    assert found["m.A"].object.signature == "(n, *, k: int=2)"
    assert "m.A.__init__" not in found


def test_names_left_out_of_all_are_kept_and_marked():
    found = named(m='__all__ = ["f"]\ndef f():\n    "F."\ndef g():\n    "G."\n')
    assert found["m.f"].listed
    assert found["m.g"].public
    assert not found["m.g"].listed


def test_computed_all_hides_nothing():
    found = named(m='__all__ = ["f"]\n__all__ += other.__all__\ndef f():\n    "F."\ndef g():\n    "G."\n')
    assert found["m.g"].listed


def test_a_circle_of_imports_ends():
    found = named(a="from b import *\n", b='from a import *\ndef f():\n    "F."\n')
    assert len(found) == 1


@pytest.mark.parametrize(
    ("source", "signature"),
    [
        ("def f(a, /, b=1, *c, d, e=2, **g) -> int: 'D.'", "(a, /, b=1, *c, d, e=2, **g) -> int"),
        ("class f:\n def __new__(cls, a): 'D.'\n def __init__(self, b=None): 'D.'", "(b=None)"),
        ("@_SpecialForm\ndef f(self, parameters): 'D.'", ""),
    ],
)
def test_signatures(source: str, signature: str):
    assert named(m=source)["m.f"].object.signature == signature


def test_methods_lose_self_and_properties_have_no_call():
    source = """
    class A:
        "A."
        def m(self, /, x=1): "M."
        @staticmethod
        def s(x): "S."
        @classmethod
        def c(cls, y, z=2): "C."
        @property
        def p(self): "P."
        @p.setter
        def p(self, value): "Sets p."
    """
    found = named(m=source)
    signatures = {name: row.object.signature for name, row in found.items()}
    assert signatures == {"m.A": "", "m.A.m": "(x=1)", "m.A.s": "(x)", "m.A.c": "(y, z=2)", "m.A.p": ""}
    assert found["m.A.p"].object.type == "property"
    assert found["m.A.p"].object.doc == "P."


def test_code_is_never_run(tmp_path):
    marker = tmp_path / "ran"
    named(m=f"open({str(marker)!r}, 'w')\nraise SystemExit\n")
    assert not marker.exists()


def test_private():
    assert is_private("a._b.c")
    assert is_private("a.B.__init__")
    assert not is_private("__future__.x")
