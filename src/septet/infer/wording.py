"""How a row of a task is asked in words, and how an answer in words becomes a value again.

A row template names fields, as in `Text: {text}`, and the answer follows it. Braces inside a field's text stay as they are. The
rows are those of a dataset:

    classification       {"text", "label"}, and "pair" where two texts are compared
    tagging              {"words", "tags"} in BIO; written as `PER: Barack Obama; LOC: Paris`, or `none`
    question-answering   {"question", "context", "answers"}; no answer is written as `unanswerable`
    text-to-text         {"source", "target"}
    completion           {"prompt", "completion"}
    chat                 {"messages"}, the last by the assistant; as one text, each turn is a line with its role

What it is not: a chat template; that belongs to the model.

    python -m pytest tests/infer/test_in_context.py -k word
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from septet.core.errors import DataError, SeptetError, nearest

__all__ = ["Row", "Task", "Template", "Wording", "match_label", "read_tags", "write_tags"]

Row = Mapping[str, Any]
Task = Literal["classification", "tagging", "question-answering", "text-to-text", "completion", "chat"]

UNANSWERABLE, NOTHING = "unanswerable", "none"


class Template(BaseModel):
    """The words round the rows; what is None is the task's own."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    instruction: str | None = None
    """What comes first; `{labels}` stands for the labels' words. Empty: nothing."""
    row: str | None = None
    """A row as it is asked, with `{field}` for the row's fields; the answer follows it."""
    pair_row: str | None = None
    """The same for rows that have a `pair`."""
    separator: str = "\n\n"
    """Between instruction, examples and question, where they are one text."""
    words: dict[str, str] = {}
    """What stands for a label in the prompt, where it is not the label itself."""


@dataclass(frozen=True, slots=True)
class _Defaults:
    instruction: str
    row: str
    fields: tuple[str, ...]
    stop: tuple[str, ...]
    before: str = " "
    pair_row: str = ""


DEFAULTS: dict[str, _Defaults] = {
    "classification": _Defaults(
        "Say which label fits the text: {labels}.",
        "Text: {text}\nLabel:",
        ("text",),
        ("\n",),
        pair_row="First text: {text}\nSecond text: {pair}\nLabel:",
    ),
    "tagging": _Defaults(
        "List the names in each sentence with their type, one of {labels}, as in `TYPE: name; TYPE: name`, or write none.",
        "Sentence: {words}\nNames:",
        ("words",),
        ("\n",),
    ),
    "question-answering": _Defaults(
        "Answer each question with words of the passage. Where the passage has no answer, write unanswerable.",
        "Passage: {context}\nQuestion: {question}\nAnswer:",
        ("question", "context"),
        ("\n",),
    ),
    "text-to-text": _Defaults(
        "Write the output for each input.", "Input: {source}\nOutput:", ("source",), ("\n\n", "\nInput:")
    ),
    "completion": _Defaults("", "{prompt}", ("prompt",), (), before=""),
    "chat": _Defaults("", "", ("messages",), ("\nUser:",)),
}


