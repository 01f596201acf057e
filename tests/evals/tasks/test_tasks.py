"""Tasks on a small real reader: a byte n-gram that reads, answers and prefers.

python -m pytest tests/evals/tasks
"""

from __future__ import annotations

import json
import math
import string
from pathlib import Path

import numpy as np
import pytest

from septet.core import registry
from septet.core.errors import ComponentError, DataError
from septet.data.documents import Document, write_documents
from septet.evals.baselines import ByteNgram, xz_bits
from septet.evals.judged import Judged
from septet.evals.reader import Reading
from septet.evals.scorers.bits_per_byte import BitsPerByte
from septet.evals.scorers.chrf import Chrf
from septet.evals.scorers.exact_match import ExactMatch
from septet.evals.scorers.perplexity import Perplexity
from septet.evals.scorers.preference_accuracy import PreferenceAccuracy
from septet.evals.scorers.squad import Squad
from septet.evals.task import Bench, Findings, Task
from septet.evals.tasks.answers import OTHER, Answers
from septet.evals.tasks.held_out_text import XZ, HeldOutText
from septet.evals.tasks.matching import Matching, bm25, ranks_of
from septet.evals.tasks.predictions import Predictions
from septet.evals.tasks.preferences import Preferences
from septet.evals.tasks.retrieval import Retrieval
from septet.infer.engine import Scored
from septet.infer.task import Predicted

WORDS = ["join", "split", "path", "open", "close", "file", "read", "write", "line", "text"]


class NgramReader:
    """A byte n-gram where a model is expected."""

    def __init__(self, texts: list[str], *, order: int) -> None:
        self.model, self.closed = ByteNgram(texts, order=order), 0

    def read(self, texts, *, stride, tell):
        tell(1, 1)
        return [
            Reading(float(bits) * math.log(2), len(text.encode()) + 1)
            for text, bits in zip(texts, self.model.bits(texts), strict=True)
        ]

    def answer(self, prompts, *, max_tokens, tell):
        tell(1, 1)
        return [prompt[-1]["content"][:max_tokens] for prompt in prompts]

    def predict(self, rows, *, tell):
        """The longest word of the passage, or the source as it is."""
        return [
            Predicted({"text": max(row["context"].split(), key=len)} if "context" in row else row["source"])
            for row in rows
        ]

    def vectors(self, texts, *, task, tell):
        """How often each letter stands in a text, at unit length."""
        counts = np.array([[text.count(letter) for letter in string.ascii_lowercase] for text in texts], float)
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)

    def prefer(self, pairs):
        return [Scored(-float(self.model.bits([said])[0]), len(said), False) for _, said in pairs]

    def note(self, stride):
        return "an n-gram"

    def close(self):
        self.closed += 1


def sentence(i: int) -> str:
    return " ".join(WORDS[(i * k + k) % 10] for k in range(1, 9)) + f" {i}."


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    train = [Document(id=f"m{i % 7}.f{i}", text=sentence(i), group=f"m{i % 7}") for i in range(60)]
    held = [Document(id=f"h{i % 4}.f{i}", text=sentence(i + 100), group=f"h{i % 4}") for i in range(20)]
    write_documents(tmp_path / "corpus" / "train.jsonl", train)
    write_documents(tmp_path / "corpus" / "held_out.jsonl", held)
    write_documents(tmp_path / "corpus" / "documents.jsonl", train + held)
    return tmp_path / "corpus"


