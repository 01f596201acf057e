"""Builders that read one's own files: tables, lines, columns of tags, SQuAD, parallel text, folders.

python -m pytest tests/data/test_own_builders.py
"""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from septet.core.errors import ComponentError, DataError
from septet.data.answers import locate
from septet.data.builder import Builder, Built
from septet.data.tags import scheme_of, to_bio


def write(path: Path, text: str, encoding: str = "utf-8") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return str(path)


def build(kind: str, train: Any, **fields: Any) -> Built:
    fields.setdefault("split", {"validation": 0})
    return Builder.parse({"kind": kind, "train": train, **fields}).build([], [], seed=0)


def jsonl(path: Path, *rows: object) -> str:
    return write(path, "".join(json.dumps(row) + "\n" for row in rows))


# -- tables -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "values", "task", "row"),
    [
        (["Review", "Sentiment"], ["good", "pos"], "classification", {"text": "good", "label": "pos"}),
        (["idx", "premise", "hypothesis", "label"], ["7", "a", "b", "1"], "classification",
         {"text": "a", "pair": "b", "label": "1", "id": "7"}),
        (["sentence1", "sentence2", "score"], ["a", "b", "3.5"], "regression", {"text": "a", "pair": "b", "value": 3.5}),
        (["text", "label"], ["a", "0.25"], "regression", {"text": "a", "value": 0.25}),
        (["article", "highlights"], ["long", "short"], "text-to-text", {"source": "long", "target": "short"}),
        (["en", "de"], ["dog", "Hund"], "text-to-text", {"source": "dog", "target": "Hund"}),
        (["prompt", "response"], ["p", "c"], "completion", {"prompt": "p", "completion": "c"}),
        (["text"], ["t"], "completion", {"prompt": "", "completion": "t"}),
        (["query", "positive", "negative"], ["q", "p", "n"], "similarity", {"anchor": "q", "positive": "p", "negative": "n"}),
        (["question", "answer"], ["q", "a"], "chat",
         {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}),
        (["text", "genres"], ["t", "b,a"], "multi-label", {"text": "t", "labels": ["a", "b"]}),
    ],
)  # fmt: skip
def test_task_and_columns_are_inferred(tmp_path: Path, columns: list[str], values: list[str], task: str, row: dict):
    other = [f"{value}0" for value in values]  # another label, so that there is something to tell apart
    text = "\n".join("\t".join(cells) for cells in (columns, values, other))
    built = build("table", write(tmp_path / "a.tsv", text))
    assert built.task == task
    assert row in built.train
    assert any(f"for {task}" in line for line in built.remarks)


def test_columns_by_their_values(tmp_path: Path):
    rows = [{"grade": "AB"[n % 2], "what": f"text number {n}"} for n in range(20)]
    built = build("table", jsonl(tmp_path / "a.jsonl", *rows))
    assert (built.task, built.columns) == ("classification", {"label": "grade", "text": "what"})
    assert built.labels == ["A", "B"]


def test_columns_and_names_that_are_given(tmp_path: Path):
    path = write(tmp_path / "a.csv.txt", "0;T1;D1\n1;T2;D2\n")
    built = build(
        "table", path, format="csv", header=["y", "title", "body"], columns={"text": ["title", "body"], "label": "y"},
        label_names={0: "no", "1": "yes"},
    )  # fmt: skip
    assert {row["text"]: row["label"] for row in built.train} == {"T1\nD1": "no", "T2\nD2": "yes"}
    assert built.columns == {"text": "title, body", "label": "y"}
    with pytest.raises(DataError, match=r"no column 'bod'.*Did you mean 'body'"):
        build("table", path, format="csv", header=["y", "title", "body"], columns={"text": "bod"})
    with pytest.raises(ComponentError, match=r"no role 'txt'.*Did you mean 'text'"):
        build("table", path, columns={"txt": "body"})
    with pytest.raises(DataError, match="label_names has '2'"):
        build("table", path, format="csv", header=["label", "text", "b"], label_names={"2": "maybe"})


