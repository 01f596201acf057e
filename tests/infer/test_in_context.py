"""In-context learning: what is asked, which examples are shown, how labels are chosen and calibrated, and what does not fit.

python -m pytest tests/infer/test_in_context.py
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from pydantic import ValidationError
from tests.infer.faulty import Reply, Seen, faulty, whole
from tiny_chat import tiny_module, tiny_tokenizer

from septet.core.errors import SeptetError
from septet.infer.askings.in_context import InContext
from septet.infer.calibration import calibrate, probabilities
from septet.infer.choosing import Chooser, Pool
from septet.infer.engine import Answer, ContextError, Engine, EngineError, Request, Scored, Stream, most_tokens
from septet.infer.engines.remote import Remote
from septet.infer.engines.torch import TorchEngine
from septet.infer.wording import Template, Wording, match_label, read_tags, write_tags

REVIEWS = [
    {"text": "a good film", "label": "positive"},
    {"text": "a bad film", "label": "negative"},
    {"text": "warm, funny and wise", "label": "positive"},
    {"text": "dull and far too long", "label": "negative"},
]


@pytest.fixture(scope="module")
def tiny():
    with TorchEngine(tiny_module(context=512), tiny_tokenizer(), name="tiny") as engine:
        yield engine


class Says(Engine):
    """Writes what the test says; keeps what it was asked."""

    can = frozenset({"generate"})
    name = "says"

    def __init__(self, *texts: str, context: int = 0) -> None:
        self.texts, self.context, self.asked = list(texts), context, []

    def submit(self, request: Request) -> Stream:
        raise AssertionError("many rows are asked together")

    def generate_batch(self, requests: Sequence[Request], *, batch_size: int = 32) -> list[Answer]:
        start = len(self.asked)
        self.asked += requests
        return [Answer(self.texts[n % len(self.texts)], 1, 1, "stop") for n in range(start, start + len(requests))]

    def close(self) -> None:
        pass


# -- words ------------------------------------------------------------------------------------------------------------


def test_the_words_of_a_classification_prompt() -> None:
    (prompt,) = InContext(task="classification", k=2, examples={"kind": "balanced", "seed": 1}).prompt(
        [{"text": "so {moving}"}], examples=REVIEWS
    )
    assert isinstance(prompt, str)
    head, first, second, last = prompt.split("\n\n")
    assert head == "Say which label fits the text: negative, positive."
    assert {first.split("\nLabel: ")[1], second.split("\nLabel: ")[1]} == {"positive", "negative"}
    assert last == "Text: so {moving}\nLabel:"


def test_words_of_chat_turns_pairs_and_ones_own_template() -> None:
    rows = [{"text": "a", "pair": "b", "label": "1"}, {"text": "c", "pair": "d", "label": "0"}]
    template = Template(instruction="Same? {labels}", pair_row="{text}|{pair}?", words={"0": "no", "1": "yes"})
    method = InContext(task="classification", k=1, form="chat", template=template)
    (prompt,) = method.prompt([{"text": "e", "pair": "f"}], examples=rows[:1], labels=["0", "1"])
    assert prompt == [
        {"role": "system", "content": "Same? no, yes"},
        {"role": "user", "content": "a|b?"},
        {"role": "assistant", "content": "yes"},
        {"role": "user", "content": "e|f?"},
    ]
    plain = InContext(task="classification", k=0).prompt([{"text": "e", "pair": "f"}], labels=["0", "1"])
    assert plain == ["Say which label fits the text: 0, 1.\n\nFirst text: e\nSecond text: f\nLabel:"]


@pytest.mark.parametrize(
    ("task", "example", "row", "expected"),
    [
        (
            "question-answering",
            {"id": "1", "question": "Who?", "context": "Ann came.", "answers": [{"text": "Ann", "start": 0}]},
            {"id": "2", "question": "When?", "context": "Ann came.", "answers": []},
            "Passage: Ann came.\nQuestion: Who?\nAnswer: Ann\n\nPassage: Ann came.\nQuestion: When?\nAnswer:",
        ),
        (
            "text-to-text",
            {"source": "ein Hund", "target": "a dog"},
            {"source": "eine Katze"},
            "Input: ein Hund\nOutput: a dog\n\nInput: eine Katze\nOutput:",
        ),
        ("completion", {"prompt": "1 2", "completion": " 3"}, {"prompt": "4 5"}, "1 2 3\n\n4 5"),
        (
            "tagging",
            {"words": ["Ann", "Lee", "went"], "tags": ["B-PER", "I-PER", "O"]},
            {"words": ["Bob", "slept"]},
            "Sentence: Ann Lee went\nNames: PER: Ann Lee\n\nSentence: Bob slept\nNames:",
        ),
    ],
)
def test_the_words_of_other_tasks(task: Any, example: dict, row: dict, expected: str) -> None:
    method = InContext(task=task, k=1, template=Template(instruction=""))
    assert method.prompt([row], examples=[example]) == [expected]


def test_word_answers_become_values_again() -> None:
    words = {"pos": "positive", "neg": "negative", "very": "very positive"}
    for text, label in (
        (" Positive.", "pos"),
        ("**very positive**", "very"),
        ("Very positive, I think", "very"),
        ("negative - it is not positive", "neg"),
        ("I would call it negative!", "neg"),
        ("either negative or positive", None),
        ("nonnegative", None),
        ("", None),
    ):
        assert match_label(text, words) == label, text
    assert match_label("C++ of course", {"c": "C", "c++": "c++", "d": "d"}) == "c++"
    qa = Wording("question-answering", Template())
    assert qa.read(" Unanswerable. ", {}) == ("", True)
    assert qa.read(" in 1907\n", {}) == ("in 1907", True)


def test_word_tags_there_and_back() -> None:
    types = {"PER": "person", "LOC": "LOC"}
    words = ["Ann", "Lee", "left", "Rome", "with", "Ann", "Roth", "."]
    tags = ["B-PER", "I-PER", "O", "B-LOC", "O", "B-PER", "I-PER", "O"]
    text = "person: Ann Lee; LOC: Rome; person: Ann Roth"
    assert write_tags(words, tags, types) == text
    assert read_tags(f" {text}\n", words, types) == (tags, True)
    # beside one another: B- begins anew
    assert write_tags(["Ann", "Bob"], ["B-PER", "B-PER"], types) == "person: Ann; person: Bob"
    assert read_tags("Person: ANN LEE; LOC: Paris; place: Rome", words, types) == (["B-PER", "I-PER", *"OOOOOO"], False)
    assert read_tags("none.", words, types) == (["O"] * 8, True)
    assert read_tags("", words, types) == (["O"] * 8, False)
    # the second Ann is the one after the first
    found, understood = read_tags("person: Ann; person: Ann", words, types)
    assert (found.index("B-PER"), found[5], understood) == (0, "B-PER", True)


# -- examples ---------------------------------------------------------------------------------------------------------


def choose(kind: Any, pool: Pool, queries: list[str], k: int) -> list[list[int]]:
    return Chooser.parse(kind).choose(pool, queries, k)


def test_choose_at_random_and_balanced() -> None:
    labels = ["a"] * 90 + ["b"] * 8 + ["c"] * 2
    pool = Pool([f"text {n}" for n in range(100)], labels)
    first, second = choose({"kind": "random", "seed": 3}, pool, ["x", "y"], 5)
    assert first == second, "one prompt for all"
    assert len(set(first)) == 5
    assert choose({"kind": "random", "seed": 4}, pool, ["x"], 5) != [first]
    for k, counts in ((3, [1, 1, 1]), (6, [2, 2, 2]), (12, [2, 5, 5])):
        (found,) = choose("balanced", pool, ["x"], k)
        assert sorted(sum(labels[place] == label for place in found) for label in "abc") == counts
    assert len({labels[place] for place in choose("balanced", pool, ["x"], 2)[0]}) == 2
    with pytest.raises(EngineError, match="balanced chooses by class"):
        choose("balanced", Pool(["a"]), ["x"], 1)


def test_choose_similar_by_words_and_by_vectors() -> None:
    texts = ["the red apple", "a fast train", "the green apple", "red wine"]
    (found,) = choose("similar", Pool(texts), ["red apple pie"], 4)
    assert found[0] == 0
    assert found[3] == 1, "no word in common"
    # by hand: vectors on a circle, the query at 0 degrees
    angles = {"q": 0, "a": 80, "b": 10, "c": 45, "d": 180}

    def embed(texts: Sequence[str]) -> np.ndarray:
        turned = [math.radians(angles[text]) for text in texts]
        return 3 * np.array([[math.cos(angle), math.sin(angle)] for angle in turned])

    pool = Pool(["a", "b", "c", "d"], embed=embed)
    assert choose("similar", pool, ["q"], 3) == [[1, 2, 0]]
    np.testing.assert_allclose(
        list(pool.likeness(["q"])), [[math.cos(math.radians(x)) for x in (80, 10, 45, 180)]], atol=1e-12
    )


def test_choose_diverse_takes_one_of_each_cluster_the_largest_first() -> None:
    points = {
        "a1": (0, 1.0),
        "a2": (0.1, 1.0),
        "a3": (-0.1, 1.0),
        "b1": (1.0, 0),
        "b2": (1.0, 0.05),
        "c1": (-1.0, -1.0),
    }
    pool = Pool(list(points), embed=lambda texts: np.array([points[text] for text in texts], float))
    (found,) = choose("diverse", pool, ["b9"], 3)
    assert found[0] == 0, "of the largest cluster, the one at its centre"
    assert found[1] in (3, 4)
    assert found[2] == 5
    assert choose("diverse", pool, ["a1"], 3)[0][0] in (1, 2), "not the query itself"
    same = Pool(["x"] * 5 + ["y"])
    assert len(choose("diverse", same, ["z"], 3)[0]) == 3, "fewer different texts than clusters"


@pytest.mark.parametrize("kind", ["random", "balanced", "similar", "diverse"])
def test_choose_never_shows_the_query_itself(kind: str) -> None:
    texts = [row["text"] for row in REVIEWS]
    pool = Pool(texts, [row["label"] for row in REVIEWS])
    for k in (1, 2, 4):
        for query, found in zip(texts, choose(kind, pool, texts, k), strict=True):
            assert len(found) == min(k, 3)
            assert len(set(found)) == len(found)
            assert query not in [texts[place] for place in found]


def test_order() -> None:
    texts = ["aa bb", "aa", "cc", "aa bb cc"]
    rows = [{"source": text, "target": "t"} for text in texts]

    def shown(**fields: Any) -> list[str]:
        template = Template(instruction="", row="{source}>", separator="|")
        method = InContext(task="text-to-text", k=4, template=template, **fields)
        (prompt,) = method.prompt([{"source": "aa bb xx"}], examples=rows)
        return [part.split(">")[0] for part in str(prompt).split("|")]

    nearest_first = shown(examples="similar")
    assert nearest_first[0] == "aa bb"
    assert nearest_first[3] == "cc"
    assert shown(examples="similar", order="similar-last") == [*nearest_first[3::-1], "aa bb xx"]
    assert shown(order="similar-last")[3] == "aa bb", "whoever chose them"
    orders = {tuple(shown(order="random", seed=seed)) for seed in range(8)}
    assert len(orders) > 3
    assert shown(order="random", seed=1) == shown(order="random", seed=1)


# -- likelihoods and calibration --------------------------------------------------------------------------------------


def test_probabilities_worked_by_hand() -> None:
    # logprobs -2 over 1 token, -3 over 3: by sum e^-2 : e^-3 = 1 : 0.3679; by length e^-2 : e^-1 = 0.3679 : 1
    scored = [Scored(-2.0, 1, False), Scored(-3.0, 3, False)]
    np.testing.assert_allclose(probabilities(scored, by_length=False), [0.73106, 0.26894], atol=1e-5)
    np.testing.assert_allclose(probabilities(scored, by_length=True), [0.26894, 0.73106], atol=1e-5)


def test_calibration_worked_by_hand() -> None:
    # p = (.6, .4) and without content (.8, .2): .6/.8 = .75, .4/.2 = 2; 0.75 / 2.75 = 3/11
    np.testing.assert_allclose(calibrate(np.array([[0.6, 0.4]]), np.array([0.8, 0.2])), [[3 / 11, 8 / 11]])
    # a batch (.9, .1), (.6, .4): mean (.75, .25): 1.2 : 0.4 and 0.8 : 1.6
    p_NL = np.array([[0.9, 0.1], [0.6, 0.4]])
    np.testing.assert_allclose(calibrate(p_NL, p_NL.mean(axis=0)), [[3 / 4, 1 / 4], [1 / 3, 2 / 3]])


class Biased(Says):
    """Scores by a table: log p(label | the row's text), with a preference for 'yes' that the text does not explain."""

    can = frozenset({"generate", "score"})
    table: ClassVar = {
        "sunny": (0.9, 0.1),
        "rainy": (0.6, 0.4),
        "N/A": (0.8, 0.2),
        "[MASK]": (0.7, 0.3),
        "": (0.9, 0.1),
    }

    def score(self, pairs: Any, **options: Any) -> list[Scored]:
        found = []
        for prompt, label in pairs:
            self.asked.append((prompt, label))
            text = prompt.rsplit("Text: ", 1)[1].removesuffix("\nLabel:")
            found.append(Scored(math.log(self.table[text][{" yes": 0, " no": 1}[label]]), 1, False))
        return found


def test_calibration_turns_the_choice_as_the_formula_says() -> None:
    rows = [{"text": "sunny"}, {"text": "rainy"}]
    labels = ["yes", "no"]
    plain = InContext(task="classification", k=0).predict(Biased(), rows, labels=labels)
    assert plain.values == ["yes", "yes"]
    assert plain.predictions[1].probabilities == pytest.approx({"yes": 0.6, "no": 0.4})

    engine = Biased()
    method = InContext(task="classification", k=0, calibration="contextual")
    contextual = method.predict(engine, rows, labels=labels)
    # the mean without content is (.8, .2): sunny 1.125 : 0.5, rainy 0.75 : 2
    assert contextual.values == ["yes", "no"]
    assert contextual.predictions[0].probabilities == pytest.approx({"yes": 9 / 13, "no": 4 / 13})
    assert contextual.predictions[1].probabilities == pytest.approx({"yes": 3 / 11, "no": 8 / 11})
    assert len(engine.asked) == 2 * (2 + 3), "the inputs without content are asked about once"

    batch = InContext(task="classification", k=0, calibration="batch").predict(Biased(), rows, labels=labels)
    assert batch.predictions[1].probabilities == pytest.approx({"yes": 1 / 3, "no": 2 / 3})


def test_calibration_needs_likelihoods() -> None:
    for fields in ({"calibration": "batch"}, {"calibration": "contextual", "decide": "generate"}, {"decide": "score"}):
        with pytest.raises(EngineError, match=r"set it to none|Use decide: generate"):
            InContext(task="classification", k=0, **fields).predict(Says("x"), [{"text": "a"}], labels=["x", "y"])
    with pytest.raises(EngineError, match="tagging writes its answers"):
        InContext(task="tagging", k=0, decide="score").predict(Biased(), [{"words": ["a"]}], labels=["B-PER"])


@pytest.mark.parametrize("form", ["text", "chat"])
def test_labels_are_chosen_as_the_model_scores_them(tiny: TorchEngine, form: Any) -> None:
    method = InContext(task="classification", k=2, form=form, by_length=False)
    found = method.predict(tiny, [{"text": "a film"}, {"text": "so long"}], examples=REVIEWS)
    prompts = method.prompt([{"text": "a film"}, {"text": "so long"}], examples=REVIEWS)
    before = " " if form == "text" else ""
    for prompt, one in zip(prompts, found.predictions, strict=True):
        negative, positive = tiny.score([(prompt, f"{before}negative"), (prompt, f"{before}positive")])
        expected = 1 / (1 + math.exp(negative.logprob - positive.logprob))
        assert one.probabilities == pytest.approx({"negative": 1 - expected, "positive": expected}, abs=1e-6)
        assert one.value == ("positive" if expected > 0.5 else "negative")
    assert found.facts() == {
        "rows": 2,
        "scored": True,
        "not_understood": 0,
        "skipped": 0,
        "rows_with_fewer_examples": 0,
        "examples_dropped": 0,
    }


# -- room -------------------------------------------------------------------------------------------------------------


def test_a_prompt_that_is_too_long_loses_whole_examples(tiny: TorchEngine) -> None:
    long = [{"text": f"{row['text']} " * 12, "label": row["label"]} for row in REVIEWS]
    method = InContext(task="classification", k=4, examples="similar")
    found = method.predict(tiny, [{"text": "a good film"}], examples=long)
    (one,) = found.predictions
    assert one.dropped > 0
    assert len(one.examples) + one.dropped == 4
    ranked = Chooser.parse("similar").choose(Pool([row["text"] for row in long]), ["a good film"], 4)[0]
    assert list(one.examples) == ranked[: len(one.examples)], "the least similar went"
    assert (found.facts()["rows_with_fewer_examples"], found.facts()["examples_dropped"]) == (1, one.dropped)
    # one more would not have fitted
    more = InContext(task="classification", k=len(one.examples) + 1, examples="similar")
    (prompt,) = more.prompt([{"text": "a good film"}], examples=long)
    assert tiny.length(prompt) + max(tiny.length("negative"), tiny.length("positive")) > tiny.context


def test_a_row_that_does_not_fit_alone_is_named_or_skipped(tiny: TorchEngine) -> None:
    rows = [{"text": "short"}, {"text": "long " * 600}]
    method = InContext(task="classification", k=1)
    with pytest.raises(
        ContextError, match=r"rows, row 2: without any example its prompt has \d+ tokens.*this model reads 512"
    ):
        method.predict(tiny, rows, examples=REVIEWS)
    found = InContext(task="classification", k=1, too_long="skip").predict(tiny, rows, examples=REVIEWS)
    assert found.values[0] in ("positive", "negative")
    assert found.values[1] is None
    assert found.facts()["skipped"] == 1


def test_an_engine_that_cannot_count_is_asked_for_less_rather_than_too_much() -> None:
    engine = Says("positive", context=most_tokens("x" * 150))
    found = InContext(task="classification", k=4, max_tokens=5).predict(engine, [{"text": "so so"}], examples=REVIEWS)
    assert 0 < found.predictions[0].dropped < 4
    assert len(engine.asked[0].prompt.encode()) <= 150


# -- tasks ------------------------------------------------------------------------------------------------------------


def test_written_labels_are_read_and_what_is_not_understood_is_counted() -> None:
    engine = Says(" Positive.", " I cannot say.", "negative")
    rows = [{"text": f"row {n}"} for n in range(3)]
    seen: list[tuple[int, int]] = []
    found = InContext(task="classification", k=2).predict(
        engine, rows, examples=REVIEWS, tell=lambda *at: seen.append(at)
    )
    assert found.values == ["positive", None, "negative"]
    assert (found.facts()["not_understood"], found.scored, seen) == (1, False, [(3, 3)])
    assert [one.text for one in found.predictions][1] == " I cannot say."
    assert engine.asked[0].stop == ("\n",)


def test_tags_answers_and_texts() -> None:
    tagged = [{"words": ["Ann", "left"], "tags": ["B-PER", "O"]}]
    found = InContext(task="tagging", k=1).predict(
        Says("PER: Bob Roth"), [{"words": ["Bob", "Roth", "ran"]}], examples=tagged
    )
    assert found.values == [["B-PER", "I-PER", "O"]]
    row = {"question": "Who?", "context": "Bob ran.", "answers": []}
    assert InContext(task="question-answering", k=0).predict(Says(" Bob\n"), [row]).values == ["Bob"]
    assert InContext(task="text-to-text", k=0).predict(Says(" a cat "), [{"source": "eine Katze"}]).values == ["a cat"]
    engine = Says(" 6")
    assert InContext(task="completion", k=0).predict(engine, [{"prompt": "4 5"}]).values == [" 6"]
    assert engine.asked[0].prompt == "4 5"


def test_a_real_model_writes_for_every_task(tiny: TorchEngine) -> None:
    rows: dict[Any, dict[str, Any]] = {
        "classification": REVIEWS[0],
        "tagging": {"words": ["Ann", "left"], "tags": ["B-PER", "O"]},
        "question-answering": {"question": "Who?", "context": "Bob ran.", "answers": [{"text": "Bob", "start": 0}]},
        "text-to-text": {"source": "ein Hund", "target": "a dog"},
        "completion": {"prompt": "1 2", "completion": " 3"},
    }
    for task, row in rows.items():
        method = InContext(task=task, k=1, decide="generate", max_tokens=3)
        labels = ["positive", "negative"] if task == "classification" else None
        asked = {**row, "words": ["Bob", "ran"]} if task == "tagging" else {**row, "text": "other"}
        found = method.predict(tiny, [asked] * 3, examples=[row], labels=labels)
        assert found.predictions[0].text == found.predictions[2].text
        (prompt,) = method.prompt([asked], examples=[row], labels=labels)
        wording = Wording(task, method.template, labels or (["PER"] if task == "tagging" else []))
        alone = tiny.submit(Request(prompt=prompt, max_tokens=3, stop=wording.stop)).text()
        assert found.predictions[0].text == alone


def test_a_remote_model_and_its_cache(tmp_path: Path) -> None:
    def script(seen: Seen) -> Reply:
        return whole("positive" if "good" in seen.body["messages"][-1]["content"] else "negative")

    with faulty(script) as server:
        backend = Remote(url=server.url, model="m", cache=str(tmp_path))
        rows = [{"text": "good"}, {"text": "boring"}, {"text": "good and long"}]
        method = InContext(task="classification", k=2, form="chat", examples="similar", order="similar-last")
        with backend.open() as engine:
            found = method.predict(engine, rows, examples=REVIEWS)
            assert found.values == ["positive", "negative", "positive"]
        with backend.open() as engine:
            assert method.predict(engine, rows, examples=REVIEWS) == found
            assert engine.spent.requests == 0
    assert len(server.seen) == 3


def test_real_reviews_with_a_tiny_model(real_data: Path, tiny: TorchEngine) -> None:
    def read(part: str, count: int) -> list[dict[str, str]]:
        with gzip.open(
            real_data / "classification" / "sst2" / f"stsa.binary.{part}.gz", "rt", encoding="utf-8"
        ) as file:
            lines = [line.rstrip("\n") for line in file][:count]
        return [{"text": line[2:], "label": {"0": "negative", "1": "positive"}[line[0]]} for line in lines]

    train, rows = read("train", 200), read("dev", 8)
    values = {}
    for kind, calibration in (
        ("random", "none"),
        ("random", "batch"),
        ("balanced", "contextual"),
        ("similar", "contextual"),
        ("diverse", "none"),
    ):
        method = InContext(task="classification", k=2, examples=kind, calibration=calibration, too_long="skip")
        found = method.predict(tiny, rows, examples=train)
        assert set(found.values) <= {"positive", "negative", None}
        assert found.facts()["rows"] == 8
        values[kind, calibration] = found.values
    assert len({tuple(found) for found in values.values()}) > 1
    assert {"positive", "negative"} <= set(values["random", "batch"]), "divided by their mean, both labels are chosen"


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "rows", "given", "words"),
    [
        ({"k": 0}, [{"text": "a"}], {"labels": ["one"]}, "1 labels to choose from"),
        ({"k": 0}, [{"text": "a"}], {}, "0 labels to choose from"),
        ({"k": 3}, [{"text": "a"}], {"labels": ["a", "b"]}, "there are no examples to show"),
        ({}, [{"text": "a"}, {"txt": "b"}], {"examples": REVIEWS}, "rows, row 2: 'text' is missing"),
        (
            {},
            [{"text": "a"}],
            {"examples": REVIEWS, "labels": ["positive", "neutral"]},
            "row 2: the label 'negative' is not",
        ),
        ({"template": Template(row="{txt}:")}, [{"text": "a"}], {"examples": REVIEWS}, "Did you mean 'text'"),
        (
            {"template": Template(words={"positiv": "x"})},
            [{"text": "a"}],
            {"examples": REVIEWS},
            "Did you mean 'positive'",
        ),
        (
            {"template": Template(words={"positive": "x", "negative": "x"})},
            [{"text": "a"}],
            {"examples": REVIEWS},
            "words of its own",
        ),
    ],
)
def test_what_cannot_be_asked(fields: dict, rows: list, given: dict, words: str, tiny: TorchEngine) -> None:
    with pytest.raises(SeptetError, match=words):
        InContext(task="classification", **fields).predict(tiny, rows, **given)


def test_fields_are_the_identity() -> None:
    base = InContext(task="classification")
    assert InContext.model_validate(base.model_dump() | {"examples": {"kind": "random", "seed": 1}}) != base
    assert base.identity() != InContext(task="classification", template=Template(separator="\n")).identity()
    with pytest.raises(ValidationError):
        InContext(task="classification", k=-1)
