"""Which rows a person means: a data set of the store, one that a recipe makes, or files of their own, read by the existing
builders.

For files without a builder's name, the kind is told by endings and by the first lines: tables by their ending, SQuAD by its keys,
columns of words and tags as CoNLL, a label and a text on each line, several files as texts and their translations, a folder as a
class for each folder in it.

What it is not: `septet dataset`, which keeps the rows; nothing is written here.

    python -m pytest tests/ops/test_given.py
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from septet.core.component import InputPath
from septet.core.errors import DataError, RecipeError, StoreError, nearest
from septet.core.recipe import Recipe, plan
from septet.core.store import Store
from septet.data.builder import Builder, Row
from septet.data.documents import read_documents, read_rows
from septet.data.parts import PartsBuilder, Problems, files_of, text_lines
from septet.data.unpack import plain_name
from septet.infer.task import Task

__all__ = ["Meant", "builder_for", "rows_meant"]

TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".xml")
PARTS = ("train", "held_out", "test")
LOOKED = 400  # lines of a file that are looked at
FEW_LABELS = 60  # first words of lines that may be labels
_TAG = re.compile(r"O|[BIESLUMW]-\S+")


@dataclass(frozen=True, slots=True)
class Meant:
    """name: what to call it. data: the artifact's name, where there is one. builder: what read the files. remarks: for people."""

    name: str
    task: Task
    parts: Mapping[str, Sequence[Row]]
    data: str = ""
    builder: Mapping[str, Any] | None = None
    remarks: Sequence[str] = field(default_factory=tuple)


def rows_meant(given: Sequence[str], store: Store, *, builder: Any = None, step: str | None = None) -> Meant:
    """Return the rows. given: paths, or one name of the store. builder: as `septet dataset --builder` takes it. step: of a recipe.

    Errors: DataError, StoreError or RecipeError with what was looked for and what to give.
    """
    if builder is not None:
        return _built(Builder.parse(builder), " ".join(given) or str(builder))
    first = Path(given[0])
    if len(given) == 1 and first.suffix in (".yaml", ".yml"):
        return _of_recipe(first, store, step)
    missing = [one for one in given if not Path(one).exists()]
    if not missing and first.is_dir() and (first / "dataset.json").is_file():
        return _of_folder(first, given[0], data=given[0])
    if not missing:
        found = builder_for([Path(one) for one in given])
        return _built(Builder.parse({**found, "on_bad": "drop"}), given[0], found)
    if len(given) > 1 or first.suffix or given[0].startswith((".", "/", "~")):
        near = nearest(Path(missing[0]).name, [path.name for path in _beside(Path(missing[0]))])
        raise DataError(f"There is no file or folder '{missing[0]}'.{near}")
    try:
        artifact = store.resolve(given[0])
    except StoreError as error:
        raise StoreError(f"There is no file '{given[0]}', and: {error}") from None
    if artifact.kind != "dataset":
        raise StoreError(
            f"'{given[0]}' is a {artifact.kind}; advice is on the rows of a dataset, on a recipe that makes one, or on files. "
            + ("Make rows of it first: septet dataset --corpus " + given[0] if artifact.kind == "corpus" else "")
        )
    return _of_folder(artifact.path, given[0], data=given[0])


def _beside(path: Path) -> list[Path]:
    try:
        return sorted(path.parent.iterdir())
    except OSError:
        return []


def _of_folder(folder: Path, name: str, *, data: str = "") -> Meant:
    parts = {
        part: [row for _, row in read_rows(folder / f"{part}.jsonl")]
        for part in PARTS
        if (folder / f"{part}.jsonl").is_file()
    }
    if not parts.get("train"):
        raise DataError("it has no training rows.", file=folder / "train.jsonl")
    return Meant(name, Task.of_data(folder)[0], parts, data)