def test_a_first_row_of_data_is_noticed(tmp_path: Path):
    with pytest.raises(DataError, match="looks like data; name the columns with header"):
        build("table", write(tmp_path / "a.csv", "3,one thing and another\n4,some more\n"))


def test_the_same_rows_in_every_format(tmp_path: Path):
    rows = [{"text": 'say "a", b', "label": "x"}, {"text": "two\nlines", "label": "y"}]
    made = [jsonl(tmp_path / "a.jsonl", *rows), write(tmp_path / "b.json", json.dumps(rows))]
    made.append(write(tmp_path / "c.csv", 'text,label\n"say ""a"", b",x\n"two\nlines",y\n'))
    made.append(str(tmp_path / "d.csv.gz"))
    Path(made[-1]).write_bytes(gzip.compress(Path(made[-2]).read_bytes()))
    made.append(
        write(
            tmp_path / "e.xml",
            '<r><p label="x"><text>say "a", b</text></p><p label="y"><text>two\nlines</text></p></r>',
        )
    )
    made.append(str(tmp_path / "f.zip"))
    with zipfile.ZipFile(made[-1], "w") as archive:
        archive.write(made[0], "in/a.jsonl")
        archive.writestr("readme.md", "nothing")
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    made.append(str(tmp_path / "g.parquet"))
    parquet.write_table(pyarrow.Table.from_pylist(rows), made[-1])
    for path in made:
        built = build("table", path, pattern="**/*.jsonl")
        assert sorted(built.train, key=lambda row: row["label"]) == rows, path


def test_a_quote_in_tsv_is_a_letter_where_that_is_said(tmp_path: Path):
    path = write(tmp_path / "a.tsv", 'text\tlabel\n"so\tx\nit goes\ty\n')
    built = build("table", path, quotes=False)
    assert {row["text"] for row in built.train} == {'"so', "it goes"}
    with pytest.raises(DataError, match=r"a\.tsv, row 2: a quote that is opened here is not closed"):
        build("table", path)
    closed = write(tmp_path / "b.tsv", 'text\tlabel\n"so\tx\nit" goes\ty\n')  # rows must not be joined without a word
    with pytest.raises(DataError, match=r"b\.tsv, row 2: a letter follows a quote .* quotes: false"):
        build("table", closed)


def test_several_right_answers(tmp_path: Path):
    train = jsonl(tmp_path / "a.jsonl", {"dialogue": ["a", "b"], "summary": "s"})
    test = jsonl(tmp_path / "b.jsonl", {"dialogue": "d", "summary1": "s1", "summary2": "s2", "topic1": "t"})
    built = build("table", train, test=test)
    assert built.train == [{"source": "a b", "target": "s"}]
    assert built.test == [{"source": "d", "target": "s1", "references": ["s1", "s2"]}]


def test_columns_of_yes_and_no(tmp_path: Path):
    path = write(tmp_path / "a.csv", "text,toxic,rude\na,1,0\nb,1,1\nc,0,0\n")
    built = build("table", path, columns={"labels": ["toxic", "rude"]})
    assert {row["text"]: row["labels"] for row in built.train} == {"a": ["toxic"], "b": ["rude", "toxic"], "c": []}


def test_transcripts_take_the_place_of_their_names(tmp_path: Path):
    write(tmp_path / "calls" / "one.vtt", "WEBVTT\n\n00:01.000 --> 00:02.000\n<v Ann>Hello.\n")
    rows = jsonl(tmp_path / "a.jsonl", {"transcript": "one.vtt", "summary": "Ann greets."})
    built = build("table", rows, transcripts=str(tmp_path / "calls"))
    assert built.train == [{"source": "Ann: Hello.", "target": "Ann greets."}]
    assert (
        build("table", rows, transcripts=str(tmp_path / "calls"), times=True).train[0]["source"]
        == "[0:00:01] Ann: Hello."
    )
    with pytest.raises(DataError, match="say in which folder it is with transcripts"):
        build("table", rows)
    away = jsonl(tmp_path / "b.jsonl", {"transcript": "../secret.vtt", "summary": "s"})
    write(tmp_path / "secret.vtt", "WEBVTT\n\n00:01.000 --> 00:02.000\nx\n")
    with pytest.raises(DataError, match=r"no transcript '../secret.vtt'"):
        build("table", away, transcripts=str(tmp_path / "calls"))


