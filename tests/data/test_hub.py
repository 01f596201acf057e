"""The source and the builder `hub`, against a server on this machine that speaks the hub's protocol.

python -m pytest tests/data/test_hub.py
"""

from __future__ import annotations

import gzip
import io
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import yaml
from tests.hub import Hub, serving

from septet.core import pins
from septet.core.errors import ComponentError, DataError
from septet.core.recipe import Recipe, plan
from septet.core.store import Store
from septet.data.builder import Builder, Built
from septet.data.source import Source
from septet.data.sources.hub import READY
from septet.launch.local import run_recipe


def parquet(rows: list[dict], group: int = 50) -> bytes:
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), out, row_group_size=group)
    return out.getvalue()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with serving(monkeypatch, tmp_path / "home") as served:
        served.files["org/books"] = {
            "README.md": b"# Books",
            "data/train-00000-of-00002.parquet": parquet(
                [{"text": f"Text {i}.", "title": f"T{i}", "n": i} for i in range(120)]
            ),
            "data/train-00001-of-00002.jsonl.gz": gzip.compress(
                b'{"text": "Late.", "title": "L"}\n{"text": "Last.", "title": "M"}\n'
            ),
            "data/test-00000-of-00001.parquet": parquet([{"text": "Tested.", "title": "X", "n": 0}]),
        }
        yield served


def source(**fields: object) -> Source:
    return Source.parse({"kind": "hub", "name": "org/books", **fields})


def test_the_files_of_a_split_are_read_in_order(hub: Hub):
    docs = list(source(name_field="title", licence="CC0-1.0").read())
    assert [doc.text for doc in docs] == [f"Text {i}." for i in range(120)] + ["Late.", "Last."]
    assert (docs[0].id, docs[0].name, docs[0].file, docs[0].line, docs[0].licence) == (
        "data/train-00000-of-00002.parquet:1", "T0", "data/train-00000-of-00002.parquet", 1, "CC0-1.0",
    )  # fmt: skip
    assert docs[-1].id == "data/train-00001-of-00002.jsonl.gz:2"
    assert [doc.text for doc in source(split="test").read()] == ["Tested."]
    assert [doc.text for doc in source(data_files="**/*.jsonl.gz").read()] == ["Late.", "Last."]


