"""A recipe: YAML whose steps become typed components, checked as a whole before anything heavy starts.

    name: ask-python
    steps:
      text:  {kind: corpus, source: {kind: python-docs}}
      vocab: {kind: tokenizer, corpus: $text, size: 4096}
    serve: {app: assistant, model: $liked, index: $docs}

`$name` refers to another step; a name without `$` is looked up in the store. Overrides are fields by dotted path
(`vocab.size=2048`). What it is not: a programming language; there are no variables, conditions or templates.

    septet plan recipes/ask-python.yaml
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ValidationError

from septet.core import pins, registry
from septet.core.artifact import Artifact, make_id
from septet.core.component import Ref, problems
from septet.core.errors import ComponentError, RecipeError, nearest
from septet.core.step import Step
from septet.core.store import Store

__all__ = ["Planned", "Recipe", "plan", "read_tree"]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_KEYS = ("name", "steps", "serve")
_APPS = "septet.api.apps"
"""The drawer of applications; only its file names are read here, nothing of that layer is imported."""

_SCALARS = yaml.SafeLoader("")
"""Turns the leaves of a parsed document into numbers, texts and dates."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Named, typed steps in an order in which they can run. `serve` is checked for its references only."""

    name: str
    steps: dict[str, Step]
    serve: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None

    @classmethod
    def load(
        cls, path: str | Path, *, overrides: Iterable[str] = (), changes: Mapping[str, Any] | None = None
    ) -> Recipe:
        """Read a recipe file, apply `step.field=value` overrides, and check everything.

        `changes` sets steps or fields before the overrides; a step set to None leaves the recipe. Raises RecipeError with one
        line a problem.
        """
        path = Path(path)
        tree, lines = read_tree(path)
        for key, value in (changes or {}).items():
            _place(tree, key.split("."), value, path)
        if isinstance(tree, dict) and isinstance(tree.get("steps"), dict):
            for gone in [key for key, value in (changes or {}).items() if value is None and key in tree["steps"]]:
                del tree["steps"][gone]
        return cls.parse_with(tree, overrides=overrides, path=path, lines=lines)

    @classmethod
    def parse_with(
        cls, tree: Any, *, overrides: Iterable[str], path: Path | None = None, lines: Mapping[str, int] | None = None
    ) -> Recipe:
        """Apply `step.field=value` overrides to a recipe's mapping, then parse it."""
        for override in overrides:
            name, mark, text = override.partition("=")
            if not mark:
                raise RecipeError(f"--set takes step.field=value, for example `--set base.depth=2`; got '{override}'.")
            _place(tree, name.strip().split("."), yaml.safe_load(text), path or Path("the recipe"))
        return cls.parse(tree, path=path, lines=lines)

    @classmethod
    def parse(cls, tree: Any, *, path: Path | None = None, lines: Mapping[str, int] | None = None) -> Recipe:
        """Build a recipe from its mapping. `lines` gives line numbers by dotted path, for the messages."""
        checker = _Checker(path, lines or {})
        recipe = checker.recipe(tree)
        if checker.found:
            raise RecipeError("\n".join(checker.found))
        assert recipe is not None
        return recipe


