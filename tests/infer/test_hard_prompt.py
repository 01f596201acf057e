"""The search for a wording finds what the model likes, the same way every time, and goes on after a kill.

python -m pytest tests/infer/test_hard_prompt.py
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tiny_chat import tiny_module, tiny_tokenizer

from septet.core.errors import SeptetError
from septet.infer.askings.hard_prompt import Candidate, HardPrompt, share_right
from septet.infer.engine import Answer, Engine, Request, Stream
from septet.infer.engines.torch import TorchEngine
from septet.infer.wording import Template

ROWS = [{"text": f"row {n}", "label": ("no", "yes")[n % 2]} for n in range(10)]
LABELS = ["no", "yes"]


class Moody(Engine):
    """Answers more rows rightly the fewer words its instruction has; asked for other words, it gives them with a number."""

    can = frozenset({"generate"})
    name = "moody"

    def __init__(self, *, fail_after: int | None = None) -> None:
        self.asked = self.paraphrased = 0
        self.fail_after = fail_after

    def submit(self, request: Request) -> Stream:
        raise AssertionError("many rows are asked together")

    def generate_batch(self, requests: Sequence[Request], *, batch_size: int = 32) -> list[Answer]:
        found = []
        for request in requests:
            prompt = str(request.prompt)
            if prompt.startswith("Say this instruction"):
                self.paraphrased += 1
                found.append(f" {{labels}} please {request.seed}\n")
                continue
            self.asked += 1
            if self.fail_after is not None and self.asked > self.fail_after:
                raise KeyboardInterrupt
            instruction, row = prompt.split("\n\n")
            number = int(row.split()[2])
            right = number >= len(instruction.split())
            found.append(ROWS[number]["label"] if right else "perhaps")
        return [Answer(text, 1, 1, "stop") for text in found]

    def close(self) -> None:
        pass


LONG = "one two three four five six seven eight {labels}"


def make(**fields: Any) -> HardPrompt:
    own = {"task": "classification", "template": Template(instruction=LONG), "seed": 1}
    return HardPrompt.model_validate({**own, "evaluations": 24, "edits": ("delete", "swap"), **fields})


def test_it_finds_what_works_and_says_how_it_got_there() -> None:
    engine = Moody()
    seen: list[tuple[int, int]] = []
    found = make().search(engine, ROWS, labels=LABELS, tell=lambda *at: seen.append(at))
    assert len(found.scores) == 24 == len({candidate for candidate, _ in found.scores})
    assert (found.rows, engine.asked, seen[-1]) == (10, 240, (24, 24))
    # 'no, yes' are two words beside eight, so rows 0 to 9 are below ten: none is right
    assert found.scores[0] == (Candidate(LONG), 0.0)
    assert found.best[1] > 0.7
    assert found.curve == sorted(found.curve)
    assert (found.curve[0], found.curve[-1]) == (0.0, found.best[1])
    best = found.best[0]
    assert found.method.template.instruction == best.instruction
    assert share_right(found.method.predict(Moody(), ROWS, labels=LABELS).values, ROWS) == found.best[1]
    assert found.method.task == "classification"


def test_the_same_seed_goes_the_same_way_and_another_does_not() -> None:
    first = make().search(Moody(), ROWS, labels=LABELS)
    assert make().search(Moody(), ROWS, labels=LABELS) == first
    assert make(seed=2).search(Moody(), ROWS, labels=LABELS).scores != first.scores


def test_it_goes_on_after_a_kill_and_asks_nothing_twice(tmp_path: Path) -> None:
    search = make(edits=("delete", "paraphrase"))
    whole = Moody()
    expected = search.search(whole, ROWS, labels=LABELS, writer=whole)
    assert whole.paraphrased > 0
    killed = Moody(fail_after=95)
    with pytest.raises(KeyboardInterrupt):
        search.search(killed, ROWS, labels=LABELS, writer=killed, folder=tmp_path)
    journal = tmp_path / "search.jsonl"
    with journal.open("a") as file:
        file.write('{"of": {"instr')  # the line that the kill cut off
    rest = Moody()
    assert search.search(rest, ROWS, labels=LABELS, writer=rest, folder=tmp_path) == expected
    assert rest.asked == 240 - 90
    assert killed.paraphrased + rest.paraphrased == whole.paraphrased
    again = Moody()
    assert search.search(again, ROWS, labels=LABELS, writer=again, folder=tmp_path) == expected
    assert again.asked == again.paraphrased == 0
    more = Moody()
    longer = make(edits=("delete", "paraphrase"), evaluations=26)
    assert longer.search(more, ROWS, labels=LABELS, writer=more, folder=tmp_path).scores[:24] == expected.scores
    assert more.asked == 20
    with pytest.raises(SeptetError, match="holds another search: its search and writer differ"):
        make(seed=5).search(Moody(), ROWS, labels=LABELS, folder=tmp_path)
    with pytest.raises(SeptetError, match="its data differ"):
        search.search(more, ROWS[:5], labels=LABELS, writer=more, folder=tmp_path)


def test_words_for_labels_and_ones_own_instructions_are_tried() -> None:
    words = {"no": "bad", "yes": "good"}
    search = make(words=(words,), instructions=("Mine: {labels}",), edits=("words", "cross"), evaluations=50)
    found = search.search(Moody(), ROWS, labels=LABELS)
    tried = {candidate for candidate, _ in found.scores}
    assert Candidate("Mine: {labels}") in tried
    assert Candidate(LONG, (("no", "bad"), ("yes", "good"))) in tried
    assert len(tried) < 50, "it ends when nothing new can be made"


def test_a_sample_of_rows() -> None:
    engine = Moody()
    found = make(rows=4, evaluations=3).search(engine, ROWS, labels=LABELS)
    assert (found.rows, engine.asked) == (4, 12)
    with pytest.raises(SeptetError, match="no validation rows"):
        make().search(Moody(), [], labels=LABELS)


def test_share_right_by_hand() -> None:
    assert share_right(["a", None, "b"], [{"label": "a"}, {"label": "a"}, {"label": "a"}]) == pytest.approx(1 / 3)
    assert share_right([["O", "B-X"], ["O"]], [{"tags": ["O", "B-X"]}, {"tags": ["B-X"]}]) == 0.5
    answers = [{"answers": [{"text": "Ann Lee", "start": 0}, {"text": "Ann", "start": 0}]}, {"answers": []}]
    assert share_right([" ann  lee", ""], answers) == 1.0
    assert share_right(["A dog", "cat"], [{"target": "a dog"}, {"target": "x", "references": ["Cat"]}]) == 1.0
    assert share_right(["3"], [{"completion": " 3"}]) == 1.0


def test_a_real_model_is_searched_and_paraphrases() -> None:
    with TorchEngine(tiny_module(), tiny_tokenizer(), name="tiny") as engine:
        asked = {"task": "classification", "template": Template(instruction="Label: {labels}")}
        search = HardPrompt(**asked, evaluations=6, children=2, edits=("paraphrase", "delete", "swap"))
        # the test's model has 128 tokens, too few for the starts and a long row; 'too_long' says what happens then
        rows = [{"text": "a b", "label": "no"}, {"text": "c", "label": "yes"}]
        found = search.model_copy(update={"too_long": "skip"}).search(engine, rows, labels=LABELS, writer=engine)
        assert 4 <= len(found.scores) <= 6
        assert all(0.0 <= score <= 1.0 for _, score in found.scores)