def test_parts_are_files_at_a_commit_and_need_no_pins(hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    parts = source().parts()
    assert [part.name for part in parts] == [
        f"data/train-00000-of-00002.parquet@{hub.head}", f"data/train-00001-of-00002.jsonl.gz@{hub.head}",
    ]  # fmt: skip
    assert parts[0].size == len(hub.files["org/books"]["data/train-00000-of-00002.parquet"])
    monkeypatch.setattr(pins, "_home", tmp_path / "another process")
    hub.asked.clear()
    apart = [doc for part in parts for doc in source().read(part.name)]
    assert not [path for path in hub.asked if path.startswith("/api")]
    assert apart == list(source().read())


def test_a_limit_holds_over_all_files(hub: Hub):
    assert [len(list(source(limit=limit).read())) for limit in (1, 121, 500)] == [1, 121, 122]
    assert len(source(limit=3).parts()) == 1


def test_the_commit_of_the_first_use_is_kept(hub: Hub, tmp_path: Path):
    first = source().fingerprint()
    assert pins.get("hub/org/books@main") == "a" * 40
    hub.head = "d" * 40
    assert source().fingerprint() == first
    assert source().parts()[0].name.endswith("@" + "a" * 40)
    assert source(revision="v1").fingerprint() != first
    pins.use(tmp_path / "another store")
    assert source().fingerprint() != first


def test_planning_a_recipe_keeps_the_commit_in_the_store(hub: Hub, tmp_path: Path):
    text = "name: r\nsteps: {text: {kind: corpus, source: {kind: hub, name: org/books}}}\n"
    (tmp_path / "r.yaml").write_text(text)
    store = Store(tmp_path / "store")
    first = plan(Recipe.load(tmp_path / "r.yaml"), store)[0].id
    assert json.loads((store.home / pins.FILE).read_text()) == {"hub/org/books@main": "a" * 40}
    hub.head = "d" * 40
    assert plan(Recipe.load(tmp_path / "r.yaml"), store)[0].id == first


def test_a_corpus_of_the_hub_is_made_once(hub: Hub, tmp_path: Path):
    (tmp_path / "r.yaml").write_text(
        "name: r\nsteps: {text: {kind: corpus, source: {kind: hub, name: org/books, limit: 30}}}\n"
    )
    store = Store(tmp_path / "store")
    made = run_recipe(Recipe.load(tmp_path / "r.yaml"), store, report=False).artifacts["text"]
    assert made.facts["documents"] == 30
    hub.head = "d" * 40
    hub.asked.clear()
    assert run_recipe(Recipe.load(tmp_path / "r.yaml"), store, report=False).artifacts["text"].id == made.id
    assert hub.asked == []


def test_only_what_is_needed_is_fetched(hub: Hub):
    rows = [{"text": random.Random(i).randbytes(600).hex(), "n": i} for i in range(20_000)]
    body = parquet(rows, group=1000)
    hub.files["org/books"] = {"train.parquet": body}
    assert len(body) > 20 << 20
    assert next(iter(source().read())).text == rows[0]["text"]
    fetched = len([path for path in hub.asked if "/resolve/" in path])
    assert fetched <= 3  # of 4 MiB: the end of the file with its index, and the first rows


def test_an_unsteady_hub_is_asked_again(hub: Hub):
    commit = source().parts()[1].name
    hub.failing = 2
    assert len(list(source().read(commit))) == 2


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"name": "org/none"}, r"org/none: The hub \(http://127.0.0.1:\d+\) has no data set of this name"),
        ({"revision": "v9"}, "org/books: The data set has no such revision"),
        ({"split": "validation"}, "No Parquet or JSON file is of the split 'validation'. There is: data/test-00000"),
        ({"config": "nowhere"}, "No Parquet or JSON file below nowhere/ is of the split 'train'. There is: nothing"),
        ({"data_files": "*.csv"}, r"No Parquet or JSON file matches '\*\.csv'"),
        ({"text_field": "txt"}, "There is no column 'txt'. Say where the text is with text_field. Did you mean 'text'"),
    ],
)
def test_what_the_hub_does_not_have(hub: Hub, fields: dict, says: str):
    with pytest.raises(DataError, match=says):
        list(source(**fields).read())


def test_a_server_without_ranges_is_refused(hub: Hub):
    hub.ranges = False
    with pytest.raises(DataError, match="gives no parts of files"):
        list(source().read())


def test_names():
    with pytest.raises(ComponentError, match=r"'wikipdia' is no repository .*Did you mean 'wikipedia'"):
        source(name="wikipdia")
    for name in READY:
        assert source(name=name).dump()["name"] == name


@pytest.mark.parametrize(
    ("name", "path", "others"),
    [
        ("c4", "en/c4-train.00000-of-01024.json.gz", ["en/c4-validation.0.json.gz", "de/c4-train.0.json.gz"]),
        ("bookcorpus", "plain_text/train/0000.parquet", ["README.md"]),
        ("the-pile", "train/00.jsonl.zst", ["val.jsonl.zst", "test.jsonl.zst"]),
        ("openwebtext", "plain_text/train-00000-of-00080.parquet", ["README.md"]),
        ("fineweb", "sample/10BT/000_00000.parquet", ["data/CC-MAIN-2024-10/train-00000.parquet"]),
        ("wikipedia", "20231101.en/train-00000-of-00041.parquet", ["20231101.de/train-00000-of-00020.parquet"]),
    ],
)  # fmt: skip
def test_ready_names_choose_their_files(hub: Hub, name: str, path: str, others: list[str]):
    hub.files[READY[name].repo] = dict.fromkeys([path, *others], b"")
    assert [part.name.partition("@")[0] for part in source(name=name).parts()] == [path]


def test_a_ready_name_brings_its_columns_and_licence(hub: Hub):
    hub.files["wikimedia/wikipedia"] = {
        "20231101.simple/train-00000-of-00001.parquet": parquet(
            [{"id": "1", "title": "April", "text": "April is a month."}]
        )
    }
    doc = next(iter(source(name="wikipedia", config="20231101.simple").read()))
    assert (doc.name, doc.text, doc.licence) == ("April", "April is a month.", "CC-BY-SA-3.0")


