"""Rows of questions and answers.

python -m pytest tests/data/test_builders.py
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from septet.core.errors import DataError
from septet.data.builder import Builder
from septet.data.builders.docs_questions import base_form, first_sentences, parameters
from septet.data.documents import Document


def entry(name: str, doc: str, signature: str = "", kind: str = "function", **fields) -> Document:
    meta = {"type": kind, "signature": signature, "doc": doc}
    return Document(id=name, name=name, text=f"{name}\n\n{doc}", meta=meta, **fields)


DOCS = [
    entry("os.path.join", "Join two or more pathname components, inserting '/' as needed.\nMore.", "join(a, *p)"),
    entry("os.getcwd", "Return a unicode string representing the current working directory.", "getcwd()"),
    entry("m.Stack", "A list-like sequence with a top.", "Stack(items=())", kind="class"),
    entry("m._hidden", "Hide something from view here.", public=False),
    entry("m.a", "Return a copy of the object.", "a()"),
    entry("m.b", "Return a copy of the object.", "b()"),
    entry("m.table", "=====\n-----"),
]


def rows_of(docs, **fields):
    return Builder.parse({"kind": "docs-questions", **fields}).build(docs, [], seed=0).train


def test_questions_from_documentation():
    rows = rows_of(DOCS)
    answers = {(row["document"], row["kind"]): row["messages"][1]["content"] for row in rows}
    assert answers["os.path.join", "what"] == "Join two or more pathname components, inserting '/' as needed. More."
    assert answers["os.path.join", "which"] == "os.path.join"
    assert answers["os.path.join", "parameters"] == (
        "os.path.join(a, *p) takes a and any number of further values (*p)."
    )
    assert not any(document in ("m._hidden", "m.table") for document, _ in answers)
    for row in rows:
        assert [message["role"] for message in row["messages"]] == ["user", "assistant"]
        assert len(row["messages"][1]["content"].split()) <= 60
        assert "{" not in row["messages"][0]["content"]


def test_a_which_question_has_one_answer():
    which = {row["document"] for row in rows_of(DOCS) if row["kind"] == "which"}
    assert which == {"os.path.join", "os.getcwd", "m.Stack"}
    for row in rows_of(DOCS):
        if row["kind"] == "which":
            assert row["document"] not in row["messages"][0]["content"]


def test_held_out_rows_come_from_held_out_documents():
    built = Builder.parse("docs-questions").build(DOCS[:2], DOCS[2:], seed=0)
    assert {row["document"] for row in built.train} == {"os.path.join", "os.getcwd"}
    assert {row["document"] for row in built.held_out} <= {"m.Stack", "m.a", "m.b"}
    assert built.notes == {"documents_without_an_answer": 1}


def test_the_seed_decides():
    builder = Builder.parse("docs-questions")
    many = [entry(f"m.f{i}", f"Return the number {i} of the sequence here.", f"f{i}(x)") for i in range(50)]
    assert builder.build(many, [], seed=1) == builder.build(many[::-1], [], seed=1)
    assert builder.build(many, [], seed=1).train != builder.build(many, [], seed=2).train
    assert len(rows_of(many, per_document=1)) == 50


def test_text_without_signatures_is_asked_what_it_says():
    docs = [
        entry("Guide > Use", "Open the lid first.", kind="section"),
        Document(id="r:1", name="r:1", text="Whales are mammals that live in the sea."),
    ]  # fmt: skip
    answers = {(row["document"], row["kind"]): row["messages"][1]["content"] for row in rows_of(docs)}
    assert answers["Guide > Use", "what"] == "Open the lid first."
    assert answers["Guide > Use", "which"] == "Guide > Use"
    assert answers["r:1", "what"] == "Whales are mammals that live in the sea."
    assert {kind for _, kind in answers} == {"what", "which"}


@pytest.mark.parametrize(
    ("text", "most", "expected"),
    [
        ("Join paths. Then more. And more.", 6, "Join paths. Then more. And more."),
        ("Join paths now. Then very much more than fits here.", 5, "Join paths now."),
        ("Use e.g. this one or i.e. that. Next.", 9, "Use e.g. this one or i.e. that. Next."),
        ("x\n\nThe second paragraph is prose.", 9, "The second paragraph is prose."),
        (">>> f(1)\n2", 9, ""),
        ("range(stop) -> range object\n\nReturn an object of numbers.", 9, "Return an object of numbers."),
        ("A first part with quite many words inside it, and a second one that does not fit", 12,
         "A first part with quite many words inside it."),
        ("No end", 9, ""),
        ("The options are as follows:", 9, "The options are as follows."),
        ("", 9, ""),
    ],
)  # fmt: skip
def test_first_sentences(text: str, most: int, expected: str):
    assert first_sentences(text, max_words=most) == expected


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        ("f(a, /, b=1, *, key=None, **rest)",
         "m.f(a, b, *, key, **rest) takes a, b (default 1), key (by name only, default None)"
         " and any further named values (**rest)."),
        ("f(x: int = 0) -> str", "m.f(x) takes x (default 0)."),
        ("f()", "m.f() takes no parameters."),
        ("f(format, v1, v2, ...) -> bytes", "Call it as m.f(format, v1, v2, ...)."),
        ("", ""),
        ("f", ""),
    ],
)  # fmt: skip
def test_parameters(signature: str, expected: str):
    assert parameters("m.f", signature, max_words=40) == expected


def test_base_form():
    words = "Returns Return Copies Matches Closes Process Sequence This Class"
    assert [base_form(word) for word in words.split()] == [
        "return", "return", "copy", "match", "close", "process", "", "", "",
    ]  # fmt: skip


# -- one's own rows -------------------------------------------------------------------------------------------------


def own(path: Path, *items: object, share: float = 0.0):
    path.write_text("".join(json.dumps(item) + "\n" for item in items), encoding="utf-8")
    return Builder.parse({"kind": "jsonl", "path": str(path), "held_out_share": share}).build([], [], seed=0)


def test_every_form_of_rows(tmp_path: Path):
    def turns(a, b):
        return [{"role": "user", "content": a}, {"role": "assistant", "content": b}]

    built = own(
        tmp_path / "r.jsonl",
        {"messages": [{"role": "system", "content": "S"}, *turns("q", "a")]},
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
        {"instruction": "Do", "input": "this", "output": "done"},
        {"instruction": "Do", "input": "", "output": "done"},
        {"prompt": "p", "completion": "c<|endoftext|>"},
        {"prompt": "p", "response": "c"},
        {"question": "q", "answer": "a"},
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "q"}]},
                {"role": "assistant", "content": "a"},
            ]
        },
    )
    assert [row["messages"] for row in built.train] == [
        [{"role": "system", "content": "S"}, *turns("q", "a")],
        turns("q", "a"), turns("Do\n\nthis", "done"), turns("Do", "done"), turns("p", "c"), turns("p", "c"),
        turns("q", "a"), turns("q", "a"),
    ]  # fmt: skip
    assert built.train[2]["document"] == "r.jsonl:3"
    assert built.notes == {"rows_with_reserved_tokens": 1}


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"instruction": "x", "outptu": "y"}, "The field 'output' is missing.*Did you mean 'outptu'"),
        ({"text": "x"}, "The row has the fields .*text.*Expected are messages"),
        ({"prompt": "x", "completion": " "}, "'completion' is empty"),
        ({"prompt": "x", "completion": 3}, "'completion' holds int"),
        ({"messages": []}, "'messages' must be a list"),
        ({"messages": [{"role": "user"}]}, r"messages\[0\] must be an object with 'role' and 'content'"),
        ({"messages": [{"role": "user", "content": "x"}]}, "last, an answer by the assistant"),
        ({"conversations": [{"from": "observation", "value": "x"}]}, "role 'observation'"),
        ({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y", "tool_calls": [1]}]}, "calls tools"),
        ({"conversations": [{"from": "human", "value": "x"}, {"from": "system", "value": "s"}, {"from": "gpt", "value": "y"}]},
         "system message stands after"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}, {"role": "assistant", "content": "y"}]}, "holds list"),
    ],
)  # fmt: skip
def test_rows_that_are_no_questions(tmp_path: Path, row: dict, says: str):
    with pytest.raises(DataError, match=f"r.jsonl, row 2: .*{says}"):
        own(tmp_path / "r.jsonl", {"question": "q", "answer": "a"}, row)


def test_no_rows(tmp_path: Path):
    with pytest.raises(DataError, match="holds no rows"):
        own(tmp_path / "r.jsonl")


def test_equal_rows_fall_on_one_side(tmp_path: Path):
    items = [{"question": f"q{i % 50}", "answer": "a"} for i in range(200)]
    built = own(tmp_path / "r.jsonl", *items, share=0.3)
    sides = [{json.dumps(row["messages"]) for row in side} for side in (built.train, built.held_out)]
    assert not sides[0] & sides[1]
    assert 20 < len(built.held_out) < 110
    assert len(built.train) + len(built.held_out) == 200


@pytest.mark.parametrize(
    ("file", "count"),
    [
        ("alpaca_sample/alpaca_en_demo.json.gz", 1000),
        ("chat_and_persona/dummy_conversation.json.gz", 500),
        ("dolly_hhrlhf_small/dolly_hhrlhf_train_small.jsonl.gz", 100),
        ("gsm8k/test.jsonl.gz", 1319),
    ],
)
def test_real_rows(real_data: Path, file: str, count: int):
    builder = Builder.parse({"kind": "jsonl", "path": str(real_data / "sft" / file)})
    built = builder.build([], [], seed=0)
    total = len(built.train) + len(built.held_out)
    assert 0.5 * count <= total <= 20 * count
    assert 0.02 < len(built.held_out) / total < 0.2
    assert all(row["messages"][-1]["role"] == "assistant" for row in built.train)


def test_real_rows_that_call_tools_are_refused(real_data: Path):
    path = real_data / "sft" / "tool_calling" / "glaive_toolcall_en_demo.json.gz"
    with pytest.raises(DataError, match=r"glaive_toolcall_en_demo\.json\.gz, row \d+: .*role 'function_call'"):
        Builder.parse({"kind": "jsonl", "path": str(path)}).build([], [], seed=0)
