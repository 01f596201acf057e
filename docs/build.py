"""Write the pages of docs/ that are made from the code: docs/guides/commands.md and docs/guides/kinds.md.

A command's options, a component's fields and their explanations stand beside the code once; these pages repeat them for
readers. `--check` writes nothing and fails where a page has drifted; `make check` and a test run it.

What it is not: a documentation framework. It writes two Markdown files.

    python docs/build.py            python docs/build.py --check
"""

from __future__ import annotations

import argparse
import difflib
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel

import septet
from septet.cli.main import COMMANDS, STEPS
from septet.cli.main import septet as program
from septet.core import registry
from septet.core.component import Component

GUIDES = Path(__file__).parent / "guides"
WIDTH = 100

DRAWERS = {
    "septet.steps": "a verb of a model's life",
    "septet.data.sources": "where documents come from",
    "septet.data.filters": "what is trained on",
    "septet.data.audits": "of whom a corpus speaks, and how",
    "septet.data.builders": "how the rows of a data set are made",
    "septet.nn.families": "architectures that a depth dial can size",
    "septet.train.objectives": "what is minimised",
    "septet.train.optimizers": "what takes the steps",
    "septet.train.schedules": "the course of the learning rate",
    "septet.infer.tasks": "what a model is fine-tuned for",
    "septet.train.adapters": "what is trained of a model",
    "septet.infer.engines": "what runs a model",
    "septet.infer.askings": "how a model is asked that is not trained",
    "septet.infer.examples": "which answered rows a prompt shows",
    "septet.retrieval.encoders": "what turns text into vectors",
    "septet.retrieval.retrievers": "how an index is searched",
    "septet.evals.tasks": "what is measured, and on which samples",
    "septet.evals.scorers": "metrics",
    "septet.ops.sinks": "who hears what a run tells",
    "septet.api.apps": "what is served",
}
"""The order and the words of the page of kinds; a drawer that is not named here comes last, with its package's summary."""

FUNCTIONS = {
    "septet.api.routes": "groups of endpoints; a file of functions each",
    "septet.cli.commands": "commands that are not steps; see [commands](commands.md)",
}
"""Drawers whose files hold functions and have no fields."""


def commands_page() -> str:
    """Return the page of commands: every command and every step with its options."""
    root = click.Context(program, info_name="septet")
    parts = [
        "# Commands",
        "",
        "Made by `python docs/build.py` from the code; `septet COMMAND --help` says the same.",
        "",
        "Global options stand before the command: `septet --home DIR ls`. Exit status: 0 done, 1 `doctor` found something bad,",
        "2 an error that the message says how to mend, 130 stopped by Ctrl-C.",
        "",
        *_fenced(_help(program, root)),
    ]
    for title, drawer in (("Commands", COMMANDS), ("Steps", STEPS)):
        parts += ["", f"## {title}", ""]
        if drawer == STEPS:
            parts += [
                "A step is run by a recipe, or by hand with the command of its name. Its options are its fields; `--set` reaches",
                "a field inside a field. A component is given as its kind, or as YAML: `--source '{kind: folder, path: notes}'`.",
                "",
            ]
        parts += [f"- [{name}](#{name}): {registry.summary(drawer, name)}" for name in registry.names(drawer)]
        for name in registry.names(drawer):
            command = program.get_command(root, name)
            assert command is not None, name
            parts += ["", f"### {name}", "", *_fenced(_help(command, click.Context(command, root, info_name=name)))]
    return "\n".join(parts) + "\n"


def _fenced(text: str) -> list[str]:
    return ["```text", *text.rstrip("\n").split("\n"), "```"]


def _help(command: click.Command, context: click.Context) -> str:
    """Usage, explanation and options. Written by us, so that the page does not change with click's wording."""
    formatter = click.HelpFormatter(width=WIDTH)
    arguments = " ".join(
        f"{(p.name or '').upper()}{'...' if p.nargs < 0 else ''}"
        for p in command.params
        if isinstance(p, click.Argument)
    )
    tail = "COMMAND [ARGS]..." if isinstance(command, click.Group) else arguments
    formatter.write_usage(context.command_path, " ".join(filter(None, ["[OPTIONS]", tail])))
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(command.help or "")):
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(paragraph)
    rows = [_row(p) for p in command.params if isinstance(p, click.Option)]
    if rows:
        with formatter.section("Options"):
            formatter.write_dl(rows)
    return formatter.getvalue()


