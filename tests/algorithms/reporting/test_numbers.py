"""The arithmetic behind the pictures, with literal numbers."""

import math
from pathlib import Path

import numpy as np
import pytest

from algorithms.evaluation import EvaluationResult
from algorithms.reporting.figures import flat
from algorithms.reporting.kinds import effective_kinds, kind_counts, shares_over_time
from algorithms.reporting.learning import series
from algorithms.reporting.playing import Playback
from algorithms.reporting.returns import better_off, bin_edges
from algorithms.reporting.rows import drawn_steps
from algorithms.reporting.sessions import chosen_users
from algorithms.reporting.showing import smoothed
from algorithms.reporting.source import _labels
from algorithms.reporting.style import figure_of, interval, mean_over, share, shortened, signed


def test_effective_kinds() -> None:
    # One kind; two alike; 3:1 has entropy 0.75 ln(4/3) + 0.25 ln 4 = 0.562335.
    counts = np.array([[5, 0, 0], [2, 2, 0], [3, 0, 1]])
    np.testing.assert_allclose(effective_kinds(counts), [1.0, 2.0, math.exp(0.562335)], rtol=1e-6)


def playback() -> Playback:
    """Two users, three steps, two slots; the second user stays for one step only."""
    topic = np.array([[[0, 1], [2, 2]], [[0, 0], [1, 1]], [[2, 0], [1, 1]]])
    playing = np.array([[True, True], [True, False], [True, False]])
    result = EvaluationResult(np.array([3.0, 1.0]), np.array([3.0, 1.0]), {}, "torch")
    zeros = np.zeros((3, 2))
    clicks = np.zeros((3, 2, 2), bool)
    names = ("a", "b", "c")
    return Playback(
        result, playing, zeros, clicks, {}, {}, {}, topic, "topic", names, None, None, True
    )


def test_kinds_are_counted_while_users_play() -> None:
    assert kind_counts(playback()).tolist() == [[4, 1, 1], [0, 0, 2]]


def test_shares_of_kinds_over_time() -> None:
    # Step 1 shows 0, 1, 2, 2; steps 2 and 3, of the first user alone, 0, 0, 2, 0.
    expected = [[0.25, 1.0, 0.5], [0.25, 0.0, 0.0], [0.5, 0.0, 0.5]]
    np.testing.assert_allclose(shares_over_time(playback(), 60), expected)
    np.testing.assert_allclose(shares_over_time(playback(), 1)[:, 0], [0.5, 0.125, 0.375])


def test_means_are_over_those_who_play() -> None:
    values = np.array([[1.0, 3.0], [5.0, 100.0], [7.0, 100.0]])
    playing = np.array([[True, True], [True, False], [False, False]])
    np.testing.assert_allclose(mean_over(values, playing), [2.0, 5.0, np.nan])
    slots = np.stack([values, values + 2], axis=2)
    np.testing.assert_allclose(mean_over(slots, playing), [3.0, 6.0, np.nan])


def test_steps_are_drawn_while_a_tenth_of_the_users_is_there() -> None:
    playing = np.zeros((5, 20), bool)
    playing[0], playing[1, :2], playing[2, :1] = True, True, True
    assert drawn_steps(playing) == 2


def test_a_path_is_thinned_to_means() -> None:
    np.testing.assert_allclose(smoothed(np.array([1.0, 3.0, 5.0, 9.0]), 2), [2.0, 7.0])
    np.testing.assert_allclose(smoothed(np.array([1.0, 3.0]), 12), [1.0, 3.0])


def test_who_gains() -> None:
    first, second = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.0, 2.0, 2.0, 5.0])
    assert better_off(first, second) == (0.5, 0.25)


def test_users_at_the_quantiles_are_different_ones() -> None:
    # Of 0 to 10 the quantiles are 1, 5 and 9.
    assert chosen_users(np.arange(11.0)) == [1, 5, 9]
    assert chosen_users(np.zeros(3)) == [0, 1, 2]
    assert chosen_users(np.zeros(2)) == [0, 1]


def test_bins_of_counts_have_whole_numbers_in_their_middle() -> None:
    assert bin_edges(np.array([0.0, 1.0, 3.0])).tolist() == [-0.5, 0.5, 1.5, 2.5, 3.5]
    assert len(bin_edges(np.linspace(0, 1, 500))) == 49
    assert bin_edges(np.full(4, 2.5))[[0, -1]].tolist() == [2.0, 3.0]


def test_series_keep_what_is_a_number_in_both() -> None:
    rows = [{"x": 1.0, "y": 2.0}, {"x": 2.0, "y": math.nan}, {"x": 3.0}, {"x": 4.0, "y": 5.0}]
    steps, values = series(rows, "x", "y")
    assert steps.tolist() == [1.0, 4.0] and values.tolist() == [2.0, 5.0]
    assert [len(part) for part in series([], "x", "y")] == [0, 0]


def test_labels_are_as_long_as_they_must_be() -> None:
    assert _labels([Path("/a/one"), Path("/a/two")]) == ["one", "two"]
    assert _labels([Path("/a/run"), Path("/b/run")]) == ["a/run", "b/run"]


def test_flat() -> None:
    assert flat({"a": {"b": 1, "c": {"d": 2}}, "e": {}}) == {"a.b": 1, "a.c.d": 2, "e": {}}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1234567.0, "1,234,567"),
        (-277.26, "-277.3"),
        (9.3799, "9.38"),
        (0.46, "0.460"),
        (0.0, "0"),
        (math.nan, "\u2013"),
    ],
)
def test_numbers_for_people(value: float, expected: str) -> None:
    assert figure_of(value) == expected


def test_words_for_people() -> None:
    assert signed(2.0) == "+2.00" and signed(-2.0) == "-2.00"
    assert interval(1.0, 2.0) == "[1.00, 2.00]" and interval(math.nan, math.nan) == ""
    assert share(0.5) == "50%" and share(0.9996) == "100.0%" and share(1.0) == "100%"
    assert shortened("x" * 40) == "x" * 12 + "\u2026" + "x" * 12
    assert shortened("_$a$") == r"\$a\$"