class _Checker:
    """Collects every problem of a recipe, each with its line, instead of stopping at the first."""

    def __init__(self, path: Path | None, lines: Mapping[str, int]) -> None:
        self.path, self.lines, self.found = path, lines, []

    def say(self, place: str, text: str) -> None:
        where, parts = str(self.path or "recipe"), place.split(".")
        for size in range(len(parts), 0, -1):
            line = self.lines.get(".".join(parts[:size]))
            if line is not None:
                where += f", line {line}"
                break
        self.found.append(f"{where}: {place + ': ' if place else ''}{text}")

    def recipe(self, tree: Any) -> Recipe | None:
        if not isinstance(tree, Mapping):
            self.say("", f"a recipe is a mapping with 'name' and 'steps'; this is {_a(tree)}.")
            return None
        for key in tree:
            if key not in _KEYS:
                self.say(str(key), f"unknown key '{key}'.{nearest(str(key), _KEYS)}")
        name = tree.get("name", self.path.stem if self.path else "recipe")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            self.say(
                "name", f"a recipe's name has letters, digits, '-' and '_' and begins with a letter; got {name!r}."
            )
        written = tree.get("steps")
        if not isinstance(written, Mapping) or not written:
            self.say(
                "steps",
                f"'steps' is a mapping of at least one step, such as `text: {{kind: corpus, ...}}`; got {_a(written)}.",
            )
            return None
        steps = {}
        for key, value in written.items():
            step = self.step(key, value)
            if step is not None:
                steps[key] = step
        order = self.references(steps, written)
        serve = tree.get("serve") or {}
        self.serving(serve, steps, written)
        return Recipe(str(name), {key: steps[key] for key in order if key in steps}, dict(serve), self.path)

    def step(self, key: Any, value: Any) -> Step | None:
        place = f"steps.{key}"
        if not isinstance(key, str) or not _NAME.fullmatch(key):
            self.say(place, "a step's name has letters, digits, '-' and '_' and begins with a letter.")
            return None
        base = self.path.parent if self.path else Path(".")
        try:
            return Step.model_validate(value, context={"base": str(base)})
        except ValidationError as error:
            for inner, text in problems(error):
                self.say(f"{place}.{inner}" if inner else place, text)
        except ComponentError as error:
            self.say(f"{place}.kind" if isinstance(value, Mapping) and "kind" in value else place, str(error))
        return None

    def references(self, steps: Mapping[str, Step], written: Mapping[str, Any]) -> list[str]:
        graph = {}
        for name, step in steps.items():
            needs = set()
            for role, ref in step.refs().items():
                target = self.reference(f"steps.{name}.{role}", ref, steps, written)
                if target is not None:
                    needs.add(target)
            graph[name] = needs
        try:
            return list(TopologicalSorter(graph).static_order())
        except CycleError as error:
            circle = " -> ".join(reversed(error.args[1]))
            self.say(
                f"steps.{error.args[1][0]}",
                f"these steps need each other in a circle: {circle}. One of them has to go first.",
            )
            return list(steps)

    def reference(self, place: str, ref: Ref, steps: Mapping[str, Step], written: Mapping[str, Any]) -> str | None:
        if not ref.startswith("$"):
            return None
        target = ref[1:]
        if target not in written:
            self.say(place, f"'{ref}' refers to no step of this recipe.{nearest(target, map(str, written))}")
            return None
        step = steps.get(target)
        if step is not None and ref.kinds and step.produces not in ref.kinds:
            self.say(
                place,
                f"'{ref}' is a {step.produces} (made by '{step.kind}'), and a {' or '.join(ref.kinds)} is needed here."
                f"{_fitting(ref.kinds, steps)}",
            )
        return target

    def serving(self, serve: Any, steps: Mapping[str, Step], written: Mapping[str, Any]) -> None:
        if not isinstance(serve, Mapping):
            self.say("serve", f"'serve' is a mapping such as `{{app: assistant, model: $liked}}`; got {_a(serve)}.")
            return
        apps = registry.names(_APPS)
        if serve and serve.get("app") not in apps:
            self.say(
                "serve.app",
                f"'app' says which application to serve; there is no {serve.get('app')!r}.{nearest(str(serve.get('app')), apps)}",
            )
        for key, value in serve.items():
            kinds = {"model": ("model",), "index": ("index",), "adapters": ("model",)}.get(key, ())
            parts = {f"serve.{key}.{name}": part for name, part in value.items()} if isinstance(value, Mapping) else {}
            for place, said in (parts or {f"serve.{key}": value}).items():
                if isinstance(said, str) and said.startswith("$"):
                    self.reference(place, Ref(said, kinds), steps, written)


def _fitting(kinds: tuple[str, ...], steps: Mapping[str, Step]) -> str:
    fits = [f"${name}" for name, step in steps.items() if step.produces in kinds]
    return f" Steps that fit: {', '.join(fits)}." if fits else ""


def _a(value: Any) -> str:
    names = {
        dict: "a mapping",
        list: "a list",
        str: "a text",
        type(None): "nothing",
        int: "a number",
        float: "a number",
    }
    return names.get(type(value), type(value).__name__)