def test_offline_says_what_would_be_read_and_how_to_bring_it(hub: Hub, monkeypatch: pytest.MonkeyPatch):
    commit = source().parts()[0].name
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub.asked.clear()
    with pytest.raises(DataError) as caught:
        source(name="c4").fingerprint()
    message = str(caught.value)
    assert "Offline mode, and this source reads the data set allenai/c4 at main" in message
    assert "the files en/c4-train.*.json.gz (305 GB packed for 'en')" in message
    assert "hf download allenai/c4 --repo-type dataset --include 'en/c4-train.*.json.gz' --local-dir c4" in message
    assert "{kind: jsonl, path: c4}" in message
    with pytest.raises(DataError, match=r"--revision refs/convert/parquet .*kind: parquet, path: bookcorpus"):
        source(name="bookcorpus").fingerprint()
    assert source().fingerprint()  # the commit is known
    with pytest.raises(DataError, match="Offline mode"):
        list(source().read(commit))
    assert hub.asked == []


def test_a_hub_that_is_away(hub: Hub, monkeypatch: pytest.MonkeyPatch):
    commit = source().parts()[0].name
    hub.failing = 100
    with pytest.raises(DataError, match=r"The hub \(.*\) fails \(status 503\), and this source reads"):
        list(source().read(commit))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    pins.use(Path("nowhere"))
    with pytest.raises(DataError, match="does not answer"):
        source().fingerprint()


# -- rows for a task ------------------------------------------------------------------------------------------------------


def labelled(rows: list[dict], names: list[str]) -> bytes:
    """A Parquet file as the `datasets` library writes it, with the names of its numbered labels."""
    return written(
        rows, {"sentence": {"dtype": "string", "_type": "Value"}, "label": {"names": names, "_type": "ClassLabel"}}
    )


def written(rows: list[dict], features: dict) -> bytes:
    out = io.BytesIO()
    told = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows).replace_schema_metadata(told), out)
    return out.getvalue()


def reviews(count: int, *, first: int = 0) -> list[dict]:
    return [
        {"sentence": f"film {n} was {'dull' if n % 2 else 'fine'}", "label": 1 - n % 2}
        for n in range(first, first + count)
    ]


def built(**fields: object) -> Built:
    return Builder.parse({"kind": "hub", "name": "org/reviews", **fields}).build([], [], seed=0)  # type: ignore[attr-defined]


@pytest.fixture
def films(hub: Hub) -> Hub:
    names = ["negative", "positive"]
    hub.files["org/reviews"] = {
        "data/train-00000-of-00001.parquet": labelled(reviews(40), names),
        "data/dev-00000-of-00001.parquet": labelled(reviews(8, first=40), names),
        "data/test-00000-of-00001.parquet": labelled(reviews(6, first=60), names),
        "plain/train.jsonl": b"".join(json.dumps(row).encode() + b"\n" for row in reviews(20)),
    }
    return hub


def test_splits_become_parts_and_numbers_their_names(films: Hub):
    found = built(config="data")
    assert found.task == "classification"
    assert found.labels == ["negative", "positive"]
    assert (len(found.train), len(found.held_out), len(found.test)) == (40, 8, 6)
    assert {"text": "film 40 was fine", "label": "positive"}.items() <= next(
        row for row in found.held_out if "film 40 " in row["text"]
    ).items()
    assert found.columns == {"text": "sentence", "label": "label"}
    assert built(config="data", label_names={"0": "bad", "1": "good"}).labels == ["bad", "good"]


def test_a_part_without_a_split_is_taken_from_the_training_rows(films: Hub):
    found = built(config="plain", split={"validation": 0.2, "test": 0.2})
    assert (len(found.train), len(found.held_out), len(found.test)) == (12, 4, 4)
    assert found.labels == ["0", "1"]  # JSON lines bring no names
    assert len(built(config="plain", limit=10, split={"validation": 0.2}).train) == 8


