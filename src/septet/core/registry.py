"""The file system is the registry: the kinds of a drawer are the files of its package.

A drawer is a package such as `septet.data.sources`; `exact_dedup.py` in it is the kind `exact-dedup`. Names and summaries are
read without importing anything (`pkgutil`, `ast`); `find` imports the one file that is asked for. Installed packages add to a
drawer with an entry point whose group is the drawer's name; they are looked up only for a name that the drawer lacks.

What it is not: a decorator or a table. Nothing has to be registered; dropping a file in is enough.

    septet ls --kinds septet.data.sources
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import pkgutil
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from septet.core.errors import ComponentError, nearest

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["find", "kind_of", "names", "outside", "summary"]


def kind_of(file_name: str) -> str:
    """Return the kind that a module's name stands for: `exact_dedup` -> `exact-dedup`."""
    return file_name.replace("_", "-")


@cache
def _folders(drawer: str) -> tuple[str, ...]:
    try:
        spec = importlib.util.find_spec(drawer)
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.submodule_search_locations is None:
        return ()
    return tuple(spec.submodule_search_locations)


def names(drawer: str) -> list[str]:
    """Return the kinds of a drawer in alphabetical order, without importing them."""
    found = {kind_of(info.name) for info in pkgutil.iter_modules(_folders(drawer)) if not info.name.startswith("_")}
    return sorted(found)


def summary(drawer: str, name: str) -> str:
    """Return the first line of the docstring of a kind's file, without importing it."""
    for folder in _folders(drawer):
        path = Path(folder, name.replace("-", "_") + ".py")
        if path.is_file():
            doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            return doc.split("\n", 1)[0].strip()
    return ""


def outside(drawer: str) -> dict[str, EntryPoint]:
    """Return the kinds that installed packages add to a drawer; scanned only when the drawer itself lacks a name."""
    from importlib.metadata import entry_points  # 20 ms to import and scan

    return {kind_of(point.name): point for point in entry_points(group=drawer)}


def find(drawer: str, name: str, *, family: type | None = None) -> type:
    """Import the file of one kind and return the component defined in it.

    Raises ComponentError, naming the nearest kind, if the drawer has no such file and no installed package offers it.
    """
    from septet.core.component import Component  # cycle: a component finds its sub-components here

    if not isinstance(name, str):
        raise ComponentError(f"A kind is a name such as '{(names(drawer) or ['x'])[0]}', not {name!r}.")
    wanted = kind_of(name)
    base = family or Component
    if wanted in names(drawer):
        module = importlib.import_module(f"{drawer}.{wanted.replace('-', '_')}")
        found = [
            value
            for value in vars(module).values()
            if isinstance(value, type)
            and issubclass(value, base)
            and value.__module__ == module.__name__
            and not value.__name__.startswith("_")
            and not getattr(value, "__abstractmethods__", None)
        ]
        assert len(found) == 1, f"{module.__name__} must define exactly one component, found {found}"
        return found[0]

    points = outside(drawer)
    if wanted in points:
        return points[wanted].load()
    what = drawer.rsplit(".", 1)[-1].replace("_", " ")
    raise ComponentError(f"There is no '{name}' among the {what}.{nearest(wanted, names(drawer))}")