def _place(tree: Any, parts: Sequence[str], value: Any, path: Path) -> None:
    """Set a field by its dotted path; the first part is a step's name, or `serve` or `name`."""
    if not isinstance(tree, dict):
        return
    written = tree.get("steps")
    steps: dict[Any, Any] = written if isinstance(written, dict) else {}
    current: Any = tree
    if parts[0] not in ("serve", "name"):
        if parts[0] not in steps and len(parts) > 1:
            raise RecipeError(
                f"--set {'.'.join(parts)}: {path} has no step '{parts[0]}'.{nearest(parts[0], map(str, steps))}"
            )
        current = steps
    for position, part in enumerate(parts[:-1]):
        key: Any = int(part) if isinstance(current, list) and part.isdigit() else part
        try:
            following = current[key]
        except (KeyError, IndexError):
            following = current[key] = {}
        if isinstance(following, str) and not following.startswith("$"):
            following = current[key] = {"kind": following}  # `adapter: lora` grows fields
        if not isinstance(following, dict | list):
            raise RecipeError(
                f"--set {'.'.join(parts)}: '{'.'.join(parts[: position + 1])}' has no fields; it is {following!r}."
            )
        current = following
    last: Any = int(parts[-1]) if isinstance(current, list) and parts[-1].isdigit() else parts[-1]
    try:
        current[last] = value
    except (IndexError, TypeError):
        raise RecipeError(
            f"--set {'.'.join(parts)}: the list has {len(current)} items; '{parts[-1]}' is none of them."
        ) from None


def read_tree(path: Path) -> tuple[Any, dict[str, int]]:
    """Return a YAML file's content and the line of each dotted path in it."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        beside = [p.name for p in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        raise RecipeError(f"There is no recipe {path}.{nearest(path.name, beside)}") from None
    except (IsADirectoryError, PermissionError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} cannot be read as a recipe: {error}. A recipe is a text file in YAML.") from None
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise RecipeError(
            f"{path}{line}: this is not YAML: {problem}. Look at the indentation, brackets and quotes there."
        ) from None
    lines: dict[str, int] = {}
    return (None if node is None else _value(node, "", lines, path)), lines


def _value(node: yaml.Node, place: str, lines: dict[str, int], path: Path) -> Any:
    lines.setdefault(place, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        content: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = _SCALARS.construct_object(key_node, deep=True)
            inner = f"{place}.{key}" if place else str(key)
            lines[inner] = key_node.start_mark.line + 1
            if key in content:
                raise RecipeError(f"{path}, line {lines[inner]}: '{inner}' stands there twice; one of them has to go.")
            content[key] = _value(value_node, inner, lines, path)
        return content
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, f"{place}.{i}", lines, path) for i, item in enumerate(node.value)]
    try:
        return _SCALARS.construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError) as error:
        raise RecipeError(
            f"{path}, line {node.start_mark.line + 1}: {place}: {getattr(error, 'problem', error)}."
        ) from None


# -- plan ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Planned:
    """One step of a plan: its id, the ids of its inputs by role, and whether it is kept, gone on with, or made."""

    name: str
    step: Step
    id: str
    inputs: dict[str, str]
    action: Literal["keep", "resume", "make"]
    dump: dict[str, Any]
    kept: Artifact | None = None


def plan(recipe: Recipe, store: Store) -> list[Planned]:
    """Return the steps in running order with their ids; reads the bytes that sources and paths point to."""
    pins.use(store.home)  # what a source of the outside world meant at its first use enters the ids
    ids: dict[str, str] = {}
    planned = []
    for name, step in recipe.steps.items():
        inputs, known = {}, {}
        for role, ref in step.refs().items():
            id = ids[ref[1:]] if ref.startswith("$") else store.resolve(ref, kinds=ref.kinds).id
            inputs[role] = known[ref] = id
        ids[name] = make_id(step.identity(known))
        kept = store.get(ids[name])
        state = store.home / "work" / ids[name] / "state"
        action = "keep" if kept else "resume" if state.is_dir() and any(state.iterdir()) else "make"
        planned.append(Planned(name, step, ids[name], inputs, action, step.dump(known), kept))
    return planned