def test_the_bytes_of_transcripts_change_the_id(tmp_path: Path):
    path = write(tmp_path / "calls" / "one.vtt", "WEBVTT")
    fields = {"kind": "table", "train": jsonl(tmp_path / "a.jsonl", {}), "transcripts": str(tmp_path / "calls")}
    before = Builder.parse(fields).identity()
    write(Path(path), "WEBVTT\n")
    assert Builder.parse(fields).identity() != before


# -- what cannot be used ------------------------------------------------------------------------------------------------


def test_bad_rows_are_named_and_counted_or_left_out(tmp_path: Path):
    path = write(
        tmp_path / "a.jsonl",
        '{"text": "a", "label": "x"}\n{"text": " ", "label": "x"}\n{"label": "y"}\nnot json\n{"text": "b", "label": ""}\n'
        '{"text": "c", "label": "y"}\n',
    )
    with pytest.raises(DataError) as raised:
        build("table", path)
    told = str(raised.value)
    for expected in (
        "4 places cannot be used", "row 2: The field 'text' is empty", "row 3: The field 'text' is missing",
        "row 4: not JSON", "row 5: The field 'label' is empty", "on_bad: drop",
    ):  # fmt: skip
        assert expected in told
    built = build("table", path, on_bad="drop")
    assert [len(built.train), built.notes] == [2, {"rows_left_out": 4}]
    assert sum(line.startswith("Left out: a.jsonl, row") for line in built.remarks) == 4


def test_labels_that_training_lacks(tmp_path: Path):
    train = jsonl(tmp_path / "a.jsonl", {"text": "a", "label": "sport"}, {"text": "b", "label": "news"})
    other = jsonl(tmp_path / "b.jsonl", {"text": "c", "label": "sprot"}, {"text": "d", "label": "news"})
    with pytest.raises(
        DataError, match=r"b\.jsonl, row 1: no training row has the label 'sprot'. Did you mean 'sport'"
    ):
        build("table", train, validation=other)
    built = build("table", train, validation=other, on_bad="drop")
    assert [row["text"] for row in built.held_out] == ["d"]
    assert built.notes == {"rows_left_out": 1}


def test_one_class_only(tmp_path: Path):
    path = jsonl(tmp_path / "a.jsonl", {"text": "a", "label": "x"}, {"text": "b", "label": "x"})
    with pytest.raises(DataError, match="All 2 training rows have the label 'x'"):
        build("table", path, on_bad="drop")


def test_another_encoding_is_named_with_what_would_read_it(tmp_path: Path):
    path = write(tmp_path / "a.txt", "x plain\ny naïve\n", "latin-1")
    with pytest.raises(
        DataError, match=r"(?s)a\.txt, row 2: not UTF-8 \(invalid continuation byte at byte 4\).*cp1252, latin-1"
    ):
        build("lines", path)
    assert {row["text"] for row in build("lines", path, encoding="latin-1").train} == {"plain", "naïve"}


def test_nothing_to_train_on(tmp_path: Path):
    for kind in ("table", "lines", "conll", "squad", "parallel"):
        name = "a.json" if kind == "squad" else "a.csv"
        text = '{"data": []}' if kind == "squad" else "\n"
        with pytest.raises(DataError, match=r"No row of the training part can be used|holds no rows|cannot be used"):
            build(kind, write(tmp_path / kind / name, text), on_bad="drop")
    with pytest.raises(ComponentError, match="one file or more"):
        Builder.parse({"kind": "table", "train": []})


def test_reserved_tokens_are_taken_out(tmp_path: Path):
    path = jsonl(
        tmp_path / "a.jsonl", {"prompt": "p", "completion": "c<|endoftext|>"}, {"prompt": "q", "completion": "d"}
    )
    built = build("table", path)
    assert {row["completion"] for row in built.train} == {"c", "d"}
    assert built.notes == {"rows_with_reserved_tokens": 1}


