"""The page of benchmarks is made of recorded results, and the intervals in them are what they say.

python -m pytest tests/bench
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).parents[2] / "bench"


def load(name: str) -> ModuleType:
    """Import a file of bench/, which is no package."""
    spec = importlib.util.spec_from_file_location(f"bench_{name}", BENCH / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


cli, report = load("cli"), load("report")


def test_medians_and_ratios_are_taken_within_rounds():
    found = cli.summary({cli.OURS: [1.0, 2.0, 4.0], "other": [2.0, 4.0, 20.0]})
    ours, other = found["rows"]
    assert (ours["median"], other["median"], other["n"]) == (2.0, 4.0, 3)
    assert other["ratio"] == 2.0  # of 2, 2 and 5; the ratio of the medians is 2 as well, that of the means is not
    assert (other["ratio_low"], other["ratio_high"]) == (2.0, 5.0)
    assert "ratio" not in ours


def test_the_interval_of_equal_values_is_that_value_and_holds_the_median():
    assert cli.interval([3.0] * 15) == (3.0, 3.0)
    low, high = cli.interval([float(i) for i in range(21)])
    assert 5 <= low <= 10 <= high <= 15


def test_an_interval_agrees_with_scipys():
    import numpy as np
    from scipy import stats

    values = np.random.default_rng(0).lognormal(size=31)
    theirs = stats.bootstrap(
        (values,), np.median, method="percentile", n_resamples=4000, rng=np.random.default_rng(1)
    ).confidence_interval
    assert cli.interval(list(values)) == pytest.approx((theirs.low, theirs.high), rel=0.15)


def test_nothing_in_a_result_names_the_machine():
    assert set(cli.machine()) == {"system", "cores", "python", "load_before"}


def test_the_newest_result_of_each_benchmark_is_shown(tmp_path: Path):
    old = cli.summary({cli.OURS: [9.0] * 3}) | {"at": "2025-01-01"}
    new = cli.summary({cli.OURS: [0.25] * 3}) | {"at": "2025-02-01"}
    for content in (old, new):
        (tmp_path / f"cli-{content['at']}.json").write_text(json.dumps(content))
    unknown = {
        "bench": "speed",
        "title": "Speed",
        "at": "2025-02-02",
        "tokens_per_second": 1234.5,
        "rows": [{"of": "us", "x": 1}],
    }
    (tmp_path / "speed-2025-02-02.json").write_text(json.dumps(unknown))
    (tmp_path / "train-quick.json").write_text(json.dumps({"bench": "train-quick", "title": "A try", "quick": True}))
    page = report.page(tmp_path)
    assert "A try" not in page
    assert "| `septet --help` | 0.250 s | 0.250 to 0.250 s | 1 | 3 |" in page
    assert "9.000" not in page
    assert "## Speed" in page
    assert "| tokens per second | 1,234 |" in page
    assert "| us | 1 |" in page


def test_an_empty_folder_makes_a_page_that_says_so(tmp_path: Path):
    assert "Nothing has been recorded yet" in report.page(tmp_path)
