"""Lists what the compiled modules of this interpreter document: built-in types, functions, and C extension modules.

They have no Python source, so their docstrings can only be read from the live objects. The file is run as a script of
its own (`python -I compiled.py`) so that importing, say, `readline` changes nothing in the process that asks. It imports
modules of the standard library that are compiled, and nothing else. It is not a reader of Python source: see `syntax`.

    python -I src/septet/data/pydocs/compiled.py | head -c 300
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import sys
import sysconfig
import types
import warnings
from importlib.machinery import EXTENSION_SUFFIXES
from typing import Any

__all__ = ["inventory"]


def module_files() -> dict[str, str]:
    """Compiled module -> file relative to the library folder ("" where it is linked into the interpreter)."""
    found = dict.fromkeys(sys.builtin_module_names, "")
    folder = os.path.join(sysconfig.get_path("stdlib"), "lib-dynload")
    if not os.path.isdir(folder):
        folder = os.path.join(sys.base_prefix, "DLLs")
    for entry in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        for suffix in EXTENSION_SUFFIXES:
            if entry.endswith(suffix):
                found.setdefault(entry.removesuffix(suffix), f"{os.path.basename(folder)}/{entry}")
                break
    tests = ("_test", "xx", "_xx", "_ctypes_test")
    return {name: file for name, file in sorted(found.items()) if not name.startswith(tests)}


def signature(obj: Any) -> str:
    """The parameters as text, "(a, /, b=0)", or "" where the object does not tell."""
    try:
        found = inspect.signature(obj)
    except (ValueError, TypeError):
        return ""
    except (AttributeError, NameError):  # a default that exists only later, such as _curses.ACS_VLINE
        return (getattr(obj, "__text_signature__", None) or "").replace("($self, /, ", "(self, /, ")
    return str(found)


def describe(obj: Any, kind: str) -> dict[str, Any]:
    doc = getattr(obj, "__doc__", None)
    own = inspect.cleandoc(doc) if isinstance(doc, str) else ""
    return {"type": kind, "doc": own, "signature": signature(obj) if kind != "property" else ""}


def members(cls: type) -> dict[str, dict[str, Any]]:
    """The documented members that the class defines itself; special methods say nothing of their own and stay out."""
    found = {}
    for name, raw in sorted(vars(cls).items()):
        if name.startswith("__"):
            continue
        value = getattr(raw, "__func__", raw)
        if inspect.isdatadescriptor(raw):
            found[name] = describe(raw, "property")
        elif inspect.isroutine(value):
            found[name] = describe(value, "method")
    return {name: entry for name, entry in found.items() if entry["doc"]}


def inventory() -> dict[str, Any]:
    """{"modules": {name: {doc, file, names: {name: key}}}, "objects": {key: {module, name, type, doc, signature, members}}}.

    An object that several modules offer (`open` of `io` and of `builtins`) is listed once, under the first: the
    built-in names come first, then the modules in alphabetical order.
    """
    files = module_files()
    modules: dict[str, Any] = {}
    objects: dict[str, Any] = {}
    keys: dict[int, str] = {}
    for module_name in sorted(files, key=lambda name: (name != "builtins", name)):
        try:
            module = importlib.import_module(module_name)
        except ImportError:  # a module that was built for a library that is not on this machine
            continue
        names = {}
        for name in sorted(vars(module)):
            obj = vars(module)[name]
            is_class = inspect.isclass(obj)
            if name.startswith("__") or not (is_class or inspect.isroutine(obj)):
                continue
            key = keys.get(id(obj))
            if key is None:
                called = getattr(obj, "__name__", name)  # `socket`, of which `SocketType` is another name
                called = called if vars(module).get(called) is obj else name
                key = keys[id(obj)] = f"{module_name}:{called}"
                entry = describe(obj, "class" if is_class else "function")
                entry |= {"module": module_name, "name": called, "members": members(obj) if is_class else {}}
                objects[key] = entry
            names[name] = key
        doc = module.__doc__
        modules[module_name] = {
            "doc": inspect.cleandoc(doc) if isinstance(doc, str) else "",
            "file": files[module_name],
            "names": names,
        }
    for public_name, cls in unnamed_types().items():
        if id(cls) not in keys:
            module_name, _, name = public_name.partition(".")
            known = modules.setdefault(module_name, {"doc": "", "file": "", "names": {}})
            known["names"][name] = f"{module_name}:{name}"
            entry = describe(cls, "class")
            entry |= {"module": module_name, "name": name, "members": members(cls)}
            objects[f"{module_name}:{name}"] = entry
    return {"modules": modules, "objects": objects}


def unnamed_types() -> dict[str, type]:
    """Compiled types that no compiled module offers by name; Python modules get at them through an instance."""
    found: dict[str, type] = {"re.Pattern": re.Pattern, "re.Match": re.Match}
    for name, value in sorted(vars(types).items()):
        if not inspect.isclass(value) or name.startswith("_") or value.__module__ not in ("builtins", "types"):
            continue
        if "__weakref__" not in vars(value):  # defined in C, not by a class statement
            found[f"types.{name}"] = value
    return found


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # modules that announce their retirement
        text = json.dumps(inventory(), ensure_ascii=True, sort_keys=True)
    sys.stdout.write(text)