def write_lines(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path.parent


def table(found: Findings) -> dict[tuple[str, str], object]:
    return {(figure.metric, figure.of): figure.estimate for figure in found.figures}


def test_held_out_text_charges_everybody_for_the_same_bytes(corpus: Path) -> None:
    train = [json.loads(line)["text"] for line in (corpus / "train.jsonl").open()]
    held = [json.loads(line)["text"] for line in (corpus / "held_out.jsonl").open()]
    size = sum(len(text.encode()) for text in held)
    readers = {"model": NgramReader(train, order=3), "base": NgramReader(train, order=5)}
    bench = Bench(readers=readers, inputs={"corpus": corpus}, scorers=[BitsPerByte(), Perplexity(), Chrf()])
    found = table(HeldOutText().run(bench))
    assert found["bits_per_byte", XZ].value == pytest.approx(xz_bits(train, held).total / size)
    by_hand = ByteNgram(train, order=5).bits(held).sum() / size
    assert found["bits_per_byte", "byte 5-gram"].value == pytest.approx(by_hand)
    # the base "model" is that very 5-gram, so nothing separates them, and the comparison is paired: no doubt at all
    same = found["bits_per_byte minus byte 5-gram", "base"]
    assert (same.value, same.low, same.high) == pytest.approx((0, 0, 0), abs=1e-9)
    worse = found["bits_per_byte minus byte 5-gram", "model"]
    assert worse.value == pytest.approx(found["bits_per_byte", "model"].value - by_hand)
    assert {estimate.n for estimate in found.values()} == {20}
    assert ("token_perplexity", XZ) not in found
    assert ("chrf", "model") not in found
    assert all(reader.closed for reader in readers.values())


def test_held_out_text_draws_by_seed_and_says_how_much(corpus: Path) -> None:
    bench = Bench(
        readers={"model": NgramReader(["a"], order=2)}, inputs={"corpus": corpus}, scorers=[BitsPerByte()], seed=3
    )
    first, again = HeldOutText(limit=300).run(bench), HeldOutText(limit=300).run(bench)
    assert first == again
    figure = first.figures[0]
    assert 1 < figure.estimate.n < 20
    assert f"{figure.estimate.n} of 20 held-out documents" in figure.note


def test_held_out_text_needs_both_parts(corpus: Path) -> None:
    (corpus / "held_out.jsonl").write_text("")
    with pytest.raises(DataError, match="held-out share"):
        HeldOutText().run(Bench(readers={}, inputs={"corpus": corpus}))


def questions(folder: Path, count: int = 12) -> Path:
    rows = [
        {
            "messages": [
                {"role": "user", "content": sentence(i)},
                {"role": "assistant", "content": sentence(i + 5 * (i % 2))},
            ],
            "document": f"h{i % 4}.f{i}",
            "kind": "what" if i < 9 else "which",
        }
        for i in range(count)
    ]
    return write_lines(folder / "data" / "held_out.jsonl", rows)


def test_answers_keep_samples_and_a_comparison_by_chance(corpus: Path, tmp_path: Path) -> None:
    readers = {"model": NgramReader(["a"], order=1), "before": NgramReader(["a"], order=1)}
    inputs = {"data": questions(tmp_path), "corpus": corpus}
    found = Answers(limit=10).run(Bench(readers=readers, inputs=inputs, scorers=[Chrf(), ExactMatch(), BitsPerByte()]))
    figures = table(found)
    # this "model" repeats the question, which is the answer to every even one
    assert figures["exact_match", "model"].value == sum(s["model"] == s["reference"] for s in found.samples) / 10
    assert figures["chrf", "model"].value > figures["chrf", OTHER].value
    assert figures["chrf minus before", "model"].value == 0
    assert len(found.samples) == 10
    sample = found.samples[0]
    assert set(sample) >= {"question", "reference", "model", "before", "scores", "kind"}
    assert sample["scores"]["chrf"]["chrf"] <= 100
    assert ("bits_per_byte", "model") not in figures


def test_answers_name_a_broken_row(tmp_path: Path) -> None:
    folder = write_lines(tmp_path / "data" / "held_out.jsonl", [{"messages": [{"role": "user", "content": "a"}]}])
    with pytest.raises(DataError, match=r"held_out\.jsonl, row 1: 'messages' must end"):
        Answers().run(Bench(readers={}, inputs={"data": folder}))
    folder = write_lines(tmp_path / "none" / "held_out.jsonl", [])
    with pytest.raises(DataError, match="no held-out questions"):
        Answers().run(Bench(readers={}, inputs={"data": folder}))


def test_preferences_are_paired_by_kind(tmp_path: Path) -> None:
    rows = [
        {
            "prompt": [{"role": "user", "content": "?"}],
            "chosen": "aaaa" if i % 3 else "zzzz",
            "rejected": "bbbb",
            "kind": ("weaker", "neighbour")[i % 2],
            "document": f"d{i}",
        }
        for i in range(12)
    ]
    folder = write_lines(tmp_path / "pairs" / "held_out.jsonl", rows)
    readers = {
        "model": NgramReader(["aaaa"] * 5 + ["bbbb"], order=2),
        "before": NgramReader(["bbbb"] * 5 + ["aaaa"], order=2),
    }
    found = Preferences().run(Bench(readers=readers, inputs={"pairs": folder}, scorers=[PreferenceAccuracy()]))
    figures = table(found)
    assert figures["preference_accuracy", "model"].value == pytest.approx(8 / 12)
    assert figures["preference_accuracy", "before"].value == 0
    assert figures["preference_accuracy, weaker", "model"].n == 6
    assert figures["preference_accuracy minus before", "model"].value == pytest.approx(8 / 12)
    note = next(f.note for f in found.figures if f.metric == "preference_accuracy minus before")
    assert note.startswith("8 pairs right only with the model, 0 only before; McNemar, exact, p = 0.0078")


def test_preferences_name_a_broken_row(tmp_path: Path) -> None:
    folder = write_lines(tmp_path / "pairs" / "held_out.jsonl", [{"prompt": [{}], "chosen": "a"}])
    with pytest.raises(DataError, match=r"row 1: .*rejected"):
        Preferences().run(Bench(readers={}, inputs={"pairs": folder}))


def test_retrieval_by_hand() -> None:
    def judged(ranks: dict, confidence: float, **more: object) -> Judged:
        gold = ["os.path.join"] if ranks else []
        return Judged("q", gold, ranks, confidence, more.pop("refused", False), **more)

    asked = [
        judged({"bm25": 1, "both": 1}, 0.9, correct=True, cited=["os.path.join"]),
        judged({"bm25": 4, "both": 2}, 0.6),
        judged({"bm25": None, "both": 5}, 0.2, refused=True),
        judged({"bm25": 20, "both": 1}, 0.8, correct=True),
        judged({}, 0.1, refused=True),
        judged({}, 0.7),
        judged({"bm25": None, "both": None}, 0.0, half="tune"),
    ]
    found = Retrieval(depths=(1, 5)).run(Bench(readers={}, judge=lambda: asked))
    figures = table(found)
    assert figures["recall@1", "bm25"].value == 1 / 4
    assert figures["recall@5", "bm25"].value == 2 / 4
    assert figures["recall@5", "both"].value == 1
    assert figures["mean_reciprocal_rank", "bm25"].value == pytest.approx((1 + 1 / 4 + 0 + 1 / 20) / 4)
    assert figures["mean_reciprocal_rank minus bm25", "both"].value == pytest.approx((1 + 0.5 + 0.2 + 1 - 1.3) / 4)
    assert figures["first_citation_accuracy", "answers"].value == 2 / 4
    # 0.9, 0.6, 0.2, 0.8 against 0.1, 0.7: wins 2 + 1 + 1 + 2 of 8
    assert figures["auroc_of_refusing", "answers"].value == pytest.approx(6 / 8)
    assert figures["refused, not in the documents", "answers"].value == 1 / 2
    assert figures["answered, in the documents", "answers"].value == 3 / 4
    assert len(found.samples) == 6
    with pytest.raises(ComponentError, match="no answerable question"):
        Retrieval().run(Bench(readers={}, judge=lambda: asked[-1:]))


@pytest.mark.parametrize("kind", registry.names("septet.evals.tasks"))
def test_every_task_round_trips_and_says_what_it_needs(kind: str) -> None:
    task = Task.parse(kind)
    assert Task.parse(task.dump()) == task
    assert task.needs
    assert registry.summary("septet.evals.tasks", kind)


def data_set(folder: Path, task: str, rows: list[dict], train: list[dict] | None = None) -> dict[str, Path]:
    write_lines(folder / "test.jsonl", rows)
    write_lines(folder / "train.jsonl", train or rows)
    (folder / "dataset.json").write_text(json.dumps({"task": task}))
    return {"data": folder}


def test_the_first_sentences_stand_beside_a_summary(tmp_path: Path) -> None:
    rows = [{"source": f"Join {i}. Split. Open! Close.", "target": f"Join {i}. Split. Open!"} for i in range(4)]
    inputs = data_set(tmp_path, "text-to-text", rows)
    figures = table(Predictions().run(Bench({"model": NgramReader(["a"], order=1)}, inputs, [ExactMatch(), Chrf()])))
    assert figures["exact_match", "lead-3"].value == 1
    assert figures["exact_match", "lead-1"].value == 0
    assert figures["chrf", "lead-1"].value < figures["chrf", "model"].value < figures["chrf", "lead-3"].value
    # a quarter of the training rows has each target, so the first of them is what one would guess
    assert figures["exact_match", "commonest"].value == 0.25
    single = [{"source": f"join {i}", "target": f"{i}"} for i in range(200)]
    inputs = data_set(tmp_path / "single", "text-to-text", single)
    figures = table(Predictions().run(Bench({"model": NgramReader(["a"], order=1)}, inputs, [ExactMatch()])))
    assert {of for _, of in figures} == {"model", "lead-1"}


def test_what_stands_beside_answers_in_a_passage(tmp_path: Path) -> None:
    passage = "The end. More of it."
    rows = [{"question": "Q?", "context": passage, "answers": [{"text": "end", "start": 4}]}] * 2
    rows += [{"question": "Q?", "context": passage, "answers": []}] * 3
    inputs = data_set(tmp_path, "question-answering", rows)
    figures = table(Predictions().run(Bench({"model": NgramReader(["a"], order=1)}, inputs, [Squad()])))
    assert (
        figures["exact_match", "lead-1"].value == figures["f1", "lead-1"].value == 2 / 5
    )  # articles and dots do not count
    assert figures["exact_match", "commonest"].value == 3 / 5  # that there is none


def test_matching_ranks_a_texts_own_partner_among_all(tmp_path: Path) -> None:
    rows = [
        {"anchor": "ab", "positive": "ba"},
        {"anchor": "zx zz", "positive": "zx cd"},
        {"anchor": "b", "positive": "ba"},
    ]
    inputs = data_set(tmp_path, "similarity", rows)
    readers = {"model": NgramReader(["a"], order=1), "before": NgramReader(["a"], order=1)}
    found = Matching(depths=(1,)).run(Bench(readers, inputs))
    figures = table(found)
    assert figures["recall@1", "model"].value == 1
    # "zx" is the only word that is shared; where none is, all candidates are equal, and the last place counts
    assert [row["ranks"]["bm25"] for row in found.samples] == [2, 1, 2]
    assert figures["mean_reciprocal_rank", "bm25"].value == pytest.approx(2 / 3)
    assert figures["mean_reciprocal_rank minus before", "model"].value == 0
    assert figures["mean_reciprocal_rank minus bm25", "model"].value == pytest.approx(1 / 3)
    assert "2 candidates; test rows" in found.figures[0].note
    assert Predictions().unsuited(inputs) == "the data is pairs of texts, for the task 'matching'"
    assert "gives no vectors" in Matching().unsuited(data_set(tmp_path / "other", "completion", rows))
    with pytest.raises(ComponentError, match="have the same positive"):
        Matching().run(Bench(readers, data_set(tmp_path / "one", "similarity", rows[:1])))


def test_ranks_and_words_by_hand() -> None:
    assert ranks_of(np.array([[3.0, 2.0, 2.0], [0.0, 0.0, 0.0]]), np.array([1, 0])).tolist() == [3, 3]
    scores = bm25(['of "ships" AND', "?"], ["a ship", "a car", "ships, shipped"])
    assert (scores[0] > 0).tolist() == [True, False, True]
    assert not scores[1].any()
