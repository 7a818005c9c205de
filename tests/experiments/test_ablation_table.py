"""The table of an ablation: its arithmetic, to the last digit, and what it says of lost runs."""

import csv
import io
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from massivetext.experiments.ablation_table import (
    MEAN,
    Row,
    half_interval,
    mean_and_deviation,
    table,
    to_csv,
    to_text,
)

WEIGHTS = {"books": 0.75, "github": 0.25, "news": 0.0}
T_2 = 4.302652729749464  # Student's 97.5 % quantile with two degrees of freedom


def rows(**changes):
    above = {
        1: {"books": 1.0, "github": 2.0, "lambada": 3.0},
        2: {"books": 1.5, "github": 2.0, "lambada": 3.0},
        3: {"books": 2.0, "github": 2.0, "lambada": 3.0},
    }
    below = {
        1: {"books": 0.75, "github": 2.0, "lambada": 2.5},
        2: {"books": 1.0, "github": 2.0, "lambada": 2.5},
        3: {"books": 1.25, "github": 2.0, "lambada": 2.5},
    }
    return [
        Row("raw", "all", 10, 1000, {"books": 0.5, "github": 3.0}, changes.get("above", above)),
        Row("filtered", "rules", 8, 900, {"books": 0.625}, changes.get("below", below)),
    ]


def test_means_deviations_and_paired_differences():
    raw, filtered = table(rows(), WEIGHTS)
    assert raw["bits_per_byte"]["books"] == {
        "mean": 1.5,
        "sd": 0.5,
        "seeds": {"1": 1.0, "2": 1.5, "3": 2.0},
    }
    assert "difference" not in raw
    assert "compared_with" not in raw
    assert filtered["compared_with"] == "raw"
    books = filtered["difference"]["books"]
    # -0.25, -0.5 and -0.75: their deviation is 0.25, whatever the two variants' own are.
    assert books["mean"] == -0.5
    assert books["seeds"] == 3
    half = T_2 * 0.25 / math.sqrt(3)
    assert books["interval"] == pytest.approx([-0.5 - half, -0.5 + half], rel=1e-12)
    assert filtered["difference"]["lambada"] == {"mean": -0.5, "interval": [-0.5, -0.5], "seeds": 3}


def test_the_mean_is_by_the_weights_of_held_out_subsets_alone():
    raw, filtered = table(rows(), WEIGHTS)
    assert raw["bits_per_byte"][MEAN]["seeds"] == {"1": 1.25, "2": 1.625, "3": 2.0}
    assert filtered["difference"][MEAN]["mean"] == -0.375


def test_without_weighted_subsets_there_is_no_mean():
    raw, _ = table(rows(), {"elsewhere": 1.0})
    assert MEAN not in raw["bits_per_byte"]


def test_runs_are_paired_by_seed():
    below = {3: {"books": 1.0}, 1: {"books": 1.0}}
    above = {1: {"books": 1.5}, 2: {"books": 9.0}, 3: {"books": 2.0}}
    _, filtered = table(rows(above=above, below=below), WEIGHTS)
    assert filtered["difference"]["books"]["mean"] == -0.75
    assert filtered["difference"]["books"]["seeds"] == 2
    assert list(filtered["bits_per_byte"]["books"]["seeds"]) == ["3", "1"]


def test_one_seed_has_no_spread_and_none_in_common_no_difference():
    raw, filtered = table(rows(above={1: {"books": 1.5}}, below={1: {"books": 1.0}}), WEIGHTS)
    assert raw["bits_per_byte"]["books"] == {"mean": 1.5, "sd": None, "seeds": {"1": 1.5}}
    assert filtered["difference"]["books"] == {"mean": -0.5, "interval": None, "seeds": 1}
    values = table(rows(above={1: {"books": 1.5}}, below={2: {"books": 1.0}}), WEIGHTS)
    assert values[1]["difference"] == {}
    assert "less raw" in to_text(values)


@given(st.lists(st.tuples(*[st.floats(-10, 10)] * 2), min_size=2, max_size=8))
def test_the_interval_is_that_of_a_paired_t_test(pairs):
    a, b = np.array(pairs).T
    half = half_interval((a - b).tolist())
    if np.ptp(a - b) < 1e-6:
        return
    interval = ttest_rel(a, b).confidence_interval(0.95)
    assert half == pytest.approx((interval.high - interval.low) / 2, rel=1e-6)


def test_few_values():
    assert mean_and_deviation([]) == (None, None)
    assert mean_and_deviation([2.0]) == (2.0, None)
    assert half_interval([2.0]) is None


def test_text_has_a_line_a_variant_and_one_for_what_it_changes():
    lines = to_text(table(rows(), WEIGHTS)).splitlines()
    assert lines[0].split() == (
        "bits per byte documents tokens epochs books github lambada weighted mean".split()
    )
    assert lines[1].split()[:6] == ["raw", "10", "1,000", "3.00", "1.5000", "±0.5000"]
    assert lines[3].split()[:4] == ["less", "raw", "-0.5000", "±0.6210"]
    assert len(lines) == 4


def test_csv_has_a_line_for_each_variant_and_set():
    values = table(rows(), WEIGHTS)
    found = list(csv.DictReader(io.StringIO(to_csv(values))))
    assert [(row["variant"], row["set"]) for row in found] == [
        (variant, name)
        for variant in ("raw", "filtered")
        for name in ("books", "github", "lambada", MEAN)
    ]
    assert found[0]["difference"] == found[0]["low"] == found[0]["compared_with"] == ""
    books = found[4]
    assert (books["compared_with"], books["difference"], books["seeds"]) == ("raw", "-0.5", "3")
    assert [float(books["low"]), float(books["high"])] == values[1]["difference"]["books"][
        "interval"
    ]
    assert json.loads(json.dumps(values)) == values
