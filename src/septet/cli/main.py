"""The command `septet`: global options, and sub-commands that are loaded only when used.

A command is one file in `septet/cli/commands` (its summary is the file's first line, read without importing it); besides these
there is one command for each kind of step, whose options are the step's fields. Errors for people are printed without a
traceback, exit status 2.

What it is not: a place for logic. `--help` and `ls` must answer within 0.3 seconds, so nothing heavy is imported here.

    septet --help
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from septet import __version__
from septet.core import registry
from septet.core.errors import SeptetError, nearest
from septet.core.store import Store

__all__ = ["Settings", "main"]

QUIET = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "true",
    "TRANSFORMERS_VERBOSITY": "error",
}
COMMANDS = "septet.cli.commands"
STEPS = "septet.steps"
SHOWS = "septet.cli.shows"
"""What `septet STEP show NAME` prints, by the kind of the step."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The global options: where the store is, whether the network is off limits, how to print."""

    home: Path
    offline: bool
    json: bool
    verbose: int

    @property
    def store(self) -> Store:
        return Store(self.home)

    def show(self, content: object, text: str) -> None:
        """Print `content` as JSON with --json, else the text for people."""
        click.echo(json.dumps(content, ensure_ascii=False, indent=1, default=str) if self.json else text)


class Lazy(click.Group):
    """Finds commands in the drawer of commands and steps; lists them without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*registry.names(COMMANDS), *registry.names(STEPS)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in registry.names(COMMANDS):
            return importlib.import_module(f"{COMMANDS}.{cmd_name.replace('-', '_')}").command
        if cmd_name in registry.names(STEPS) or cmd_name in registry.outside(STEPS):
            from septet.cli.steps import step_command  # pydantic: 80 ms that `--help` and `ls` do without

            return step_command(cmd_name)
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if len(args) > 1 and args[1] == "show" and args[0] in registry.names(SHOWS):
            return f"{args[0]} show", _show(args[0]), args[2:]
        known = self.list_commands(ctx)
        if args and args[0] not in known and args[0] not in registry.outside(STEPS):
            hint = nearest(args[0], known)
            raise click.UsageError(f"There is no command '{args[0]}'.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, drawer in (("Commands", COMMANDS), ("Steps (options are the step's fields)", STEPS)):
            rows = [(name, registry.summary(drawer, name)) for name in registry.names(drawer)]
            if drawer == STEPS:
                rows += [(f"{name} show", registry.summary(SHOWS, name)) for name in registry.names(SHOWS)]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def _show(kind: str) -> click.Command:
    """The command `septet KIND show NAME`."""

    @click.argument("name")
    @click.pass_obj
    def command(settings: Settings, name: str) -> None:
        produces = registry.find(STEPS, kind).produces  # pyright: ignore[reportAttributeAccessIssue]
        artifact = settings.store.resolve(name, kinds=(produces,))
        click.echo(importlib.import_module(f"{SHOWS}.{kind}").show(artifact, settings))

    return click.command(f"{kind} show", help=registry.summary(SHOWS, kind))(command)


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--home",
    type=click.Path(path_type=Path),
    envvar="SEPTET_HOME",
    default=".septet",
    show_default=True,
    help="The folder that holds everything made.",
)
@click.option(
    "--offline", is_flag=True, envvar="SEPTET_OFFLINE", help="Fail on any attempt to reach beyond this machine."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for other programs.")
@click.option("-v", "--verbose", count=True, help="Tell more; twice for tracebacks of errors.")
@click.version_option(__version__, prog_name="septet")
@click.pass_context
def septet(ctx: click.Context, home: Path, offline: bool, as_json: bool, verbose: int) -> None:
    """Septet takes a language model through its whole life: from raw text to an application that answers.

    Begin with `septet quickstart`.
    """
    ctx.obj = Settings(home, offline, as_json, verbose)
    if offline:
        from septet.core.offline import go_offline

        go_offline()


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; the console script's entry point."""
    # libraries that phone home or print banners are told not to, before any of them is imported
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    # libraries that use names which others renamed: nothing that a user could do anything about
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|peft|nicegui)\b")
    # its place is torch's, where it calls the model
    warnings.filterwarnings("ignore", category=FutureWarning, message="`past_key_values` is deprecated")
    arguments = list(sys.argv[1:] if args is None else args)
    try:
        status = septet.main(args=arguments, prog_name="septet", standalone_mode=False)
    except click.exceptions.Exit as done:
        status = done.exit_code
    except click.Abort:
        status = 130
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except SeptetError as error:
        status = _tell(error, arguments)
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:
        # the reader of our output went away (`septet ls | head -1`); nothing is wrong
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    sys.exit(status if isinstance(status, int) else 0)


def _tell(error: SeptetError, arguments: Sequence[str]) -> int:
    before = arguments[: next((i for i, a in enumerate(arguments) if a == "--"), len(arguments))]
    if "-vv" in before or before.count("-v") + before.count("--verbose") > 1:
        raise error
    if "--json" in before:
        content = {"error": {"type": type(error).__name__, "message": str(error)}}
        print(json.dumps(content, ensure_ascii=False), file=sys.stderr)
    else:
        lines = str(error).split("\n")
        print("\n".join([f"septet: {lines[0]}", *(f"        {line}" for line in lines[1:])]), file=sys.stderr)
    return error.exit_status
