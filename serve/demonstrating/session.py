"""What came of a session: charts beside other policies, and its state."""

from __future__ import annotations

from typing import Any

import streamlit as st

from serve.demonstrating import drawing
from serve.demonstrating.by_hand import HandVisit
from serve.demonstrating.labels import Rows, columns, plain, remembered
from serve.demonstrating.shared import escaped
from serve.demonstrating.visits import Item, SimulatedVisit


def charts(visit: SimulatedVisit) -> None:
    """Return, interests and hidden numbers over the session, by policy."""
    st.subheader("Beside other policies")
    told = visit.player.told
    text = "The same user with the same luck: candidates and draws depend on user and step alone."
    if told:
        text += (
            f" You clicked in the user's place in {told} step{'s' if told > 1 else ''}, so the "
            "endpoint's line is no longer comparable."
        )
    st.caption(text)
    tracks = visit.tracks
    reward = plain(visit.player.simulator.reward_name)
    drawn = [("Return so far", drawing.over_steps(drawing.returns_rows(tracks), reward))]
    for feature in visit.spec.user:
        if feature.kind == "vector":
            of = visit.spec.user_slice(feature.name)
            table = drawing.change_rows(tracks, of)
            title = f"change of {plain(feature.name)}"
            chart = drawing.by_column(table, title, f"{plain(feature.name)} no.")
            drawn.append((f"{plain(feature.name)} since the start".capitalize(), chart))
    drawn += [
        (
            f"Hidden from the policies: {plain(name)}",
            drawing.over_steps(drawing.hidden_rows(tracks, name), plain(name)),
        )
        for name in tracks[0].hidden
    ]
    for first in range(0, len(drawn), 2):
        for place, (title, one) in zip(st.columns(2), drawn[first : first + 2], strict=False):
            place.markdown(f"**{escaped(title)}**")
            place.altair_chart(one, width="stretch")


def state(visit: SimulatedVisit | HandVisit) -> None:
    """What is known of the session: the user now, the memory, the token, the candidates."""
    st.subheader("State of the session")
    if isinstance(visit, SimulatedVisit):
        seen, spec = visit.player.seen, visit.spec
        left, right = st.columns(2)
        with left:
            st.markdown("**The user now**, as the endpoint is told")
            _table(columns(spec.user), seen.user[0].numpy())
        with right:
            st.markdown("**Remembered of the session**, what the token carries")
            _table(remembered(visit.player.simulator.history), seen.history[0].numpy())
        with st.expander(f"All {len(visit.items)} candidates of the last slate"):
            st.dataframe(_candidates(visit.items), hide_index=True, width="stretch")
    token = visit.talk.token
    with st.expander(f"Session token: {len(token)} characters, signed, not encrypted"):
        st.code(token or "none yet", language=None, wrap_lines=True)


def _table(names: list[str], values: Any) -> None:
    table = [
        {"what": name, "value": float(value)} for name, value in zip(names, values, strict=True)
    ]
    st.dataframe(
        table,
        hide_index=True,
        width="stretch",
        height=min(300, 38 + 35 * len(names)),
        column_config={"value": st.column_config.NumberColumn(format="%.3f")},
    )


def _candidates(items: list[Item]) -> Rows:
    rows = []
    for item in items:
        found: dict[str, Any] = {"item": item.title, **dict(item.lines)}
        if item.appeal is not None:
            found["appeal"] = round(item.appeal, 3)
        found["slot"] = "" if item.slot is None else str(item.slot + 1)
        rows.append(found)
    return rows
