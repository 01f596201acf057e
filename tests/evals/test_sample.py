"""Drawing samples: seeded, within the limit, in order, and each by itself.

python -m pytest tests/evals/test_sample.py
"""

from septet.evals.sample import Sample, pick


def test_pick_is_seeded_and_keeps_the_order() -> None:
    items = [f"item{i}" for i in range(50)]
    first = pick(items, seed=1, key=str, limit=10)
    assert len(first) == 10
    assert first == sorted(first, key=items.index)
    assert first == pick(items, seed=1, key=str, limit=10)
    assert first != pick(items, seed=2, key=str, limit=10)


def test_an_items_fate_does_not_depend_on_the_others() -> None:
    items = [f"item{i}" for i in range(50)]
    small, large = pick(items, seed=1, key=str, limit=10), pick(items, seed=1, key=str, limit=20)
    assert set(small) < set(large)
    without = [item for item in items if item != small[0]]
    assert set(small[1:]) < set(pick(without, seed=1, key=str, limit=10))


def test_limit_counts_costs_and_never_leaves_nothing() -> None:
    assert sum(len(x) for x in pick(["aaa", "bb", "c", "dddd"], seed=0, key=str, limit=5, cost=len)) <= 5
    assert len(pick(["a very long text"], seed=0, key=str, limit=3, cost=len)) == 1
    assert pick([], seed=0, key=str, limit=3) == []


def test_a_sample_without_group_is_its_own() -> None:
    assert Sample("a").cluster != Sample("b").cluster
    assert Sample("a", group="os").cluster == Sample("b", group="os").cluster
