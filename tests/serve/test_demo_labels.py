"""What the demo's pages say: words, numbers, tables and charts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.history import History, Term
from envs.spec import FeatureSpec, identifier, number, one_hot, vector
from serve.demonstrating import drawing, page_live
from serve.demonstrating.context import VARIABLE, Context
from serve.demonstrating.labels import (
    amount,
    columns,
    describe,
    opening,
    percent,
    remembered,
    shown,
)
from serve.demonstrating.page_recommend import acting
from serve.demonstrating.playing import Track
from serve.demonstrating.results import check_files, read, refusals, result
from serve.demonstrating.shared import escaped

JUDGED: dict[str, Any] = {
    "policy": "runs/mine",
    "acting": "greedy",
    "against": "logged",
    "data": "logs/random",
    "discount": 1.0,
    "interval": "t",
    "confidence": 0.95,
    "rows": 35398,
    "sessions": 500,
    "logged": {"value": 160.2, "interval": [159.2, 161.2], "refusal": None},
    "estimates": {
        "sdr": {
            "value": 211.2,
            "interval": [207.9, 214.5],
            "refusal": None,
            "note": "model and weights",
            "difference": {"value": 51.0, "interval": [47.6, 54.3], "refusal": None},
        },
        "fqe": {
            "value": 212.8,
            "interval": None,
            "refusal": "no interval",
            "note": "a model",
            "difference": {"value": 52.6, "interval": None, "refusal": "no interval"},
        },
        "wis": {"value": None, "interval": None, "refusal": "all weights are 0", "note": "x"},
        "wdr": {"value": None, "interval": None, "refusal": "all weights are 0", "note": "y"},
    },
    "recommended": "sdr",
    "reason": "it has the narrowest interval",
    "verdict": None,
    "diagnostics": {"effective_sample_size": 1234.5},
    "warnings": ["few sessions"],
}

FIGURES: dict[str, Any] = {
    "requests": 1234.0,
    "errors": 1.0,
    "busy": 2.0,
    "p50_ms": 1.84,
    "p95_ms": None,
    "slates": 2000.0,
    "click_rate": 0.375,
    "reward": 1.5,
    "explored": 0.0,
    "fallbacks": 0.0,
    "ess": {"uniform": 12.3},
    "weight": {"uniform": 0.98},
    "idle_seconds": None,
    "unsynced_seconds": 0.25,
    "log_lost": 0.0,
    "arms": {
        "main": {
            "slates": 2000.0,
            "responses": 1900.0,
            "click_rate": 0.375,
            "reward": None,
            "explored": None,
            "fallbacks": 0.0,
        }
    },
    "drift": {"user.time_of_day": {"psi": 0.12345, "shift": 1.5}},
}


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.03125, "0.0312"), (-4.25, "-4.25"), (1234.4, "1,234"), (2e-5, "2.0e-05")],
)
def test_amounts(value: float, text: str) -> None:
    assert amount(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.25, "25 %"),
        (1, "100 %"),
        (0.0002, "0.02 %"),
        (0.9987, "99.87 %"),
        (0.999999, "99.99 %"),
        (0, "0 %"),
    ],
)
def test_shares(value: float, text: str) -> None:
    assert percent(value) == text


def test_features_in_words() -> None:
    group = (
        number("click_bait", 0, 1),
        one_hot("topic", 3),
        identifier("author", 9),
        vector("taste", 4),
        vector("place", 2),
    )
    row = np.array([0.5, 0, 0, 1, -1, 0.1, 0.2, 0.3, 0.4, 7, -2], np.float32)
    assert describe(group, row) == [
        ("click bait", "0.5"),
        ("topic", "no. 2"),
        ("author", "unknown"),
        ("taste", "0.1, 0.2, 0.3, … (4 numbers)"),
        ("place", "7, -2"),
    ]
    assert shown(identifier("author", 9), np.array([4.0], np.float32)) == "4"
    assert columns(group)[:5] == ["click bait", "topic 0", "topic 1", "topic 2", "author"]


def test_columns_of_a_history_have_names() -> None:
    spec = FeatureSpec(
        (number("age"),),
        (number("price"), one_hot("kind", 2)),
        (number("click", 0, 1), number("watch_time", 0)),
    )
    terms = (Term("log1p(watch_time)", "last"), Term("kind", 0.7), Term("no_click"))
    history = History(spec, terms)
    names = remembered(history)
    assert names == [
        "last log1p(watch time)",
        "trace (0.7) of kind 0",
        "trace (0.7) of kind 1",
        "sum of no click",
    ]
    assert len(names) == history.size


def test_sentences_and_markdown() -> None:
    assert opening("the port is taken") == "The port is taken."
    assert opening("Done.") == "Done."
    assert escaped("a_b*c [$x]") == "a\\_b\\*c \\[\\$x\\]"


def track(name: str, *rewards: float) -> Track:
    users = [np.array([0.5, 0.0], np.float32), np.array([0.5, 0.25], np.float32)]
    return Track(name, list(rewards), [1.0] * len(rewards), users, {"budget": [9.0, 8.0]})


def test_how_a_policy_explores() -> None:
    assert acting({"epsilon": 0.2, "temperature": 0.0}) == "explores with epsilon 0.2"
    assert acting({"epsilon": 0.1, "temperature": 2}) == "explores with epsilon 0.1, temperature 2"
    assert acting({"epsilon": 0.0, "temperature": 0.0}) == "does not explore"


def test_rows_of_charts() -> None:
    tracks = [track("endpoint", 1, 4), track("click_maximiser", 2)]
    assert [(row["policy"], row["step"], row["value"]) for row in drawing.returns_rows(tracks)] == [
        ("endpoint", 0, 0),
        ("endpoint", 1, 1),
        ("endpoint", 2, 5),
        ("click maximiser", 0, 0),
        ("click maximiser", 1, 2),
    ]
    changes = drawing.change_rows(tracks[:1], slice(0, 2))
    assert [(row["column"], row["change"]) for row in changes] == [(0, 0.0), (1, 0.25)]
    assert [row["value"] for row in drawing.hidden_rows(tracks[:1], "budget")] == [9.0, 8.0]


def test_axes_show_zero_and_are_never_empty() -> None:
    assert drawing.extent([{"x": 4.0}, {"x": 10.0}], "x") == [0.0, 10.5]
    assert drawing.extent([{"x": -2.0}, {"x": 2.0}], "x") == [-2.2, 2.2]
    assert drawing.extent([], "x") == [0.0, 1.0]


def test_lines_differ_without_colour() -> None:
    tracks = [track("endpoint", 1), track("random", 2), track("click_maximiser", 3)]
    lines = drawing.over_steps(drawing.returns_rows(tracks), "minutes").to_dict()
    dashes = lines["encoding"]["strokeDash"]["scale"]["range"]
    assert len({str(dash) for dash in dashes}) == 3
    assert lines["encoding"]["y"]["title"] == "minutes"
    points = drawing.by_column(drawing.change_rows(tracks, slice(0, 2)), "change", "no.").to_dict()
    (layer,) = [part for part in points["layer"] if "shape" in part["encoding"]]
    assert len(set(layer["encoding"]["shape"]["scale"]["range"])) == 3


def test_a_judgement_in_words() -> None:
    found = result(JUDGED)
    assert found.title == "runs/mine against logged"
    assert dict(found.facts)["effective sample size"] == "1,234.5"
    assert dict(found.facts)["interval"] == "t, 95 %"
    first = found.rows[0]
    assert (first["value"], first["low"], first["difference_high"]) == (211.2, 207.9, 54.3)
    assert [row["believed"] for row in found.rows] == ["recommended", "other", "other", "other"]
    assert refusals(found.rows) == [("wis, wdr", "all weights are 0")]
    assert found.conclusion == "recommended: sdr, 211.2, it has the narrowest interval"
    assert result({**JUDGED, "verdict": "better"}).conclusion == "better"
    chart = drawing.intervals(found.rows[:2], "reward of a session", found.logged).to_dict()
    assert len(chart["layer"]) == 3


def test_files_that_are_no_results(tmp_path: Path) -> None:
    good, other, picture = (tmp_path / name for name in ("a.json", "b.json", "c.png"))
    good.write_text(json.dumps(JUDGED))
    assert read(good).logged == 160.2
    other.write_text('{"return": 3}')
    for text in ('{"return": 3}', "[1]", "no json", ""):
        other.write_text(text)
        with pytest.raises(ValueError, match=r"b\.json holds no result of an evaluation"):
            check_files([str(good), str(other)])
    with pytest.raises(ValueError, match="there is no picture"):
        check_files([str(picture)])
    with pytest.raises(ValueError, match="No such file"):
        check_files([str(tmp_path / "none.json")])


def test_figures_with_units() -> None:
    cells = {name: value for _, row in page_live.groups(FIGURES) for name, value, _ in row}
    assert cells == {
        "Requests": "1,234",
        "Median latency": "1.84 ms",
        "95 % within": "-",
        "Errors": "3",
        "Slates": "2,000",
        "Click rate": "38 %",
        "Reward a slate": "1.5",
        "Fallbacks": "0",
        "Explored": "0 %",
        "ESS of 1,000": "12.3",
        "Mean weight": "0.98",
        "Lag": "0.25 s",
        "Silence": "-",
        "Lines lost": "0",
    }
    # Alike weights mean nothing where most of what the target shows is never shown.
    assert page_live.effective({"ess": {"uniform": 1000.0}, "weight": {"uniform": 0.001}}) is None
    assert page_live.effective({"ess": {}, "weight": {}}) is None
    (arm,) = page_live.arms_rows(FIGURES)
    assert (arm["arm"], arm["reward a slate"]) == ("main", "-")
    assert page_live.drift_rows(FIGURES) == [
        {"feature": "user.time of day", "PSI": 0.123, "shift (standard deviations)": 1.5}
    ]


def test_pages_read_what_the_command_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "context.json"
    told = Context("http://127.0.0.1:8000", "random", "serving", {"name": "boredom"}, 3)
    told.write(file)
    monkeypatch.setenv(VARIABLE, str(file))
    assert Context.read() == told
    for text in ("{}", "no json"):
        file.write_text(text)
        with pytest.raises(ValueError, match=r"python -m serve\.demo RUN"):
            Context.read()
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(ValueError, match=r"python -m serve\.demo RUN"):
        Context.read()