class Wording:
    """The words of one task. labels: of a classification; of tagging the types, with or without B- and I-."""

    def __init__(self, task: Task, template: Template, labels: Sequence[str] = ()) -> None:
        self.task, self.template, self._own = task, template, DEFAULTS[task]
        if task == "tagging":
            labels = list(dict.fromkeys(label[2:] if label[:2] in ("B-", "I-") else label for label in labels))
            labels = [label for label in labels if label != "O"]
        self.labels = list(labels)
        self.words = {label: template.words.get(label, label).strip() for label in labels}
        self.before = self._own.before
        unknown = sorted(set(template.words) - set(self.labels))
        if unknown:
            raise SeptetError(
                f"template.words names '{unknown[0]}', which is no label.{nearest(unknown[0], self.labels)}"
            )
        if len(set(self.words.values())) < len(self.words) or not all(self.words.values()):
            raise SeptetError(f"Every label needs words of its own in template.words; these are {self.words}.")

    @property
    def instruction(self) -> str:
        given = self.template.instruction
        text = self._own.instruction if given is None else given
        return text.replace("{labels}", ", ".join(self.words.values()))

    @property
    def stop(self) -> tuple[str, ...]:
        """What ends a generated answer where the prompt is one text."""
        return self._own.stop or ((self.template.separator,) if self.template.separator else ())

    def check(self, row: Row, number: int, *, answered: bool) -> None:
        """Raise DataError for a row that lacks a field, or an answer that is none of the labels. number: from 1."""
        fields = {
            "classification": "label",
            "tagging": "tags",
            "question-answering": "answers",
            "text-to-text": "target",
            "chat": "messages",
        }
        wanted = [*self._own.fields, *([fields.get(self.task, "completion")] if answered else [])]
        for field in wanted:
            expected = list if field in ("words", "tags", "answers", "messages") else str
            if not isinstance(row.get(field), expected):
                raise DataError(
                    f"'{field}' is missing or no {'text' if expected is str else 'list'}.", row=number, file="rows"
                )
        if answered and self.task == "classification" and row["label"] not in self.words:
            raise DataError(
                f"the label '{row['label']}' is not among those to choose from.{nearest(row['label'], self.words)}",
                row=number,
                file="rows",
            )

    def key(self, row: Row) -> str:
        """Return the text by which rows are compared."""
        if self.task == "tagging":
            return " ".join(row["words"])
        if self.task == "chat":
            return "\n".join(turn["content"] for turn in row["messages"][:-1])
        text = row[self._own.fields[0]]
        return f"{text}\n{row['pair']}" if row.get("pair") is not None else text

    def ask(self, row: Row) -> str:
        """Return the row as it is asked."""
        if self.task == "chat" and not self.template.row:
            turns = [f"{turn['role'].capitalize()}: {turn['content']}" for turn in row["messages"][:-1]]
            return "\n".join([*turns, "Assistant:"])
        paired = self.task == "classification" and row.get("pair") is not None
        given, own = (self.template.pair_row, self._own.pair_row) if paired else (self.template.row, self._own.row)
        template = own if given is None else given

        def field(found: re.Match[str]) -> str:
            value = row.get(found[1])
            if value is None:
                hint = nearest(found[1], [name for name in row if isinstance(row[name], str | list)])
                raise SeptetError(f"The template asks for {{{found[1]}}}, which the row does not have.{hint}")
            return " ".join(map(str, value)) if isinstance(value, list) else str(value)

        return re.sub(r"\{(\w+)\}", field, template)

    def without_content(self, row: Row, text: str) -> Row:
        """Return the row with `text` in place of what it says."""
        return {**row, **{name: text for name in (*self._own.fields, "pair") if row.get(name) is not None}}

    def answer(self, row: Row) -> str:
        """Return a row's right answer in words."""
        if self.task == "classification":
            return self.words[row["label"]]
        if self.task == "tagging":
            return write_tags(row["words"], row["tags"], self.words)
        if self.task == "question-answering":
            return row["answers"][0]["text"] if row["answers"] else UNANSWERABLE
        if self.task == "chat":
            return row["messages"][-1]["content"]
        return row["target" if self.task == "text-to-text" else "completion"]

    def read(self, text: str, row: Row) -> tuple[Any, bool]:
        """Return the value of an answer in words, and whether all of it was understood.

        classification: a label, or None. tagging: tags. question-answering: a text, empty for no answer. Else the text.
        """
        if self.task == "classification":
            label = match_label(text, self.words)
            return label, label is not None
        if self.task == "tagging":
            return read_tags(text, row["words"], self.words)
        if self.task == "question-answering":
            text = text.strip()
            return ("" if _plain(text) == UNANSWERABLE else text), True
        return (text if self.task == "completion" else text.strip()), True


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).strip(string.punctuation + string.whitespace)


def match_label(text: str, words: Mapping[str, str]) -> str | None:
    """Return the label that an answer names, or None.

    The answer begins with the label's words, letter case and punctuation before them aside (the longest words that it begins with);
    else the words of exactly one label stand somewhere in it. Words are matched whole.
    """
    answer = " ".join(text.casefold().split())
    folded = {label: " ".join(said.casefold().split()) for label, said in words.items()}

    def stands(said: str, at: str) -> bool:
        return re.search(rf"{at}(?<!\w){re.escape(said)}(?!\w)", answer) is not None

    first = [label for label, said in folded.items() if stands(said, r"^\W*")]
    if first:
        return max(first, key=lambda label: len(folded[label]))
    found = [label for label, said in folded.items() if stands(said, "")]
    return found[0] if len(found) == 1 else None


def write_tags(words: Sequence[str], tags: Sequence[str], types: Mapping[str, str]) -> str:
    """Return the entities of a tagged sentence as `TYPE: its words; TYPE: its words`, or `none`."""
    entities: list[tuple[str, list[str]]] = []
    before = "O"
    for word, tag in zip(words, tags, strict=True):
        if tag != "O":
            begins = tag[:2] == "B-" or before == "O" or before[2:] != tag[2:]
            if begins:
                entities.append((tag[2:], []))
            entities[-1][1].append(word)
        before = tag
    return "; ".join(f"{types.get(type, type)}: {' '.join(said)}" for type, said in entities) or NOTHING


def read_tags(text: str, words: Sequence[str], types: Mapping[str, str]) -> tuple[list[str], bool]:
    """Return BIO tags from the text that `write_tags` writes, and whether every entity in it was found among the words.

    An entity is looked for after the one before it, then from the beginning; letter case aside. What is not found tags nothing.
    """
    tags, after, understood = ["O"] * len(words), 0, True
    known = {_plain(said): type for type, said in types.items()}
    folded = [word.casefold() for word in words]
    if _plain(text) in (NOTHING, ""):
        return tags, bool(text.strip())
    for part in text.strip().split(";"):
        said, _, name = part.partition(":")
        type, wanted = known.get(_plain(said)), name.casefold().split()
        places = [*range(after, len(words)), *range(after)]
        at = next(
            (
                n
                for n in places
                if folded[n : n + len(wanted)] == wanted and all(tag == "O" for tag in tags[n : n + len(wanted)])
            ),
            None,
        )
        if not part.strip():
            continue
        if type is None or not wanted or at is None:
            understood = False
            continue
        after = at + len(wanted)
        tags[at:after] = [f"B-{type}", *[f"I-{type}"] * (len(wanted) - 1)]
    return tags, understood
