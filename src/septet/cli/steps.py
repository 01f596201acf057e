"""One command for each kind of step: its options are the step's fields.

septet tokenizer --corpus ask-python/text --size 8000 --name words
"""

from __future__ import annotations

import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click
import yaml

from septet.cli.main import Settings
from septet.cli.running import Machine, execute, machine_options
from septet.core import registry
from septet.core.component import Component
from septet.core.errors import ComponentError
from septet.core.recipe import Recipe
from septet.core.step import Step

__all__ = ["step_command"]

BY_HAND = "by-hand"


def step_command(kind: str) -> click.Command:
    """Build the command of one kind of step."""
    step_class = registry.find(Step.drawer, kind, family=Step)
    assert issubclass(step_class, Step)

    def run(name: str | None, machine: Machine, settings_: tuple[str, ...], **given: Any) -> None:
        settings = click.get_current_context().find_object(Settings)
        assert settings is not None
        fields = {field: _parse(value) for field, value in given.items() if value not in (None, ())}
        step = name or kind
        tree = {"name": BY_HAND, "steps": {step: {"kind": kind, **fields}}}
        recipe = Recipe.parse_with(tree, overrides=[f"{step}.{text}" for text in settings_])
        made = execute(settings, recipe, machine=machine, report=False)
        artifact = made.artifacts[step]
        settings.show(artifact.manifest(), f"{BY_HAND}/{step}  {artifact.path}")

    command = click.command(kind, help=step_class.__doc__)(machine_options(run))
    command.params += [_option(name, field) for name, field in step_class.model_fields.items()]
    command.params += [
        click.Option(
            ["--set", "settings_"], multiple=True, metavar="FIELD=VALUE", help="A nested field by dotted path."
        ),
        click.Option(["--name"], help=f"Name the result {BY_HAND}/NAME (default: {kind})."),
    ]
    return command


def _option(name: str, field: Any) -> click.Option:
    several = _is_tuple(field.annotation)
    families = [f for f in _parts(field.annotation) if isinstance(f, type) and issubclass(f, Component)]
    kinds = ", ".join(kind for family in families for kind in registry.names(family.drawer))
    choices = [str(item) for part in _parts(field.annotation) if get_origin(part) is Literal for item in get_args(part)]
    told = [
        field.description or "",
        f"Kinds: {kinds}." if kinds else "",
        f"One of {', '.join(choices)}." if choices else "",
    ]
    if not field.is_required() and field.get_default(call_default_factory=True) not in (None, (), ""):
        told.append(f"[default: {_shown(field.get_default(call_default_factory=True))}]")
    return click.Option(
        [f"--{name.replace('_', '-')}", name],
        multiple=several,
        required=field.is_required(),
        metavar=_metavar(field.annotation, families),
        help=" ".join(filter(None, told)),
    )


def _parse(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_parse(item) for item in value]
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        raise ComponentError(
            f"'{value}' is not a YAML value; put quotes around texts with special characters."
        ) from None


def _parts(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Annotated:
        return _parts(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType, tuple):
        return [part for item in get_args(annotation) for part in _parts(item)]
    return [annotation]


def _is_tuple(annotation: Any) -> bool:
    if get_origin(annotation) is tuple:
        return True
    return get_origin(annotation) in (Union, types.UnionType) and any(map(_is_tuple, get_args(annotation)))


def _metavar(annotation: Any, families: list[type]) -> str:
    if families:
        return "KIND|YAML"
    for part in _parts(annotation):
        if part in (int, float, bool):
            return part.__name__.upper()
        if getattr(part, "__name__", "") == "InputPath":
            return "PATH"
        if getattr(part, "__name__", "") == "Ref":
            return "NAME"
    return "TEXT"


def _shown(value: Any) -> Any:
    if isinstance(value, Component):
        return value.kind
    if isinstance(value, tuple | list):
        return ", ".join(str(_shown(item)) for item in value)
    return value
