"""Components: parsing, dumping, identity, messages.

python -m pytest tests/core/test_component.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError
from toys.shape import Shape
from toys.shapes.square import Square
from toys.shapes.tall_box import TallBox

from septet.core import registry
from septet.core.artifact import make_id
from septet.core.component import OneOf, explain, hash_path
from septet.core.errors import ComponentError
from septet.infer.choosing import Chooser


def test_the_file_system_is_the_registry():
    assert registry.names("toys.shapes") == ["square", "tall-box"]
    assert registry.summary("toys.shapes", "tall-box").startswith("A rectangle that holds shapes")
    assert registry.find("toys.shapes", "tall_box") is TallBox


def test_an_unknown_kind_names_the_nearest():
    with pytest.raises(
        ComponentError, match=r"no 'sqare' among the shapes\. Did you mean 'square'\? Known: square, tall-box"
    ):
        registry.find("toys.shapes", "sqare")


def test_a_family_field_takes_a_kind_a_mapping_or_an_instance():
    whole = {"kind": "tall-box", "parts": ["square", {"kind": "square", "side": 2}, Square(side=3)]}
    box = Shape.parse(whole)
    assert isinstance(box, TallBox)
    assert box.area() == 3 + 1 + 1 + 4 + 9


def test_a_field_of_two_families_is_of_the_one_that_has_the_kind():
    either = TypeAdapter(tuple[Annotated[Shape | Chooser, OneOf()], ...])
    whole = either.validate_python(("square", {"kind": "random", "seed": 3}, Square(side=2)))
    assert whole == (Square(), Chooser.parse({"kind": "random", "seed": 3}), Square(side=2))
    assert either.validate_python(either.dump_python(whole)) == whole
    for value, message in (
        ("sqare", "0.kind: There is no 'sqare' among the shapes and the examples. Did you mean 'square'?"),
        ({"kind": "random", "sede": 1}, "0.sede: unknown field 'sede'. Did you mean 'seed'?"),
        ({"kind": "square", "side": -1}, "0.side: input should be greater than 0; got -1."),
        ({"seed": 1}, "0: 'kind' is missing; say which"),
    ):
        with pytest.raises(ValidationError) as caught:
            either.validate_python((value,))
        (told,) = explain(caught.value)
        assert told.startswith(message)


def test_dump_round_trips_with_the_actual_classes():
    box = TallBox(height=4, lid=Square(side=2), parts=(Square(side=5),))
    dumped = json.loads(json.dumps(box.dump()))
    assert dumped["lid"] == {"kind": "square", "side": 2.0}
    assert Shape.parse(dumped) == box
    # pydantic's own dump goes through the actual class as well
    assert box.model_dump()["parts"][0]["side"] == 5.0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "square", "sides": 2}, "sides: unknown field 'sides'. Did you mean 'side'? Known: side."),
        ({"kind": "square", "side": "wide"}, "side: input should be a valid number"),
        ({"kind": "square", "side": -1}, "side: input should be greater than 0; got -1."),
        (
            {"kind": "tall-box", "lid": {"kind": "square", "siede": 1}},
            "lid.siede: unknown field 'siede'. Did you mean 'side'?",
        ),
        ({"kind": "tall-box", "parts": ["square", "cirle"]}, "parts.1.kind: There is no 'cirle' among the shapes."),
        ({"kind": "tall-box", "lid": 3}, "lid: expected a kind of shape or a mapping with 'kind', got 3."),
        ({"side": 3}, "'kind' is missing"),
        ({"kind": "tall-box", "table": "nowhere.csv"}, "table: there is no file or folder"),
    ],
)
def test_messages_name_the_field_and_what_to_do(fields, message):
    with pytest.raises(ComponentError) as caught:
        Shape.parse(fields)
    assert message in str(caught.value)


def test_a_family_cannot_be_built_and_components_are_frozen():
    with pytest.raises(TypeError):
        Shape()  # pyright: ignore[reportAbstractUsage]
    with pytest.raises(ValueError, match="frozen"):
        Square().side = 4  # pyright: ignore[reportAttributeAccessIssue]


def identity(box: BaseModel, **ids: str) -> str:
    assert isinstance(box, TallBox)
    return make_id(box.identity(ids))


def test_every_nested_field_changes_the_identity(tmp_path: Path):
    table = tmp_path / "a.csv"
    table.write_text("1")
    box = TallBox(height=2, lid=Square(side=2), parts=(Square(side=3),), table=str(table), text="$a")
    seen = {identity(box, **{"$a": "1" * 32})}
    changes = [
        {"height": 5},
        {"lid": Square(side=9)},
        {"lid": TallBox()},
        {"parts": (Square(side=4),)},
        {"parts": (Square(side=3), Square(side=3))},
        {"parts": ()},
        {"table": None},
    ]
    for change in changes:
        seen.add(identity(TallBox(**{**dict(box), **change}), **{"$a": "1" * 32}))
    seen.add(identity(box, **{"$a": "2" * 32}))
    table.write_text("2")
    seen.add(identity(box, **{"$a": "1" * 32}))
    assert len(seen) == len(changes) + 3


def test_nothing_else_changes_the_identity(tmp_path: Path):
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_text("same")
    second.write_text("same")
    assert identity(TallBox(table=str(first))) == identity(TallBox(table=str(second)))  # the bytes count, not the name
    assert identity(TallBox(height=3)) == identity(TallBox())  # a default written out is still the default
    assert identity(TallBox(text="$x"), **{"$x": "1"}) == identity(
        TallBox(text="$y"), **{"$y": "1"}
    )  # nor the step's name


def test_a_defaulted_part_brings_its_version_and_the_outside_world(monkeypatch):
    plain = identity(TallBox())
    monkeypatch.setattr(Square, "version", 2)
    newer = identity(TallBox())
    monkeypatch.setattr(Square, "fingerprint", lambda self: "other bytes")
    assert len({plain, newer, identity(TallBox())}) == 3


def test_refs_are_found_at_any_depth():
    box = TallBox(text="$a", parts=(TallBox(text="$b"),))
    assert box.refs() == {"text": "$a", "parts.0.text": "$b"}
    assert box.refs()["text"].kinds == ("corpus",)


def test_hash_path_sees_names_and_bytes_of_a_folder(tmp_path: Path):
    (tmp_path / "x").write_text("1")
    first = hash_path(tmp_path)
    (tmp_path / "x").rename(tmp_path / "y")
    second = hash_path(tmp_path)
    (tmp_path / "y").write_text("2")
    assert len({first, second, hash_path(tmp_path)}) == 3


def test_a_path_may_hold_variables_of_the_environment(tmp_path, monkeypatch):
    from pydantic import TypeAdapter, ValidationError

    from septet.core.component import InputPath

    (tmp_path / "a.txt").write_text("x")
    monkeypatch.setenv("SOME_DATA", str(tmp_path))
    assert TypeAdapter(InputPath).validate_python("${SOME_DATA}/a.txt") == str(tmp_path / "a.txt")
    monkeypatch.delenv("SOME_DATA")
    monkeypatch.setenv("SOME_DATE", "x")
    with pytest.raises(ValidationError, match=r"SOME_DATA is not set.*Did you mean 'SOME_DATE'"):
        TypeAdapter(InputPath).validate_python("${SOME_DATA}/a.txt")
