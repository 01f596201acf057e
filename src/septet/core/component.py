"""A component is its own configuration: frozen, typed fields and one verb.

A family (`Source`, `Objective`, `Scorer`, `Step`, ...) is an abstract subclass that names its drawer. A concrete component is one
class in one file of that drawer. Fields typed by a family take an instance, a mapping with `kind`, or the bare kind:

    source: {kind: jsonl, path: rows.jsonl}        filters: [docstrings, {kind: pii, on_match: drop}]

What it is not: a plain settings object. `identity()` is what an artifact's id is made of, so a component must say everything
that changes its result in its fields, in `fingerprint()` (bytes of the outside world) or in `version`.

    python -m pytest tests/core/test_component.py tests/contract
"""

from __future__ import annotations

import hashlib
import os
import re
from abc import ABC
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, get_args

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError, core_schema

from septet.core import registry
from septet.core.errors import ComponentError, nearest

__all__ = [
    "ClassifierRef",
    "Component",
    "CorpusRef",
    "DatasetRef",
    "IndexRef",
    "InputPath",
    "ModelRef",
    "OneOf",
    "PackedRef",
    "PairsRef",
    "RecogniserRef",
    "Ref",
    "ReportRef",
    "Takes",
    "TokenizerRef",
    "explain",
    "hash_path",
    "problems",
]


class Ref(str):
    """A reference to an artifact: `$step` inside a recipe, else a stored name (`recipe/step`, `step`) or an id.

    `kinds` says which kinds of artifact may stand there; an empty tuple admits any.
    """

    __slots__ = ("kinds",)
    kinds: tuple[str, ...]

    def __new__(cls, value: str, kinds: tuple[str, ...] = ()) -> Ref:
        self = super().__new__(cls, value)
        self.kinds = kinds
        return self


class Takes:
    """Marks a field as a reference to artifacts of certain kinds: `corpus: Annotated[Ref, Takes("corpus")]`."""

    def __init__(self, *kinds: str) -> None:
        self.kinds = kinds

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(
            self._check, core_schema.str_schema(min_length=1), serialization=core_schema.to_string_ser_schema()
        )

    def _check(self, value: str) -> Ref:
        return Ref(value, self.kinds)


class OneOf:
    """Marks a field as a component of one of several families, which the kind tells: `Annotated[Adapter | Asking, OneOf()]`."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        families: tuple[type[Component], ...] = get_args(source)
        return core_schema.with_info_plain_validator_function(
            lambda value, info: self._family(value, families)._build(value, info.context),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda value: value.dump()),
        )

    def _family(self, value: Any, families: tuple[type[Component], ...]) -> type[Component]:
        kind = value.get("kind") if isinstance(value, Mapping) else value
        for family in families:
            known = isinstance(kind, str) and registry.kind_of(kind) in registry.names(family.drawer)
            if known or isinstance(value, family):
                return family
        if not isinstance(kind, str):
            return families[0]
        for family in families:
            if registry.kind_of(kind) in registry.outside(family.drawer):
                return family
        kinds = [name for family in families for name in registry.names(family.drawer)]
        drawers = " and ".join(f"the {family.drawer.rsplit('.', 1)[-1]}" for family in families)
        text = f"There is no '{kind}' among {drawers}.{nearest(kind, kinds)}"
        raise PydanticCustomError("unknown_field", "{text}", {"text": text, "key": "kind"})

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        # a plain validator has no schema of its own; the families' drawers say what may stand there
        return {"type": "object", "properties": {"kind": {"type": "string"}}, "required": ["kind"]}


CorpusRef = Annotated[Ref, Takes("corpus")]
TokenizerRef = Annotated[Ref, Takes("tokenizer")]
PackedRef = Annotated[Ref, Takes("packed")]
ModelRef = Annotated[Ref, Takes("model")]
DatasetRef = Annotated[Ref, Takes("dataset")]
PairsRef = Annotated[Ref, Takes("pairs")]
IndexRef = Annotated[Ref, Takes("index")]
ReportRef = Annotated[Ref, Takes("report")]
ClassifierRef = Annotated[Ref, Takes("classifier")]
RecogniserRef = Annotated[Ref, Takes("recogniser")]


class InputPath(str):
    """A file or folder that a component reads; it must exist, and its bytes (not its name) enter the id.

    A relative path is taken from the recipe's folder, or from the working directory outside a recipe. `${NAME}` stands for a
    variable of the environment.
    """

    __slots__ = ()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.with_info_after_validator_function(
            cls._check, core_schema.str_schema(min_length=1), serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def _check(cls, value: str, info: ValidationInfo) -> InputPath:
        base = Path((info.context or {}).get("base", "."))
        value = re.sub(r"\$\{(\w+)\}", _variable, value)
        path = (base / Path(value).expanduser()).absolute()
        if not path.exists():
            beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
            raise ComponentError(f"there is no file or folder {path}.{nearest(path.name, beside)}")
        return cls(path)


def _variable(found: re.Match[str]) -> str:
    name = found[1]
    if not os.environ.get(name):
        hint = nearest(name, [known for known in os.environ if known.split("_")[0] == name.split("_")[0]])
        raise ComponentError(f"the environment variable {name} is not set; set it to the folder that is meant.{hint}")
    return os.environ[name]


def hash_path(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, or of a folder's files with their relative names, in hexadecimal."""
    path = Path(path)
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    total = hashlib.sha256()
    for child in sorted(p for p in path.rglob("*") if p.is_file()):
        total.update(child.relative_to(path).as_posix().encode() + b"\0" + bytes.fromhex(hash_path(child)))
    return total.hexdigest()