def test_the_commit_is_part_of_the_id(films: Hub):
    text = "name: r\nsteps: {rows: {kind: dataset, builder: {kind: hub, name: org/reviews}}}\n"
    first = Recipe.parse(yaml.safe_load(text)).steps["rows"].builder.fingerprint()
    assert first == Builder.parse({"kind": "hub", "name": "org/reviews", "limit": 3}).fingerprint()
    assert first != Builder.parse({"kind": "hub", "name": "org/reviews", "revision": "c" * 40}).fingerprint()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "in several folders, which may be different data: data, plain. Name one of them with config"),
        (
            {"config": "data", "validation": "held"},
            "is of the split 'held'.*There is: data/dev-.*Name a split that is there",
        ),
        ({"config": "data", "columns": {"text": "sentense"}}, "'sentense'.*Did you mean 'sentence'"),
        ({"name": "org/nothing"}, "has no data set of this name"),
    ],
)
def test_what_a_data_set_does_not_have(films: Hub, fields: dict, message: str):
    with pytest.raises(DataError, match=message):
        built(**fields)


def test_offline_a_data_set_says_what_it_would_read(films: Hub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DataError, match="hf download org/reviews --repo-type dataset"):
        built(revision="d" * 40)
    with pytest.raises(ComponentError, match="org/name"):
        Builder.parse({"kind": "hub", "name": "reviews!"})


CLASSES = {"names": ["O", "B-PER", "I-PER"], "_type": "ClassLabel"}


@pytest.mark.parametrize(
    "tags",
    [{"feature": CLASSES, "_type": "Sequence"}, {"feature": CLASSES, "length": -1, "_type": "List"}, [CLASSES]],
)
def test_numbered_tags_get_their_names(hub: Hub, tags: object):
    rows = [{"id": str(n), "tokens": ["Ann", "Lee", "ran"], "ner_tags": [1, 2, 0]} for n in range(20)]
    hub.files["org/reviews"] = {"data/train-00000-of-00001.parquet": written(rows, {"ner_tags": tags})}
    found = built(split={"validation": 0.2})
    assert (found.task, found.labels) == ("tagging", ["O", "B-PER", "I-PER"])
    assert found.train[0]["tags"] == ["B-PER", "I-PER", "O"]


def test_numbered_labels_of_several_get_their_names(hub: Hub):
    rows = [{"text": f"text {n}", "labels": [n % 2, 2] if n % 3 else []} for n in range(20)]
    features = {"labels": {"feature": {"names": ["joy", "fear", "awe"], "_type": "ClassLabel"}, "_type": "Sequence"}}
    hub.files["org/reviews"] = {"data/train-00000-of-00001.parquet": written(rows, features)}
    found = built(split={"validation": 0.2})
    assert (found.task, found.labels) == ("multi-label", ["awe", "fear", "joy"])
    assert {tuple(row["labels"]) for row in [*found.train, *found.held_out]} == {(), ("awe", "joy"), ("awe", "fear")}


def test_answers_and_translations_of_the_hub(hub: Hub):
    passage = "The red door leads to the kitchen."
    rows = [
        {"id": str(n), "title": f"T{n % 4}", "context": passage, "question": f"Q {n}?",
         "answers": {"text": ["kitchen"] if n % 2 else [], "answer_start": [26] if n % 2 else []}}
        for n in range(20)
    ]  # fmt: skip
    hub.files["org/reviews"] = {"data/train-00000-of-00001.parquet": parquet(rows)}
    found = built(split={"validation": 0.25})
    assert found.task == "question-answering"
    assert not {row["group"] for row in found.train} & {row["group"] for row in found.held_out}
    assert {"text": "kitchen", "start": 26} in [answer for row in found.train for answer in row["answers"]]
    pairs = [{"translation": {"de": f"Hund {n}", "en": f"dog {n}"}} for n in range(20)]
    hub.files["org/reviews"] = {"data/train-00000-of-00001.parquet": parquet(pairs)}
    assert built().columns == {"source": "translation.de", "target": "translation.en"}  # the order in which they come
    found = built(split={"validation": 0.25}, columns={"source": "translation.en", "target": "translation.de"})
    assert {"source": "dog 3", "target": "Hund 3"} in [*found.train, *found.held_out]
