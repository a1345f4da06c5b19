"""Charts: data in, Altair charts out. Lines differ by dash and shape, not by colour alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np

from serve.demonstrating.labels import Rows, plain
from serve.demonstrating.playing import Track

COLOURS = ["#0072b2", "#d55e00", "#6a6a6a"]
"""Of three policies; they differ for the colour-blind too."""
HEIGHT = 280
FEWEST_STEPS = 10
"""That the axis of steps has room for."""

Chart = Any
"""One of Altair's."""


def returns_rows(tracks: Sequence[Track]) -> Rows:
    """Return so far by step, a row a policy and step; step 0 is before the first slate."""
    return [
        {"policy": plain(track.name), "step": step, "value": float(value)}
        for track in tracks
        for step, value in enumerate(np.concatenate([[0.0], np.cumsum(track.rewards)]))
    ]


def hidden_rows(tracks: Sequence[Track], name: str) -> Rows:
    """A number of the user by step, laid out as `returns_rows`."""
    return [
        {"policy": plain(track.name), "step": step, "value": value}
        for track in tracks
        for step, value in enumerate(track.hidden[name])
    ]


def change_rows(tracks: Sequence[Track], columns: slice) -> Rows:
    """Change of each column of a user feature since the start, a row a policy and column."""
    return [
        {"policy": plain(track.name), "column": number, "change": float(change)}
        for track in tracks
        for number, change in enumerate(track.users[-1][columns] - track.users[0][columns])
    ]


def over_steps(rows: Rows, title: str) -> Chart:
    """Lines over the steps of a session."""
    last = max((row["step"] for row in rows), default=0)
    legend = _legend()
    return (
        alt.Chart(alt.Data(values=rows))
        .mark_line(strokeWidth=2.5)
        .encode(
            x=alt.X(
                "step:Q",
                title="step",
                axis=alt.Axis(tickMinStep=1, format="d"),
                scale=alt.Scale(domain=[0, max(last, FEWEST_STEPS)], nice=False),
            ),
            y=alt.Y("value:Q", title=title, scale=alt.Scale(domain=extent(rows, "value"))),
            color=_of_policy(alt.Color, rows, COLOURS, legend),
            strokeDash=_of_policy(alt.StrokeDash, rows, [[1, 0], [6, 3], [2, 2]], legend),
            tooltip=["policy:N", "step:Q", alt.Tooltip("value:Q", title=title, format=".4g")],
        )
        .properties(height=HEIGHT)
    )


def by_column(rows: Rows, title: str, column: str) -> Chart:
    """A point for each column of a feature that has changed, by policy."""
    legend = _legend()
    order = list(dict.fromkeys(row["column"] for row in rows))
    moved = [row for row in rows if row["change"]]
    points = (
        alt.Chart(alt.Data(values=moved))
        .mark_point(filled=True, size=70, opacity=0.9)
        .encode(
            x=alt.X(
                "column:O",
                title=column,
                axis=alt.Axis(labelAngle=0, labelOverlap=True),
                scale=alt.Scale(domain=order),
            ),
            y=alt.Y("change:Q", title=title, scale=alt.Scale(domain=extent(rows, "change"))),
            color=_of_policy(alt.Color, rows, COLOURS, legend),
            shape=_of_policy(alt.Shape, rows, ["circle", "square", "triangle-up"], legend),
            tooltip=[
                "policy:N",
                "column:O",
                alt.Tooltip("change:Q", title=title, format="+.3f"),
            ],
        )
    )
    zero = alt.Chart(alt.Data(values=[{"change": 0.0}])).mark_rule(strokeDash=[3, 3], opacity=0.5)
    return (zero.encode(y="change:Q") + points).properties(height=HEIGHT)


def extent(rows: Rows, name: str) -> list[float]:
    """The axis of some values: 0 is on it, and it is never empty."""
    values = [0.0, *(row[name] for row in rows)]
    low, high = min(values), max(values)
    room = 0.05 * (high - low) or 1.0
    return [low - room if low < 0 else 0.0, high + room]


def _legend() -> Any:
    return alt.Legend(title=None, orient="top", columns=3, symbolStrokeWidth=2.5, labelLimit=260)


def _of_policy(channel: Any, rows: Rows, values: list[Any], legend: Any) -> Any:
    """A way to tell policies apart; those of one chart share their legend."""
    names = list(dict.fromkeys(row["policy"] for row in rows))
    scale = alt.Scale(domain=names, range=values[: len(names)])
    return channel("policy:N", scale=scale, legend=legend)


def intervals(rows: Rows, title: str, logged: float | None) -> Chart:
    """Estimates with their intervals, one below the other.

    Args:
        rows: `estimator`, `value`, `low`, `high`, `believed`.
        title: of the axis, with the unit.
        logged: what the policies that logged earned, as a line.
    """
    order = [row["estimator"] for row in rows]
    y = alt.Y("estimator:N", sort=order, title=None, axis=alt.Axis(labelLimit=200))
    colour = alt.Color(
        "believed:N",
        scale=alt.Scale(domain=["recommended", "other"], range=COLOURS[:1] + COLOURS[2:]),
        legend=alt.Legend(title=None, orient="top"),
    )
    base = alt.Chart(alt.Data(values=rows))
    scale = alt.Scale(zero=False)
    spans = base.mark_rule(strokeWidth=3).encode(
        x=alt.X("low:Q", title=title, scale=scale), x2="high:Q", y=y, color=colour
    )
    points = base.mark_point(filled=True, size=90, opacity=1).encode(
        x=alt.X("value:Q", scale=scale),
        y=y,
        color=colour,
        tooltip=[
            "estimator:N",
            alt.Tooltip("value:Q", format=".4g"),
            alt.Tooltip("low:Q", format=".4g"),
            alt.Tooltip("high:Q", format=".4g"),
        ],
    )
    layers = [spans, points]
    if logged is not None:
        line = alt.Chart(alt.Data(values=[{"value": logged}]))
        layers.append(line.mark_rule(strokeDash=[5, 4], color=COLOURS[1]).encode(x="value:Q"))
    made: Chart = alt.layer(*layers).properties(height=110 + 32 * len(order))
    return made