class Component(BaseModel, ABC):
    """Frozen, typed parameters (the fields) and one verb (the family's abstract method)."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    drawer: ClassVar[str] = ""
    """The package whose files are the kinds of this family."""
    version: ClassVar[int] = 1
    """Raised when the same fields begin to mean something else, or a default changes."""
    __is_family__: ClassVar[bool] = False

    @property
    def kind(self) -> str:
        """The component's name in recipes, on the command line and in the documentation: its file's name."""
        return self.kind_name()

    @classmethod
    def kind_name(cls) -> str:
        return registry.kind_of(cls.__module__.rsplit(".", 1)[-1])

    def fingerprint(self) -> str | None:
        """Return a digest of the bytes outside the fields that this component depends on, or None."""
        return None

    def __eq__(self, other: object) -> bool:
        # by the fields alone: what a component keeps privately while it works does not make it another component
        return type(other) is type(self) and all(getattr(self, n) == getattr(other, n) for n in type(self).model_fields)

    def __hash__(self) -> int:
        return hash((type(self), *(getattr(self, name) for name in type(self).model_fields)))

    # -- what a recipe says, and back -------------------------------------------------------------------------------

    @classmethod
    def parse(cls, value: Any, *, base: str | Path = ".") -> Self:
        """Build a component of this family from an instance, a mapping with `kind`, or a bare kind."""
        try:
            assert cls.__is_family__, f"{cls.__name__} is not a family; build it from its fields"
            return cls.model_validate(value, context={"base": str(base)})
        except ValidationError as error:
            raise ComponentError("\n".join(explain(error))) from None

    @classmethod
    def _build(cls, value: Any, context: dict[str, Any] | None) -> Self:
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            value = {"kind": value}
        if not isinstance(value, Mapping):
            raise ComponentError(f"expected a kind of {cls.__name__.lower()} or a mapping with 'kind', got {value!r}.")
        fields = dict(value)
        if "kind" not in fields:
            known = ", ".join(registry.names(cls.drawer))
            raise ComponentError(f"'kind' is missing; say which {cls.__name__.lower()} you want: {known}.")
        try:
            found = registry.find(cls.drawer, fields.pop("kind"), family=cls)
        except ComponentError as error:
            # a custom error, so that the message points at the line of `kind`
            raise PydanticCustomError("unknown_field", "{text}", {"text": str(error), "key": "kind"}) from None
        return found.model_validate(fields, context=context)

    def dump(self, ids: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return kind and every field as JSON values; `parse` builds an equal component from it.

        With `ids`, references are replaced by the artifact ids they stand for, so that the dump holds outside its recipe.
        """
        fields = type(self).model_fields
        return {"kind": self.kind, **{name: _plain(getattr(self, name), ids or {}) for name in fields}}

    def identity(self, ids: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return what distinguishes this component's result: kind, version, fields that are not at their default.

        `ids` gives the artifact id for each reference; paths are replaced by the hash of their bytes.
        """
        content: dict[str, Any] = {"kind": self.kind, "version": type(self).version}
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if not field.is_required() and value == field.get_default(call_default_factory=True):
                # a defaulted sub-component still carries its own version and its view of the outside world
                value = _world(value)
                if value is not None:
                    content[f"{name}@"] = value
                continue
            content[name] = _essence(value, ids or {})
        outside = self.fingerprint()
        if outside is not None:
            content["fingerprint"] = outside
        return content

    def refs(self) -> dict[str, Ref]:
        """Return the references found in the fields at any depth, by role (`corpus`, `tasks.0.pairs`)."""
        return dict(_refs(self, ""))

    # -- pydantic ---------------------------------------------------------------------------------------------------

    @model_validator(mode="before")
    @classmethod
    def _know_every_field(cls, value: Any) -> Any:
        # pydantic's own report of an extra field cannot name the nearest field of a nested component
        for key in value if isinstance(value, Mapping) else ():
            if key not in cls.model_fields:
                text = f"unknown field '{key}'.{nearest(str(key), cls.model_fields) or ' It has no fields.'}"
                raise PydanticCustomError("unknown_field", "{text}", {"text": text, "key": str(key)})
        return value

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        if not cls.__is_family__:
            return handler(source)
        # a family used as a field's type: the kind picks the class, and dumping follows the actual class
        return core_schema.with_info_plain_validator_function(
            lambda value, info: cls._build(value, info.context),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda value: value.dump()),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        if not cls.__is_family__:
            return handler(schema)
        return {"type": "object", "properties": {"kind": {"enum": registry.names(cls.drawer)}}, "required": ["kind"]}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        cls.__is_family__ = "drawer" in cls.__dict__
        super().__init_subclass__(**kwargs)


def _plain(value: Any, ids: Mapping[str, str]) -> Any:
    if isinstance(value, Component):
        return value.dump(ids)
    if isinstance(value, tuple | list):
        return [_plain(item, ids) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item, ids) for key, item in value.items()}
    if isinstance(value, BaseModel):
        return {name: _plain(getattr(value, name), ids) for name in type(value).model_fields}
    if isinstance(value, Ref):
        return ids.get(value, str(value))
    return str(value) if isinstance(value, str) else value


def _essence(value: Any, ids: Mapping[str, str]) -> Any:
    if isinstance(value, Component):
        return value.identity(ids)
    if isinstance(value, Ref):
        return {"artifact": ids.get(value, str(value))}
    if isinstance(value, InputPath):
        return {"sha256": hash_path(value)}
    if isinstance(value, tuple | list):
        return [_essence(item, ids) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _essence(item, ids) for key, item in value.items()}
    if isinstance(value, BaseModel):
        # a plain group of fields follows the same rule as a component: what is at its default stays out
        fields = {name: (getattr(value, name), field) for name, field in type(value).model_fields.items()}
        return {
            name: _essence(v, ids)
            for name, (v, field) in fields.items()
            if field.is_required() or v != field.get_default(call_default_factory=True)
        }
    return _plain(value, ids)


def _world(value: Any) -> Any:
    """Return the versions above 1 and the fingerprints inside a defaulted value, or None when there are none."""
    if isinstance(value, Component):
        found = {name: _world(getattr(value, name)) for name in type(value).model_fields}
        found["version"] = type(value).version if type(value).version > 1 else None
        found["fingerprint"] = value.fingerprint()
        found = {name: item for name, item in found.items() if item is not None}
        return {"kind": value.kind, **found} if found else None
    if isinstance(value, tuple | list):
        items = [_world(item) for item in value]
        return items if any(item is not None for item in items) else None
    return None


def _refs(value: Any, role: str) -> Iterator[tuple[str, Ref]]:
    if isinstance(value, Ref):
        yield role, value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _refs(getattr(value, name), f"{role}.{name}" if role else name)
    elif isinstance(value, tuple | list):
        for position, item in enumerate(value):
            yield from _refs(item, f"{role}.{position}")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _refs(item, f"{role}.{key}")


def explain(error: ValidationError) -> list[str]:
    """Turn pydantic's report into one line a problem: the field, what was expected, the value, the nearest name."""
    return [f"{place}: {text}" if place else text for place, text in problems(error)]


def problems(error: ValidationError) -> list[tuple[str, str]]:
    """Return (dotted field, message) for each problem of a validation error."""
    found = []
    items = error.errors(include_url=False)
    for item in items:
        if item["type"] == "too_short" and any(
            item["loc"] == other["loc"][: len(item["loc"])] for other in items if other != item
        ):
            continue  # what is wrong with an item is told; that it does not count towards the length helps nobody
        path = [str(part) for part in item["loc"] if not _is_branch(str(part))]
        place, given, context = ".".join(path), item.get("input"), item.get("ctx") or {}
        if item["type"] == "unknown_field":
            path.append(context["key"])
            place, text = ".".join(path), context["text"]
        elif item["type"] == "missing":
            text = "this field is required and has no value."
        elif item["type"] == "value_error":
            text = str(context["error"])
        else:
            message = item["msg"][:1].lower() + item["msg"][1:]
            text = f"{message}; got {given!r}."
        found.append((place, text))
    return found


def _is_branch(part: str) -> bool:
    # pydantic names the branch of a union in the location ("str", "function-plain[...]"); people did not write it
    return "[" in part or part in {"str", "int", "float", "bool", "none", "constrained-str", "constrained-int"}
