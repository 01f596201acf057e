"""What every component in every drawer must keep: found by its file, documented, round-tripping, with an id that does not lie.

python -m pytest tests/contract
"""

from __future__ import annotations

import ast
import importlib
import json
from pathlib import Path

import pytest
from tests.contract.components import example, families, members, variations

from septet.core import registry
from septet.core.artifact import make_id
from septet.core.step import KINDS, Step

MEMBERS = members()
IDS = [f"{family.drawer.removeprefix('septet.')}/{name}" for family, name in MEMBERS]


def test_there_are_families_and_each_has_a_drawer_with_members():
    found = families()
    assert Step in found
    for family in found:
        assert registry.names(family.drawer), f"the drawer {family.drawer} is empty"
        assert family.__doc__, family


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would look at the hub is refused instead."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.mark.parametrize(("family", "name"), MEMBERS, ids=IDS)
class TestEveryComponent:
    def test_it_is_found_by_its_file_and_kind(self, family, name):
        cls = registry.find(family.drawer, name, family=family)
        assert cls.kind_name() == name

    def test_it_says_what_it_is_and_describes_its_fields(self, family, name):
        cls = registry.find(family.drawer, name, family=family)
        summary = registry.summary(family.drawer, name)
        assert summary.endswith("."), f"the first line of {cls.__module__} is what users see: {summary!r}"
        assert cls.__doc__
        missing = [field for field, info in cls.model_fields.items() if not info.description]
        assert not missing, f"fields without a description (a docstring under the field): {missing}"

    def test_it_round_trips_as_json(self, family, name, tmp_path):
        made = example(registry.find(family.drawer, name), tmp_path)
        assert family.parse(json.loads(json.dumps(made.dump()))) == made

    def test_every_nested_field_changes_the_id(self, family, name, tmp_path: Path):
        made = example(registry.find(family.drawer, name), tmp_path)
        before = make_id(made.identity())
        assert make_id(made.identity()) == before
        for field, other in variations(made, tmp_path):
            assert make_id(other.identity()) != before, f"{field} changes nothing"


@pytest.mark.parametrize("name", registry.names(Step.drawer))
def test_every_step_declares_what_it_makes_and_imports_nothing_heavy(name):
    step = registry.find(Step.drawer, name)
    assert step.produces in KINDS
    assert step.__doc__
    module = importlib.import_module(step.__module__)
    tree = ast.parse(Path(str(module.__file__)).read_text())
    top = {a.name.split(".")[0] for node in tree.body if isinstance(node, ast.Import) for a in node.names}
    top |= {str(node.module).split(".")[0] for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert not top & {"torch", "transformers", "sentence_transformers", "peft", "fastapi", "nicegui"}
