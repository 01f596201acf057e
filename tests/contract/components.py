"""Examples of every component in every drawer, and their one-field variations; shared by the contract tests."""

from __future__ import annotations

import importlib
import itertools
import pkgutil
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

import septet
from septet.core import registry
from septet.core.component import Component, InputPath, Ref
from septet.core.errors import SeptetError


def families() -> list[type[Component]]:
    """Every abstract component with a drawer of its own, found by importing the package."""
    for info in pkgutil.walk_packages(septet.__path__, "septet."):
        if "__main__" not in info.name:
            importlib.import_module(info.name)
    found, todo = [], [Component]
    while todo:
        for child in todo.pop().__subclasses__():
            todo.append(child)
            if child.__is_family__ and child.__module__.startswith("septet."):
                found.append(child)
    return sorted(found, key=lambda family: family.drawer)


def members() -> list[tuple[type[Component], str]]:
    return [(family, name) for family in families() for name in registry.names(family.drawer)]


REQUIRED_TOGETHER = {
    "steps/dataset": {"corpus": "$first"},
    "steps/evaluate": {"corpus": "$first"},
    "data.filters/licence": {"allow": ["mit"]},
    "data.filters/decontaminate": {"datasets": ("$first",)},
    "data.filters/reweight": {"audit": "$first"},
    "data.sources/hub": {"revision": "0" * 40},  # a commit needs no look at the hub
    "data.builders/hub": {"revision": "0" * 40},
    "steps/checkpoint": {"hub": "org/name", "revision": "0" * 40},
    "steps/tokenizer": {"corpus": "$first"},
    "steps/pretrain": {"tokenizer": "$first"},
}
"""Fields without which a component refuses its defaults, by drawer and kind."""

INSTEAD = {
    "steps/pretrain": {"continue_from": {"tokenizer": None}},
    "steps/checkpoint": {
        "folder": {"hub": None, "revision": "main"},
        "packaged": {"hub": None, "revision": "main"},
    },
    "infer.engines/remote": {
        "price_in": {"price_out": 1.0},
        "price_out": {"price_in": 1.0},
        "budget": {"price_in": 1.0, "price_out": 1.0},
    },
}
"""Fields that cannot stand together: what must change with a field when that one changes."""


def example(cls: type[Component], folder: Path) -> Component:
    """Build a component from its defaults, and a plain value for each field that has none."""
    given: dict[str, Any] = dict(REQUIRED_TOGETHER.get(f"{cls.drawer.removeprefix('septet.')}/{cls.kind_name()}", {}))
    required = {name: field for name, field in cls.model_fields.items() if field.is_required()}
    choices = [list(_values(field.annotation, field.metadata, None, folder)) for field in required.values()]
    for values in itertools.product(*choices):
        made = _valid(cls, {**given, **dict(zip(required, values, strict=True))})
        if made is not None:
            return made
    raise AssertionError(f"no valid example of {cls.__name__} found; teach tests/contract")


def variations(component: Component, folder: Path, place: str = "") -> Iterator[tuple[str, Component]]:
    """Yield (field path, a component that differs in that one field) for every field at any depth."""
    for name, field in type(component).model_fields.items():
        path, current, varied = f"{place}{name}", getattr(component, name), 0
        if get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1:
            continue  # there is no other value yet
        if _only_one(field.annotation):
            continue  # nor another kind
        for value in _values(field.annotation, field.metadata, current, folder):
            changed = _with(component, name, value)
            if changed is not None and getattr(changed, name) != current:
                yield path, changed
                varied += 1
                break
        assert varied, (
            f"{type(component).__name__}.{path}: no second valid value found for {field.annotation}; teach tests/contract"
        )
        if isinstance(current, Component):
            for inner, other in variations(current, folder, f"{path}."):
                changed = _with(component, name, other)
                if changed is not None:
                    yield inner, changed


def _only_one(annotation: Any) -> bool:
    """A family with a single kind that has no fields."""
    if not (isinstance(annotation, type) and issubclass(annotation, Component) and annotation.__is_family__):
        return False
    kinds = registry.names(annotation.drawer)
    return len(kinds) == 1 and not registry.find(annotation.drawer, kinds[0]).model_fields  # pyright: ignore[reportAttributeAccessIssue]