def _row(option: click.Option) -> tuple[str, str]:
    names = ", ".join(sorted(option.opts, key=len))
    if not (option.is_flag or option.count):
        names += " " + (option.metavar or _type(option.type))
    told = ["Show the version." if "--version" in option.opts else option.help or ""]  # click words that one itself
    default = option.default
    if option.show_default and not option.is_flag:
        told.append(f"[default: {default}]")
    if option.required:
        told.append("[required]")
    if option.multiple:
        told.append("[may be repeated]")
    if option.envvar:
        told.append(f"[environment: {option.envvar}]")
    return names, " ".join(filter(None, told))


def _type(kind: click.ParamType) -> str:
    return {"integer": "INT", "integer range": "INT", "float": "FLOAT", "path": "PATH", "directory": "DIR"}.get(
        kind.name, kind.name.upper()
    )


def kinds_page() -> str:
    """Return the page of kinds: every drawer, its kinds, their fields with types and defaults."""
    parts = [
        "# Kinds",
        "",
        "Made by `python docs/build.py` from the code. A drawer is a package; each file in it is one kind, and the file's name is",
        "the kind's name in recipes, on the command line and here. `septet ls --kinds DRAWER` lists a drawer.",
        "How to add a kind: [extend](extend.md).",
        "",
    ]
    found = sorted(
        drawers(), key=lambda name: (name not in DRAWERS, list(DRAWERS).index(name) if name in DRAWERS else 0)
    )
    for drawer in found:
        parts.append(f"- [{drawer}](#{drawer.replace('.', '')}): {_about(drawer)}")
    parts += [
        f"- [{drawer}](#{drawer.replace('.', '')}): {about}"
        for drawer, about in FUNCTIONS.items()
        if registry.names(drawer)
    ]
    for drawer in found:
        parts += ["", f"## {drawer}"]
        for name in registry.names(drawer):
            component = registry.find(drawer, name, family=Component)
            assert issubclass(component, Component)
            parts += ["", f"### `{name}`", "", registry.summary(drawer, name), *_fields(component)]
    for drawer in filter(registry.names, FUNCTIONS):
        parts += ["", f"## {drawer}", ""]
        parts += [f"- `{name}`: {registry.summary(drawer, name)}" for name in registry.names(drawer)]
    return "\n".join(parts) + "\n"


def drawers() -> list[str]:
    """Return the drawers that families of components name, found in the text of the source."""
    package = Path(septet.__file__).parent
    pattern = re.compile(r'^    drawer: ClassVar\[str\] = "([\w.]+)"', re.MULTILINE)
    found = {name for file in package.rglob("*.py") for name in pattern.findall(file.read_text(encoding="utf-8"))}
    return sorted(name for name in found if registry.names(name))


def _about(drawer: str) -> str:
    if drawer in DRAWERS:
        return DRAWERS[drawer]
    parent, _, package = drawer.rpartition(".")
    return registry.summary(parent, package) or "a family of components"


def _fields(component: type[Component]) -> Iterator[str]:
    if not component.model_fields:
        return
    yield ""
    for name, field in component.model_fields.items():
        told = " ".join((field.description or "").split())
        if field.is_required():
            default = "required"
        else:
            default = f"default {_shown(field.get_default(call_default_factory=True))}"
        yield f"- `{name}` ({default}){': ' + told if told else ''}"


def _shown(value: Any) -> str:
    if isinstance(value, Component):
        return f"`{value.kind}`"
    if isinstance(value, BaseModel):
        return "`{" + ", ".join(f"{name}: {item}" for name, item in value) + "}`"
    if isinstance(value, tuple | list):
        return ", ".join(_shown(item) for item in value) if value else "none"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"`{value}`"


PAGES: dict[str, Callable[[], str]] = {"commands.md": commands_page, "kinds.md": kinds_page}


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the pages that are made from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a page has drifted")
    check = parser.parse_args().check
    drifted = []
    for name, build in PAGES.items():
        path, new = GUIDES / name, build()
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        if old == new:
            continue
        drifted.append(name)
        if check:
            lines = list(difflib.unified_diff(old.split("\n"), new.split("\n"), name, "the code", lineterm="", n=1))
            print("\n".join(lines[:40]))
        else:
            path.write_text(new, encoding="utf-8")
            print(f"wrote docs/guides/{name}")
    if check and drifted:
        sys.exit(f"docs/guides: {', '.join(drifted)} differ from the code. Run: python docs/build.py")


if __name__ == "__main__":
    main()