def test_rows_are_split_and_shuffled_by_the_seed(tmp_path: Path):
    path = jsonl(tmp_path / "a.jsonl", *({"text": f"t{n}", "label": "ab"[n >= 50]} for n in range(100)))
    builder = Builder.parse({"kind": "table", "train": path, "split": {"validation": 0.1, "test": 0.2}})
    built = builder.build([], [], seed=0)
    assert [len(built.train), len(built.held_out), len(built.test)] == [70, 10, 20]
    assert built == builder.build([], [], seed=0)
    assert built.train != builder.build([], [], seed=1).train
    assert len({row["label"] for row in built.train[:10]}) == 2


def test_the_last_dates_are_held_out(tmp_path: Path):
    rows = [{"text": f"t{n}", "label": "ab"[n % 2], "day": f"2026-01-{n + 1:02}"} for n in range(20)]
    built = build(
        "table", jsonl(tmp_path / "a.jsonl", *rows), columns={"time": "day"}, split={"validation": 0.2, "by": "time"}
    )
    assert {row["text"] for row in built.held_out} == {"t16", "t17", "t18", "t19"}
    with pytest.raises(DataError, match="'day' holds 'soon'; a date"):
        build(
            "table",
            jsonl(tmp_path / "b.jsonl", *rows, {"text": "x", "label": "a", "day": "soon"}),
            columns={"time": "day"},
        )


# -- lines --------------------------------------------------------------------------------------------------------------


def test_lines_are_cut_by_named_groups(tmp_path: Path):
    path = write(tmp_path / "a", "DESC:manner How ?\nABBR:exp What is it ?\n\n")
    built = build("lines", path, pattern=r"(?P<label>[A-Z]+):\S+ (?P<text>.+)")
    assert {row["label"]: row["text"] for row in built.train} == {"DESC": "How ?", "ABBR": "What is it ?"}
    with pytest.raises(DataError, match="row 2: the line does not fit the pattern: 'ABBR:exp What"):
        build("lines", path, pattern=r"(?P<label>DESC)\S+ (?P<text>.+)")
    for pattern, says in (
        ("(", "no regular expression"),
        ("a", "names no group"),
        ("(?P<txt>.)", "Did you mean 'text'"),
    ):
        with pytest.raises(ComponentError, match=says):
            build("lines", path, pattern=pattern)


# -- columns of tags ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "tags", "bio", "wrong"),
    [
        ("iob1", "I-A I-A B-A O I-B I-A", "B-A I-A B-A O B-B B-A", []),
        ("iob1", "O B-A I-A", "O B-A I-A", []),
        ("bio", "B-A I-A B-A O B-B", "B-A I-A B-A O B-B", []),
        ("bio", "O I-A I-A B-B I-A", "O B-A I-A B-B B-A", [1, 4]),
        ("bioes", "B-A I-A E-A S-A S-B O", "B-A I-A I-A B-A B-B O", []),
        ("bioes", "B-A O I-A E-B", "B-A O B-A B-B", [1, 2, 3]),
        ("bioes", "S-A B-A", "B-A B-A", [1]),
        ("bioes", "B-A L-A U-B", "B-A I-A B-B", []),
    ],
)
def test_tags_become_bio(scheme: str, tags: str, bio: str, wrong: list[int]):
    assert to_bio(tags.split(), scheme) == (bio.split(), wrong)


def test_bio_agrees_with_seqeval():
    scheme = pytest.importorskip("seqeval.scheme")
    cases = {"iob1": scheme.IOB1, "bio": scheme.IOB2, "bioes": scheme.IOBES}
    given = {
        "iob1": ["I-A", "I-A", "B-A", "O", "I-B", "I-A"],
        "bio": ["B-A", "I-A", "B-A", "O", "B-B"],
        "bioes": ["B-A", "I-A", "E-A", "S-A", "S-B", "O"],
    }

    def entities(tags: list[str], how: Any) -> list[tuple]:
        return [one.to_tuple() for one in scheme.Entities([tags], how).entities[0]]

    for name, tags in given.items():
        assert scheme_of([tags]) == name
        assert entities(to_bio(tags, name)[0], scheme.IOB2) == entities(tags, cases[name])


