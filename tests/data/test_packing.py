"""Packing: nothing is lost, little is wasted, long documents are cut and counted.

python -m pytest tests/data/test_packing.py
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from septet.data.packing import IGNORE, Sample, pack, text_sample, text_samples
from septet.nn.load import open_tokenizer
from septet.steps.tokenizer import save, train


def sample(length: int, first: int = 10) -> Sample:
    ids = np.arange(first, first + length, dtype=np.int32)
    return Sample(ids, ids + 1)


def test_a_document_by_hand():
    found = text_sample([5, 6], separator=0)
    assert found.ids.tolist() == [0, 5, 6]
    assert found.labels.tolist() == [5, 6, 0]


def test_best_fit_by_hand():
    # sorted 6 5 3 2 2 into rows of 8: [6], [5], then 3 goes to the 5 (room 3), 2 to the 6 (room 2), 2 to a new row
    rows, report = pack([sample(n) for n in (2, 5, 3, 6, 2)], 8, pad=1)
    assert [row.used for row in rows] == [8, 8, 2]
    assert (report.rows, report.positions, report.targets, report.cut) == (3, 24, 18, 0)
    assert report.waste == pytest.approx(6 / 24)
    assert rows[0].positions.tolist() == [0, 1, 2, 3, 4, 5, 0, 1]
    assert rows[2].ids[2:].tolist() == [1] * 6
    assert rows[2].labels[2:].tolist() == [IGNORE] * 6
    assert rows[2].positions.tolist() == [0, 1, 0, 1, 2, 3, 4, 5]


def test_a_long_document_is_cut_and_counted():
    rows, report = pack([sample(20)], 8, pad=1)
    assert (report.samples, report.cut, report.pieces, report.rows) == (1, 1, 3, 3)
    assert sorted(label for row in rows for label in row.labels[: row.used]) == list(range(11, 31))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 50), max_size=40), st.integers(2, 24))
def test_every_label_is_learned_once_and_no_row_overflows(lengths, context):
    samples = [sample(length, first=100 * number) for number, length in enumerate(lengths)]
    rows, report = pack(samples, context, pad=1)
    found = sorted(label for row in rows for label in row.labels if label != IGNORE)
    assert found == sorted(label for item in samples for label in item.labels)
    assert report.targets == sum(lengths)
    for row in rows:
        assert len(row.ids) == len(row.labels) == len(row.positions) == context
        # each position counts on from the one before, or begins again
        steps = np.diff(row.positions)
        assert all(step == 1 or row.positions[i + 1] == 0 for i, step in enumerate(steps))
        assert row.positions[0] == 0


def test_the_same_samples_make_the_same_rows():
    samples = [sample(length) for length in (3, 9, 4, 4, 7)]
    first, second = pack(samples, 8, pad=1)[0], pack(samples, 8, pad=1)[0]
    assert all(np.array_equal(a.ids, b.ids) for a, b in zip(first, second, strict=True))


def test_nothing_to_pack():
    assert pack([], 8, pad=1)[1].rows == 0


def test_text_that_looks_like_a_separator_stays_text(tmp_path):
    save(train(["end of text, end of text"] * 3, size=280), tmp_path)
    tokenizer = open_tokenizer(tmp_path)
    (found,) = text_samples(["a<|endoftext|>b"], tokenizer)
    assert found.ids[0] == found.labels[-1] == tokenizer.eos_token_id
    assert tokenizer.eos_token_id not in found.ids[1:]
    assert tokenizer.decode(found.ids[1:]) == "a<|endoftext|>b"
