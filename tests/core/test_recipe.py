"""Recipes: what is checked, with which message and line; plans and ids.

python -m pytest tests/core/test_recipe.py
"""

from __future__ import annotations

from pathlib import Path

import pytest

from septet.core.errors import RecipeError, SeptetError, StoreError
from septet.core.recipe import Recipe, plan
from septet.core.store import Store

GOOD = """\
name: toys
steps:
  count:
    kind: toy-count
    corpus: $text
    to: 4
  text: {kind: toy-text}
"""


def load(tmp_path: Path, text: str, **options) -> Recipe:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return Recipe.load(path, **options)


def test_steps_are_put_in_an_order_in_which_they_can_run(tmp_path):
    recipe = load(tmp_path, GOOD)
    assert list(recipe.steps) == ["text", "count"]
    assert recipe.steps["count"].kind == "toy-count"


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        (GOOD.replace("to: 4", "too: 4"), ["line 6: steps.count.too: unknown field 'too'. Did you mean 'to'?"]),
        (GOOD.replace("to: 4", "to: many"), ["line 6: steps.count.to: input should be a valid integer"]),
        (
            GOOD.replace("to: 4", "to: 0"),
            ["line 6: steps.count.to: input should be greater than or equal to 1; got 0."],
        ),
        (
            GOOD.replace("toy-count", "toy-cuont"),
            ["line 4: steps.count.kind: There is no 'toy-cuont' among the steps."],
        ),
        (GOOD.replace("    kind: toy-count\n", ""), ["line 3: steps.count: 'kind' is missing"]),
        (
            GOOD.replace("$text", "$texts"),
            ["line 5: steps.count.corpus: '$texts' refers to no step of this recipe. Did you mean 'text'?"],
        ),
        (
            GOOD.replace("$text", "$count"),
            ["'$count' is a report (made by 'toy-count'), and a corpus is needed here. Steps that fit: $text."],
        ),
        (
            GOOD.replace("    corpus: $text\n", ""),
            ["line 3: steps.count.corpus: this field is required and has no value."],
        ),
        (GOOD + "serv: {}\n", ["line 8: serv: unknown key 'serv'. Did you mean 'serve'?"]),
        (GOOD.replace("name: toys", "name: 3"), ["line 1: name: a recipe's name has letters"]),
        (GOOD.replace("{kind: toy-text}", "{kind: toy-text"), ["this is not YAML"]),
        (GOOD + "  text: {kind: toy-text}\n", ["line 8: 'steps.text' stands there twice"]),
        ("- a\n- b\n", ["a recipe is a mapping with 'name' and 'steps'; this is a list."]),
        ("", ["a recipe is a mapping with 'name' and 'steps'; this is nothing."]),
        ("name: x\nsteps:\n", ["'steps' is a mapping of at least one step"]),
        ("name: x\nsteps: {a: 3}\n", ["line 2: steps.a: expected a kind of step or a mapping with 'kind', got 3."]),
        (
            GOOD.replace("{kind: toy-text}", "{kind: toy-text, file: gone.txt}"),
            ["steps.text.file: there is no file or folder"],
        ),
        # several problems are told at once
        (
            GOOD.replace("to: 4", "to: 0").replace("{kind: toy-text}", "{kind: toy-text, txt: b}"),
            ["steps.count.to:", "line 7: steps.text.txt: unknown field 'txt'. Did you mean 'text'?"],
        ),
    ],
)
def test_bad_recipes(tmp_path, text, messages):
    with pytest.raises(RecipeError) as caught:
        load(tmp_path, text)
    for message in messages:
        assert message in str(caught.value)


def test_a_circle_is_told(tmp_path):
    text = "name: x\nsteps:\n  a: {kind: toy-count, corpus: $b}\n  b: {kind: toy-count, corpus: $a}\n"
    with pytest.raises(RecipeError, match=r"in a circle: (a -> b -> a|b -> a -> b)"):
        load(tmp_path, text)


def test_a_missing_file_names_the_nearest(tmp_path):
    (tmp_path / "recipe.yaml").write_text(GOOD)
    with pytest.raises(RecipeError, match=r"no recipe .*recip\.yaml\. Did you mean 'recipe\.yaml'"):
        Recipe.load(tmp_path / "recip.yaml")


def test_overrides_are_fields_by_dotted_path(tmp_path):
    recipe = load(tmp_path, GOOD, overrides=["count.to=7", "text.text=hello"])
    assert (recipe.steps["count"].to, recipe.steps["text"].text) == (7, "hello")  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(RecipeError, match=r"no step 'cuont'\. Did you mean 'count'"):
        load(tmp_path, GOOD, overrides=["cuont.to=7"])
    with pytest.raises(RecipeError, match=r"takes step\.field=value"):
        load(tmp_path, GOOD, overrides=["count.to"])
    with pytest.raises(RecipeError, match="unknown field 'two'"):
        load(tmp_path, GOOD, overrides=["count.two=7"])


def ids(recipe: Recipe, store: Store) -> dict[str, str]:
    return {planned.name: planned.id for planned in plan(recipe, store)}


def test_an_override_remakes_its_step_and_what_follows_only(tmp_path, store):
    before = ids(load(tmp_path, GOOD), store)
    assert ids(load(tmp_path, GOOD), store) == before
    later = ids(load(tmp_path, GOOD, overrides=["count.to=5"]), store)
    assert later["text"] == before["text"]
    assert later["count"] != before["count"]
    first = ids(load(tmp_path, GOOD, overrides=["text.text=other"]), store)
    assert not set(first.values()) & set(before.values())


def test_names_order_and_places_do_not_change_an_id(tmp_path, store):
    before = ids(load(tmp_path, GOOD), store)
    renamed = GOOD.replace("text:", "words:").replace("$text", "$words").replace("name: toys", "name: other")
    (tmp_path / "else").mkdir()
    assert set(ids(load(tmp_path / "else", renamed), store).values()) == set(before.values())


def test_a_name_without_a_dollar_is_looked_up_in_the_store(tmp_path, store):
    text = GOOD.replace("$text", "elsewhere/text").replace("  text: {kind: toy-text}\n", "")
    with pytest.raises(StoreError, match="no artifact named 'elsewhere/text'"):
        plan(load(tmp_path, text), store)


def test_every_error_for_people_is_a_septet_error():
    assert issubclass(RecipeError, SeptetError)
    assert issubclass(SeptetError, ValueError)