def test_documents_and_malformed_tags(tmp_path: Path):
    text = "-DOCSTART- -X- O\n\nAnn N B-PER\nruns V O\n\nto P O\nRome N I-LOC\n\n-DOCSTART- -X- O\n\nBob N B-PER\n"
    path = write(tmp_path / "a.conll", text)
    with pytest.raises(DataError, match=r"a\.conll, row 7: the tag 'I-LOC' cannot stand after 'O' in bio; .*repair"):
        build("conll", path)
    built = build("conll", path, on_malformed="repair")
    assert built.notes == {"tags_repaired": 1, "sentences": 3}
    assert built.labels == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    assert {" ".join(row["words"]): (row["tags"], row["group"]) for row in built.train} == {
        "Ann runs": (["B-PER", "O"], "1:1"), "to Rome": (["O", "B-LOC"], "1:1"), "Bob": (["B-PER"], "1:2"),
    }  # fmt: skip
    assert len(build("conll", path, on_bad="drop").train) == 2


def test_lines_that_are_no_columns(tmp_path: Path):
    with pytest.raises(DataError, match="row 2: the line has 1 columns; 2 or more are expected"):
        build("conll", write(tmp_path / "a", "a B-X\nb\n"))
    with pytest.raises(DataError, match="row 1: the tag 'X' is neither O nor a prefix"):
        build("conll", write(tmp_path / "b", "a X\n"))


# -- questions ----------------------------------------------------------------------------------------------------------


def squad(path: Path, context: str, *questions: dict) -> str:
    content = {"data": [{"title": "T", "paragraphs": [{"context": context, "qas": list(questions)}]}]}
    return write(path, json.dumps(content))


def ask(name: str, text: str, start: int, **more: object) -> dict:
    return {"id": name, "question": "Q?", "answers": [{"text": text, "answer_start": start}], **more}


def test_questions_and_answers(tmp_path: Path):
    without = {"id": "n", "question": "Q?", "answers": [], "is_impossible": True}
    path = squad(
        tmp_path / "a.json", "Ann saw  Bob.", ask("1", "Ann", 0), ask("2", "saw Bob", 4), ask("3", " Bob", 8), without
    )
    built = build("squad", path)
    answers = {row["id"]: row["answers"] for row in built.train}
    assert answers == {
        "1": [{"text": "Ann", "start": 0}], "2": [{"text": "saw  Bob", "start": 4}], "3": [{"text": "Bob", "start": 9}], "n": [],
    }  # fmt: skip
    assert built.notes == {"answers_put_right": 2, "questions_without_an_answer": 1}
    assert built.train[0]["group"] == "T"
    for row in built.train:
        for answer in row["answers"]:
            assert row["context"][answer["start"] :].startswith(answer["text"])
    dropped = build("squad", path, unanswerable="drop")
    assert {row["id"] for row in dropped.train} == {"1", "2", "3"}
    assert dropped.notes == built.notes
    assert "1 questions without an answer are left out." in dropped.remarks


@pytest.mark.parametrize(
    ("question", "says"),
    [
        (ask("1", "Bob", 0), r"question 1: the context has 'Ann' at 0, and the answer is 'Bob'; it stands at 8"),
        (ask("1", "Eve", 0), "it stands nowhere in it"),
        (ask("1", " ", 0), "an answer is empty"),
        (ask("", "Ann", 0), "'id' is missing or empty"),
        ({"id": "1", "question": "Q?"}, "'answers' is missing"),
        (ask("1", "Ann", 0, is_impossible=True), "says is_impossible"),
    ],
)
def test_answers_that_cannot_be_used(tmp_path: Path, question: dict, says: str):
    path = squad(tmp_path / "a.json", "Ann saw Bob.", question, ask("ok", "saw", 4))
    with pytest.raises(DataError, match=says):
        build("squad", path)
    assert [row["id"] for row in build("squad", path, on_bad="drop").train] == ["ok"]


