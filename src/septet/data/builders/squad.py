"""Questions about a text and answers that stand in it, from JSON as in SQuAD 1.1 and 2.0 (Rajpurkar et al. 2016, 2018).

Questions without an answer have an empty list, or are left out (`unanswerable: drop`). An answer must stand in its context at
`answer_start`, counted in characters; where only white space differs it is put right and counted, and otherwise the question cannot
be used. A split keeps articles whole. `table` and `hub` read tables of such.

    septet dataset --builder '{kind: squad, train: train-v2.0.json, validation: dev-v2.0.json}'
    septet dataset --builder '{kind: squad, train: train-v2.0.json, unanswerable: drop}'
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from septet.data.answers import Answers, answers_in
from septet.data.builder import Row
from septet.data.divide import Found
from septet.data.parts import Gathered, PartsBuilder, Paths, Problems, files_of, whole_text

__all__ = ["Squad"]


class Squad(PartsBuilder):
    """Rows of questions, contexts and answers."""

    unanswerable: Literal["keep", "drop"] = "keep"
    """Questions without an answer: rows like others, as in SQuAD 2.0; or left out and counted, which makes a set as SQuAD 1.1."""

    def gather(self, parts: Mapping[str, Paths], problems: Problems) -> Gathered:
        """One row a question."""
        notes = {"answers_put_right": 0, "questions_without_an_answer": 0}
        rows = {part: list(self._rows(paths, problems, notes)) for part, paths in parts.items()}
        none = notes["questions_without_an_answer"]
        remarks = (
            [f"{none:,} questions without an answer are left out."] if none and self.unanswerable == "drop" else []
        )
        return Gathered("question-answering", rows, notes=notes, remarks=remarks)

    def _rows(self, paths: Paths, problems: Problems, notes: dict[str, int]) -> Iterator[Found]:
        seen: set[str] = set()
        for file in files_of(paths, problems):
            text = whole_text(file, problems, self.encoding)
            if text is None:
                continue
            try:
                articles = json.loads(text)["data"]
            except (ValueError, RecursionError) as error:
                problems(file.name, f"not JSON that can be read ({error})")
                continue
            except (KeyError, TypeError):
                problems(file.name, "no list 'data' at the top, as SQuAD files have")
                continue
            for article, paragraph, question in _questions(articles):
                place = f"{file.name}, question {_known(question, 'id') or '?'}"
                context, asked = _known(paragraph, "context"), _known(question, "question")
                name = _known(question, "id")
                missing = [key for key, value in (("context", context), ("question", asked), ("id", name)) if not value]
                if missing:
                    problems(place, f"{missing[0]!r} is missing or empty; text is expected")
                    continue
                if name in seen:
                    problems(place, "the id comes twice; ids must be unique")
                    continue
                seen.add(name)
                answers, moved, reason = _answers(question, context)
                if reason:
                    problems(place, reason)
                    continue
                notes["answers_put_right"] += moved
                notes["questions_without_an_answer"] += not answers
                if not answers and self.unanswerable == "drop":
                    continue
                row: Row = {"id": name, "question": asked, "context": context, "answers": answers}
                title = _known(article, "title")
                yield Found({**row, "group": title} if title else row, place)


def _questions(articles: Any) -> Iterator[tuple[Any, Any, Any]]:
    """(article, paragraph, question) of every question; what is no object comes as it is, for the checks to name."""
    for article in articles if isinstance(articles, list) else [articles]:
        paragraphs = article.get("paragraphs") if isinstance(article, dict) else None
        for paragraph in paragraphs if isinstance(paragraphs, list) else [None]:
            questions = paragraph.get("qas") if isinstance(paragraph, dict) else None
            for question in questions if isinstance(questions, list) else [None]:
                yield article, paragraph, question


def _known(value: Any, key: str) -> str:
    """A field that holds text, "" where it does not."""
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, str) and found.strip() else str(found) if type(found) is int else ""


def _answers(question: Any, context: str) -> tuple[Answers, int, str]:
    """The answers where they stand, how many were put right, and why they cannot be used, if they cannot."""
    given = question.get("answers")
    impossible = question.get("is_impossible", False)
    if not isinstance(given, list):
        return [], 0, "'answers' is missing; a list is expected, which is empty for a question without an answer"
    if impossible and given:
        return [], 0, "it has answers and says is_impossible"
    if not given and impossible is not True and "is_impossible" in question:
        return [], 0, "it has no answer and does not say is_impossible"
    return answers_in(given, context)