def _with(component: Component, name: str, value: Any) -> Component | None:
    fields = {key: getattr(component, key) for key in type(component).model_fields}
    place = f"{component.drawer.removeprefix('septet.')}/{component.kind}"
    return _valid(type(component), {**fields, name: value, **INSTEAD.get(place, {}).get(name, {})})


def _valid(cls: type[Component], fields: dict[str, Any]) -> Component | None:
    try:
        made = cls(**fields)
        made.identity()  # reads what the fields point to, so a file in place of a folder shows here
    except (ValidationError, SeptetError):
        return None
    return made


def _values(annotation: Any, metadata: list[Any], current: Any, folder: Path) -> Iterator[Any]:
    """Yield candidate values for a field of this type, the likeliest to be valid and different first."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _values(args[0], list(args[1:]), current, folder)
    elif origin in (Union, types.UnionType):
        for arg in args:
            if arg is not type(None):
                yield from _values(arg, metadata, current, folder)
        yield None
    elif origin is Literal:
        yield from args
    elif origin is tuple and len(args) > 1 and args[-1] is not Ellipsis:
        # of a fixed length: one value moved, and for shares that add up to one the others moved against it
        first, second, *rest = current or (0.5,) * len(args)
        yield from ((first * 0.5, second, *rest), (first * 0.5, second + first * 0.5, *rest))
    elif origin is tuple:
        inner = list(_values(args[0], [], None, folder))
        yield from ((value,) for value in inner)
        yield (*(current or ()), *inner[:1])
        yield ()
    elif annotation is bool:
        yield from (not current, bool(current))
    elif annotation is int:
        base = current if isinstance(current, int) else 2
        yield from (base + 1, base * 2, base - 1, 1, 2, 8, 64, 512)
    elif annotation is float:
        base = current if isinstance(current, int | float) else 0.5
        yield from (base * 0.5 + 0.01, base * 0.9, base + 0.1, 0.5, 0.25, 1.0, 2.0)
    elif annotation is Ref:
        yield from (Ref("$first"), Ref("$second"))
    elif annotation is InputPath:
        for name, text in (("a.jsonl", '{"text": "a", "question": "a", "gold": []}\n'), ("b.jsonl", '{"text": "b"}\n')):
            (folder / name).write_text(text)
            yield str(folder / name)
        for name in ("c", "d"):
            (folder / name).mkdir(exist_ok=True)
            (folder / name / "text.txt").write_text(name)
            yield str(folder / name)
        for name in ("e", "f"):  # what the `datasets` library saves
            (folder / name).mkdir(exist_ok=True)
            (folder / name / "state.json").write_text('{"_data_files": []}')
            (folder / name / "dataset_info.json").write_text(f'{{"license": "{name}"}}')
            yield str(folder / name)
    elif annotation is str or annotation is Any:
        yield from (
            "words",
            "other",
            "$ref",
            "auto",
            "none",
            "text",
            "pydantic",
            "About: {question}",
            "latin-1",
            ";",
            "c4",
            "wikipedia",
            "org/other",
            "1" * 40,
            "https://one.example/v1",
            "https://other.example/v1",
            r"(?P<label>\d) (?P<text>.+)",
        )
    elif isinstance(annotation, type) and issubclass(annotation, Component):
        if isinstance(current, Component):
            yield from (other for _, other in variations(current, folder))
        for name in registry.names(annotation.drawer):
            yield example(registry.find(annotation.drawer, name), folder)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        given = current or annotation()
        for name, field in annotation.model_fields.items():
            for value in _values(field.annotation, field.metadata, getattr(given, name), folder):
                try:
                    yield annotation(**{**dict(given), name: value})
                except (ValidationError, SeptetError):
                    continue
    elif origin is dict and isinstance(args[1], type) and issubclass(args[1], Component):
        made = list(itertools.islice(_values(args[1], [], None, folder), 2))
        yield from ({"first": one} for one in made)
        yield {"first": made[0], "second": made[-1]}
    elif origin in (dict, types.MappingProxyType) or annotation is dict:
        yield from ({"a": 1.0}, {"text": 1}, {"a": "b"}, {"text": ("b",)}, {})
