"""One command for each kind of step: its options are the step's fields. Given a recipe, it runs the recipe's step of that kind.

septet tokenizer --corpus ask-python/text --size 8000 --name words
septet adapt recipes/reviews.yaml --rungs zero-shot --rungs lora
"""

from __future__ import annotations

import types
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click
import yaml

from septet.cli.main import Settings
from septet.cli.running import Machine, execute, machine_options
from septet.core import registry
from septet.core.component import Component
from septet.core.errors import ComponentError, RecipeError, nearest
from septet.core.recipe import Recipe
from septet.core.step import Step

__all__ = ["step_command"]

BY_HAND = "by-hand"
OF_RECIPE = "With a RECIPE, its step of this kind is made, and what that needs; options change the step."


def step_command(kind: str) -> click.Command:
    """Build the command of one kind of step."""
    step_class = registry.find(Step.drawer, kind, family=Step)
    assert issubclass(step_class, Step)

    def run(name: str | None, machine: Machine, settings_: tuple[str, ...], recipe_: Path | None, **given: Any) -> None:
        context = click.get_current_context()
        settings = context.find_object(Settings)
        assert settings is not None
        fields = {field: _parse(value) for field, value in given.items() if value not in (None, ())}
        if recipe_ is None:
            for option in options:
                if step_class.model_fields[str(option.name)].is_required() and option.name not in fields:
                    raise click.MissingParameter(ctx=context, param=option)
            step = name or kind
            tree = {"name": BY_HAND, "steps": {step: {"kind": kind, **fields}}}
            recipe = Recipe.parse_with(tree, overrides=[f"{step}.{text}" for text in settings_])
        else:
            step = _step_of(recipe_, kind, name)
            changes = {f"{step}.{field}": value for field, value in fields.items()}
            recipe = Recipe.load(recipe_, overrides=[f"{step}.{text}" for text in settings_], changes=changes)
        made = execute(settings, recipe, machine=machine, only=None if recipe_ is None else step, report=False)
        artifact = made.artifacts[step]
        settings.show(artifact.manifest(), f"{recipe.name}/{step}  {artifact.path}")

    options = [_option(name, field) for name, field in step_class.model_fields.items()]
    command = click.command(kind, help=f"{step_class.__doc__}\n\n{OF_RECIPE}")(machine_options(run))
    command.params += [
        click.Argument(["recipe_"], required=False, metavar="[RECIPE]", type=click.Path(path_type=Path)),
        *options,
    ]
    command.params += [
        click.Option(
            ["--set", "settings_"], multiple=True, metavar="FIELD=VALUE", help="A nested field by dotted path."
        ),
        click.Option(["--name"], help=f"Name the result {BY_HAND}/NAME (default: {kind}); of a RECIPE, the step."),
    ]
    return command


def _step_of(path: Path, kind: str, name: str | None) -> str:
    """Return the name of a recipe's step of this kind. Raises RecipeError where there is none, or no telling which."""
    steps = Recipe.load(path).steps
    found = [step for step, made in steps.items() if made.kind == kind]
    if name in found or (name is None and len(found) == 1):
        return name or found[0]
    if name is not None:
        raise RecipeError(f"{path} has no step '{name}' of the kind '{kind}'.{nearest(name, found or steps)}")
    which = f"{len(found)}: {', '.join(found)}. Say which with --name" if found else "no step of it"
    raise RecipeError(
        f"{path}: the kind '{kind}' is asked for, and the recipe has {which}. All steps: septet run {path}"
    )


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
    if field.is_required():
        told.append("[required]")
    return click.Option(
        [f"--{name.replace('_', '-')}", name],
        multiple=several,
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
