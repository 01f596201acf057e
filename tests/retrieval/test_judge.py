import json
import random
from pathlib import Path

import pytest
from scipy.stats import binomtest, mannwhitneyu

from septet.core.errors import DataError
from septet.retrieval.answer import Answerer
from septet.retrieval.index import SearchIndex
from septet.retrieval.judge import Question, auroc, figures, judge, read_questions, wilson

ROWS = Path(__file__).parents[2] / "recipes" / "ask-python.questions.jsonl"


def test_auroc_by_hand_and_reference() -> None:
    assert auroc([3, 2], [1, 2]) == pytest.approx((1 + 1 + 1 + 0.5) / 4)
    rng = random.Random(0)
    a, b = [rng.gauss(0.5, 1) for _ in range(40)], [round(rng.gauss(0, 1), 1) for _ in range(30)]
    assert auroc(a, b) == pytest.approx(mannwhitneyu(a, b).statistic / (40 * 30))


def test_wilson_is_scipys() -> None:
    for hits, n in [(0, 5), (3, 7), (50, 50), (81, 125)]:
        expected = binomtest(hits, n).proportion_ci(method="wilson")
        assert wilson(hits, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_judging_by_hand(words_only: SearchIndex) -> None:
    questions = [
        Question("join pathname components", ("posixpath.join",)),  # an alias is as good as the name
        Question("delete a directory tree", ("os.remove",)),  # something else comes first
        Question("boil an egg", ()),
    ]
    verdicts = judge(questions, Answerer(words_only))
    assert [v.correct for v in verdicts] == [True, False, False]
    assert [v.refused for v in verdicts] == [False, False, True]
    assert verdicts[0].ranks == {"bm25": 1, "hybrid": 1}
    found = {figure.metric: figure for figure in figures(verdicts)}
    assert (found["first citation accuracy"].value, found["first citation accuracy"].n) == (0.5, 2)
    assert found["AUROC of refusing"].value == 1.0
    assert found["refused when not covered"].value == 1.0
    assert "dense MRR@10" not in found


@pytest.mark.parametrize(
    "line",
    ["[]", '{"question": 3, "gold": []}', '{"question": "x"}', '{"question": "x", "gold": [], "half": "dev"}', "{"],
)
def test_a_bad_row_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"question": "a", "gold": []}\n' + line + "\n")
    with pytest.raises(DataError, match=r"q\.jsonl, row 2"):
        read_questions(path)


def test_the_judged_questions_are_enough_and_balanced() -> None:
    questions = read_questions(ROWS)
    assert len({item.question for item in questions}) == len(questions)
    for covered, least in ((True, 150), (False, 50)):
        halves = [item.half for item in questions if bool(item.gold) is covered]
        assert len(halves) >= least
        assert abs(halves.count("tune") - halves.count("test")) <= 1


def test_rows_are_plain_json() -> None:
    for line in ROWS.read_text(encoding="utf-8").splitlines():
        assert set(json.loads(line)) == {"question", "gold", "half"}
