"""What the figures say, in plain sentences; a loss is said as plainly as a win.

"Better" and "worse" are said only where the interval of the paired difference leaves out zero.

What it is not: a grade. It repeats figures that stand in the tables.

    python -m pytest tests/ops/test_report.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from septet.ops.report.charts import number

__all__ = ["sentences", "side"]

Figure = Mapping[str, Any]


def side(figure: Figure) -> int:
    """Return 1 where a difference is an improvement, -1 where it is a deterioration, 0 where the interval holds zero."""
    low, high = figure["low"], figure["high"]
    if low is None or high is None or low <= 0 <= high:
        return 0
    return (1 if high < 0 else -1) if figure["lower_is_better"] else (1 if low > 0 else -1)


def sentences(figures: Sequence[Figure], names: Mapping[str, str]) -> list[str]:
    """Return the verdict, a sentence or two for each task that was run. `names` gives the step for model, before and base."""
    by = {(figure["task"], figure["metric"], figure["of"]): figure for figure in figures}
    return [*_text(by, names), *_predictions(by), *_matching(by), *_answers(by), *_preferences(by), *_retrieval(by)]


def _text(by: Mapping[tuple[str, str, str], Figure], names: Mapping[str, str]) -> list[str]:
    task = "held-out-text"
    ours = next((of for of in ("base", "model") if (task, "bits_per_byte", of) in by), None)
    if ours is None:
        return []
    own = by[task, "bits_per_byte", ours]
    who = (
        f"the pre-trained model ({names.get(ours, ours)})" if ours == "base" else f"the model ({names.get(ours, ours)})"
    )
    found, wins = [], []
    for (_, metric, of), change in by.items():
        if of == ours and metric.startswith("bits_per_byte minus "):
            other = metric.removeprefix("bits_per_byte minus ")
            rival = by.get((task, "bits_per_byte", other))
            if rival is None:
                continue
            word = {1: "wins against", -1: "loses to", 0: "cannot be told from"}[side(change)]
            wins.append(side(change))
            found.append(f"{word} {other} ({number(rival['value'])})")
    text = f"On text it has never seen, {who} needs {_full(own)} bits per byte"
    text += f": it {' and '.join(found)}." if found else "."
    if wins and min(wins) < 0:
        text += " A baseline that knows nothing of language models compresses this text better."
    if ours == "base" and (task, "bits_per_byte", "model") in by:
        after = by[task, "bits_per_byte", "model"]
        text += f" After fine-tuning and alignment ({names.get('model', 'model')}) it needs {_full(after)}."
    return [text]


MAIN = {
    "classification": ("accuracy", "labels are right for"),
    "multi-label": ("f1_micro", "labels have an F1 of"),
    "tagging": ("entity_f1", "entities have an F1 of"),
    "question-answering": ("f1", "answers have an F1 of"),
    "text-to-text": ("chrf", "texts have a chrF of"),
    "completion": ("exact_match", "completions are right for"),
    "regression": ("spearman", "numbers have a rank correlation of"),
}
"""By task the figure that the verdict names, and how."""


def _predictions(by: Mapping[tuple[str, str, str], Figure]) -> list[str]:
    found = []
    for task, (metric, words) in MAIN.items():
        own, plain, lead = (by.get((task, metric, of)) for of in ("model", "commonest", "lead-1"))
        if own is None:
            continue
        share = metric == "accuracy" or task == "completion"
        text = f"Its {words} {_percent(own) if share else _full(own)}{' of the rows' if share else ''} (n = {own['n']})"
        if plain is not None:
            text += f"; the commonest answer would have {_percent(plain) if share else _full(plain)}"
        if lead is not None:
            text += f"; the first sentence of what is read would have {_full(lead)}"
        found.append(text + ".")
    return found


def _matching(by: Mapping[tuple[str, str, str], Figure]) -> list[str]:
    own = by.get(("matching", "recall@1", "model"))
    if own is None:
        return []
    text = f"Its vectors put a text's own partner first for {_percent(own)} of the rows (n = {own['n']})"
    for of, words in (("before", "before fine-tuning"), ("bm25", "by the words that they share")):
        if (other := by.get(("matching", "recall@1", of))) is not None:
            text += f"; {words} {_percent(other)}"
    return [text + "."]


def _answers(by: Mapping[tuple[str, str, str], Figure]) -> list[str]:
    own, chance = by.get(("answers", "chrf", "model")), by.get(("answers", "chrf", "another answer"))
    if own is None:
        return []
    text = f"Its answers to held-out questions score chrF {_full(own)} of 100"
    if chance is None:
        return [text + "."]
    word = "the right answer to another question of the same kind scores"
    tail = "."
    if None not in (own["low"], own["high"], chance["low"], chance["high"]) and own["low"] <= chance["high"]:
        than = "worse" if own["high"] < chance["low"] else "no better"
        tail = f": by this measure the model's answers are {than} than well-formed words about something else."
    return [f"{text}; {word} {_full(chance)}{tail}"]


def _preferences(by: Mapping[tuple[str, str, str], Figure]) -> list[str]:
    own = by.get(("preferences", "preference_accuracy", "model"))
    if own is None:
        return []
    text = f"It finds the chosen answer likelier than the rejected one in {_percent(own)} of held-out pairs"
    before = by.get(("preferences", "preference_accuracy", "before"))
    change = by.get(("preferences", "preference_accuracy minus before", "model"))
    if before is None or change is None:
        return [text + "."]
    word = {1: "alignment raised it", -1: "alignment lowered it", 0: "the difference may be chance"}[side(change)]
    return [f"{text}, before alignment in {_percent(before)}: {word}."]


def _retrieval(by: Mapping[tuple[str, str, str], Figure]) -> list[str]:
    first = by.get(("retrieval", "first_citation_accuracy", "answers"))
    if first is None:
        return []
    text = f"The first citation is right for {_percent(first)} of the answerable test questions (n = {first['n']})"
    refuse = by.get(("retrieval", "auroc_of_refusing", "answers"))
    if refuse is not None:
        text += f"; they are told apart from questions that the documents do not cover with an AUROC of {_full(refuse)}"
    return [text + "."]


def _full(figure: Figure) -> str:
    if figure["low"] is None or figure["high"] is None:
        return number(figure["value"])
    return f"{number(figure['value'])} [{number(figure['low'])}, {number(figure['high'])}]"


def _percent(figure: Figure) -> str:
    scaled = {key: None if figure[key] is None else 100 * figure[key] for key in ("value", "low", "high")}
    if scaled["low"] is None or scaled["high"] is None:
        return f"{scaled['value']:.0f}%"
    return f"{scaled['value']:.0f}% [{scaled['low']:.0f}, {scaled['high']:.0f}]"