def test_an_answer_is_not_looked_for_elsewhere():
    assert locate("a", 3, "a b c a") is None
    assert locate("c a", 3, "a b c  a") == (4, 8)


# -- parallel text, folders ---------------------------------------------------------------------------------------------


def test_lines_that_are_translations(tmp_path: Path):
    en, de = write(tmp_path / "a.en", "dog\ncat\n"), write(tmp_path / "a.de", "Hund\nKatze\n")
    more = write(tmp_path / "b.de", "Köter\nKatze\n")
    rows = build("parallel", [en, de, more]).train
    assert {"source": "dog", "target": "Hund", "references": ["Hund", "Köter"]} in rows
    assert {"source": "cat", "target": "Katze"} in rows
    assert {"source": "dog", "target": "Hund"} in build(
        "parallel", write(tmp_path / "t.tsv", "dog\tHund\ncat\tKatze\n")
    ).train
    similar = build("parallel", [en, de, more], task="similarity")
    assert similar.task == "similarity"
    assert {"anchor": "dog", "positive": "Hund"} in similar.train
    with pytest.raises(DataError, match=r"not aligned: a\.en has 2 lines, c\.de has 3 lines"):
        build("parallel", [en, write(tmp_path / "c.de", "a\nb\nc\n")])
    with pytest.raises(DataError, match=r"a\.en, row 1: text 2 of 2 is empty"):
        build("parallel", [en, write(tmp_path / "d.de", "\nKatze\n")])
    assert len(build("parallel", [en, str(tmp_path / "d.de")], on_bad="drop").train) == 1


def test_a_folder_a_class(tmp_path: Path):
    for label, text in (("pos", "good\r\n"), ("neg", "bad")):
        write(tmp_path / "set" / "en" / label / "1.txt", text)
    write(tmp_path / "set" / "README", "no class")
    rows = build("folders", str(tmp_path / "set")).train
    assert {row["label"]: row["text"] for row in rows} == {"pos": "good", "neg": "bad"}
    write(tmp_path / "set" / "loose.txt", "x")
    with pytest.raises(DataError, match=r"loose.txt: the file lies in no folder"):
        build("folders", str(tmp_path / "set"))


def test_another_encoding_inside_an_archive(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x/1.txt", "plain")
        archive.writestr("y/1.txt", "naïve".encode("latin-1"))
    with pytest.raises(DataError, match=r"(?s)a\.zip!y/1\.txt: not UTF-8.*encoding: cp1252"):
        build("folders", str(tmp_path / "a.zip"))
    assert len(build("folders", str(tmp_path / "a.zip"), encoding="latin-1").train) == 2


def test_aligned_files_in_archives(tmp_path: Path):
    for name, text in (("en", "dog"), ("de", "Hund")):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            archive.writestr(f"a.{name}", text)
    both = [str(tmp_path / "en.zip"), str(tmp_path / "de.zip")]
    assert build("parallel", both).train == [{"source": "dog", "target": "Hund"}]
    write(tmp_path / "c" / "1", "a")
    write(tmp_path / "c" / "2", "b")
    with pytest.raises(DataError, match="does not say which of its files belong together"):
        build("parallel", [str(tmp_path / "c"), both[0]])


def test_damaged_files(tmp_path: Path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "a", "label": "x"}\n' * 1000)[:-30])
    with pytest.raises(DataError, match=r"a\.jsonl\.gz, byte 0: gzip data: it"):
        build("table", str(path))
    bad = write(tmp_path / "b.json", '{"data": 3}')
    with pytest.raises(DataError, match="question \\?: 'context' is missing"):
        build("squad", bad)
    with pytest.raises(DataError, match="no list 'data' at the top"):
        build("squad", write(tmp_path / "c.json", "[]"))
    with pytest.raises(DataError, match="The ending does not say what the file is"):
        build("table", write(tmp_path / "d.dat", "x"))