def _of_recipe(path: Path, store: Store, step: str | None) -> Meant:
    recipe = Recipe.load(path)
    makers: dict[str, Any] = {name: one for name, one in recipe.steps.items() if one.kind == "dataset"}
    if step is not None and step not in makers:
        known = f" Those that make a data set: {', '.join(makers)}." if makers else ""
        raise RecipeError(
            f"--step: the recipe has no step '{step}' that makes a data set.{nearest(step, makers)}{known}"
        )
    if not makers:
        raise RecipeError(
            f"{path}: no step of it makes a data set, so there are no rows to look at. Advice on pre-training is "
            "`septet families` and `septet plan`."
        )
    chosen = step or next(iter(makers))
    more = [name for name in makers if name != chosen]
    remarks = (
        [f"The recipe has other data sets too: {', '.join(more)}; --step NAME looks at one."]
        if more and not step
        else []
    )
    kept = {one.name: one.kept for one in plan(recipe, store)}
    name = f"{recipe.name}/{chosen}"
    if (artifact := kept[chosen]) is not None:
        found = _of_folder(artifact.path, name, data=name)
        return Meant(found.name, found.task, found.parts, found.data, None, remarks)
    maker = makers[chosen]
    documents: dict[str, list[Any]] = {"train": [], "held_out": []}
    if maker.corpus is not None:
        corpus = kept.get(str(maker.corpus).removeprefix("$"))
        if corpus is None:
            raise RecipeError(
                f"{path}: the step '{chosen}' asks about a corpus that is not made yet. Run that far first: septet run {path}"
            )
        documents = {part: list(read_documents(corpus.path / f"{part}.jsonl")) for part in documents}
    found = _built(maker.builder, name, documents=documents)
    return Meant(name, found.task, found.parts, name, None, [*remarks, *found.remarks])


def _built(
    builder: Builder,
    name: str,
    shown: Mapping[str, Any] | None = None,
    documents: Mapping[str, list[Any]] | None = None,
) -> Meant:
    given = documents or {"train": [], "held_out": []}
    if builder.reads_corpus and not given["train"]:
        raise DataError(
            f"the builder '{builder.kind}' asks about a corpus; name a recipe that has both, or make the data set first."
        )
    built = builder.build(given["train"], given["held_out"], seed=0)
    if not built.train:
        raise DataError("no row of it can be used.", file=name)
    left = built.notes.get("rows_left_out", 0) if isinstance(builder, PartsBuilder) else 0
    remarks = [f"{left:,} rows cannot be used and are left out here; `septet dataset` names them."] if left else []
    parts = {"train": built.train, "held_out": built.held_out, "test": built.test}
    return Meant(name, Task.parse(built.task), parts, "", shown or builder.dump(), remarks)


def builder_for(paths: Sequence[Path]) -> dict[str, Any]:
    """Return the builder that reads files of one's own, as `Builder.parse` takes it. Raises DataError where nothing tells the
    kind."""
    train: Any = [str(path) for path in paths] if len(paths) > 1 else str(paths[0])
    if len(paths) > 1:
        return {"kind": "parallel", "train": train}
    path = paths[0]
    if path.is_dir():
        return {"kind": "folders", "train": train}
    ending = Path(plain_name(path.name)).suffix.lower()
    if ending == ".zip":
        return {"kind": "folders", "train": train}
    if ending in TABLES:
        return {"kind": "table", "train": train}
    lines = _first_lines(path)
    if ending == ".json":
        squad = any('"paragraphs"' in line[:100_000] for line in lines)
        return {"kind": "squad" if squad else "table", "train": train}
    kind = _kind_of(lines)
    if kind is None:
        raise DataError(
            "neither its ending nor its first lines say what it holds. Say so with --builder, such as "
            f"--builder '{{kind: table, format: csv, train: {path}}}'; `septet ls --kinds data.builders` lists them.",
            file=path,
        )
    return {"kind": kind, "train": train}


def _first_lines(path: Path) -> list[str]:
    problems = Problems()
    for file in files_of((InputPath(path),), problems):
        return [line for _, line in itertools.islice(text_lines(file, problems, "latin-1"), LOOKED)]
    return []


def _kind_of(lines: Sequence[str]) -> str | None:
    """Return the kind of builder for lines of text: conll, parallel, lines, or None."""
    full = [line for line in lines if line.strip()]
    columns = [line.split() for line in full if not line.startswith("-DOCSTART-")]
    if columns and len(full) < len(lines) and all(len(one) > 1 and _TAG.fullmatch(one[-1]) for one in columns):
        return "conll"
    if full and all(line.count("\t") == 1 for line in full):
        first = {line.split("\t")[0] for line in full}
        return "parallel" if len(first) > FEW_LABELS or len(first) > len(full) / 2 else "lines"
    firsts = [line.split(maxsplit=1) for line in full]
    if len(full) >= 4 and all(len(one) == 2 for one in firsts):
        labels = {one[0] for one in firsts}
        if 1 < len(labels) <= min(FEW_LABELS, len(full) / 2):
            return "lines"
    return None
