"""The command line: every --help answers, nothing heavy is imported for it, errors have one shape.

python -m pytest tests/surfaces/test_cli.py
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import child_environment

import septet as package
from septet.cli.main import COMMANDS, STEPS
from septet.cli.steps import _step_of
from septet.core import registry
from septet.core.errors import RecipeError

GLOBAL = ["--help", "--home", "--json", "--offline", "--verbose", "--version"]
EXPECTED = """
advise ask chat compare doctor export families gc inspect lineage ls path plan predict preview quickstart reach rm run scaling serve
show sweep
""".split()


def test_the_commands_are_these():
    """A new command is a decision: add it here, to the guide and to the README."""
    assert registry.names(COMMANDS) == EXPECTED


def test_help_lists_every_command_with_a_summary(septet):
    done = septet("--help")
    assert done.returncode == 0, done.stderr
    for name in GLOBAL + registry.names(COMMANDS) + registry.names(STEPS):
        assert name in done.stdout
    for drawer in (COMMANDS, STEPS):
        for name in registry.names(drawer):
            assert registry.summary(drawer, name).endswith("."), name


@pytest.mark.parametrize("name", EXPECTED)
def test_every_command_explains_itself(name, septet):
    done = septet(name, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Usage: septet {name}")


@pytest.mark.parametrize("name", registry.names(STEPS))
def test_every_step_is_a_command_whose_options_are_its_fields(name, septet):
    done = septet(name, "--help")
    assert done.returncode == 0, done.stderr
    for field in registry.find(STEPS, name).model_fields:  # pyright: ignore[reportAttributeAccessIssue]
        assert f"--{field.replace('_', '-')}" in done.stdout


HEAVY = ("torch", "transformers", "fastapi", "nicegui", "tokenizers", "peft", "sentence_transformers", "scipy")


@pytest.mark.parametrize("args", [["--help"], ["ls"], ["--version"], ["finetune", "--help"], ["run", "--help"]])
def test_nothing_heavy_is_imported_for_help_and_ls(args, tmp_path):
    code = (
        "import sys\nfrom septet.cli.main import main\n"
        f"try:\n    main({args!r})\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"print('HEAVY', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=child_environment(tmp_path))
    assert "HEAVY []" in done.stdout, done.stdout[-300:] + done.stderr


def test_help_and_ls_do_not_import_pydantic_either(tmp_path):
    code = (
        "import sys\nfrom septet.cli.main import main\ntry:\n    main(['ls'])\n"
        "except SystemExit:\n    print('pydantic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=child_environment(tmp_path))
    assert done.stdout.endswith("False\n"), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["quickstrat"], "Did you mean 'quickstart'?"),
        (["show", "liked"], "There is no artifact named 'liked'"),
        (["run", "no.yaml"], "There is no recipe no.yaml"),
        (
            ["plan", "bad.yaml"],
            "bad.yaml, line 2: steps.a.kind: There is no 'corpsu' among the steps. Did you mean 'corpus'?",
        ),
        (["serve"], "begin with `septet quickstart`"),
        (["ask", "why?"], "begin with `septet quickstart`"),
        (["ls", "--kinds", "nothing"], "There is no drawer septet.nothing"),
    ],
)
def test_errors_for_people_are_short_and_leave_with_2(args, message, septet, tmp_path: Path):
    (tmp_path / "bad.yaml").write_text("name: x\nsteps: {a: {kind: corpsu}}\n")
    done = septet(*args)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_step_command_with_a_recipe_makes_its_step_of_that_kind(septet, tmp_path: Path):
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    corpus = "{kind: corpus, source: {kind: jsonl, path: a.jsonl}"
    path = tmp_path / "x.yaml"
    path.write_text(f"name: x\nsteps:\n  text: {corpus}}}\n  more: {corpus}, filters: [exact-dedup]}}\n")
    done = septet("--json", "corpus", path, "--name", "more", "--filters", "docstrings")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout[done.stdout.index("\n{\n") :])
    assert [one["kind"] for one in made["step"]["filters"]] == ["docstrings"], "an option changes the recipe's step"
    assert _step_of(path, "corpus", "more") == "more"
    for kind, name, message in (
        ("corpus", None, "the recipe has 2: text, more. Say which with --name"),
        ("corpus", "mor", "has no step 'mor' of the kind 'corpus'. Did you mean 'more'?"),
        ("adapt", None, "x.yaml: the kind 'adapt' is asked for, and the recipe has no step of it"),
    ):
        with pytest.raises(RecipeError) as caught:
            _step_of(path, kind, name)
        assert message in str(caught.value)


def test_errors_as_json(septet):
    done = septet("--json", "show", "liked")
    assert done.returncode == 2
    assert json.loads(done.stderr)["error"]["type"] == "StoreError"


def test_the_python_surface():
    assert package.__all__ == sorted(package.__all__) == ["open", "run"]
    assert callable(package.open)
    assert callable(package.run)
    with pytest.raises(AttributeError, match="has no attribute 'opne'"):
        package.opne  # noqa: B018


def test_families_are_compared_and_counted(septet):
    done = septet("--json", "families")
    rows = {row["family"]: row for row in json.loads(done.stdout)}
    assert set(rows) == {"bert", "roberta", "xlnet", "gpt2", "llama", "falcon", "t5", "bart"}
    assert rows["bert"]["objectives"] == ["masked-lm", "next-sentence", "sentence-order"]
    assert rows["roberta"]["objectives"] == ["masked-lm"]
    # by hand, GPT-2 at depth 2: tables 8192 x 64 and 256 x 64; a layer 12 x 64 x 64 and 13 x 64 vectors; the last norm 128
    assert rows["gpt2"]["parameters"]["2"] == 8192 * 64 + 256 * 64 + 2 * (12 * 64 * 64 + 13 * 64) + 128
    shown = septet("families").stdout
    assert max(map(len, shown.splitlines())) <= 100
    assert "span-corruption (its own)" in septet("families", "t5").stdout
    wrong = septet("families", "brt")
    assert wrong.returncode == 2
    assert "Did you mean 'bert'?" in wrong.stderr
