"""The page of results that were judged from logs."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from serve.demonstrating import drawing
from serve.demonstrating.context import Context
from serve.demonstrating.labels import opening
from serve.demonstrating.playing import RIVALS
from serve.demonstrating.results import PICTURES, Result, judge_own, read, refusals
from serve.demonstrating.shared import escaped, facts


def offline(context: Context) -> None:
    """Draw the page."""
    st.title("Judged from logs")
    st.caption(
        "What a policy would have earned a session, estimated from sessions of other policies, "
        "with intervals."
    )
    if not context.ope:
        st.info(
            "No results were given. Write some with `python -m offline.evaluate ... --json > "
            "FILE`, and start the demo with `--ope FILE`."
        )
    for file in context.ope:
        _file(Path(file))
    _own(context)


def _file(path: Path) -> None:
    try:
        if path.suffix.lower() in PICTURES:
            st.subheader(escaped(path.name))
            st.image(str(path))
        else:
            show(read(path))
    except (ValueError, OSError) as error:
        st.error(opening(str(error)))


def show(found: Result) -> None:
    """One judgement: a picture, a table, the conclusion."""
    st.subheader(escaped(found.title))
    given = [row for row in found.rows if row["value"] is not None]
    left, right = st.columns([3, 2])
    with left:
        if given:
            st.altair_chart(
                drawing.intervals(given, "reward of a session", found.logged), width="stretch"
            )
        if found.logged is not None:
            st.caption(f"Dashed line: {found.logged:.4g} a session, as logged.")
    with right:
        facts(found.facts)
    st.markdown(f"**{escaped(opening(found.conclusion))}**")
    for warning in found.warnings:
        st.warning(warning)
    shown = ["estimator", "value", "low", "high"]
    if found.compared:
        shown += ["difference", "difference_low", "difference_high"]
    number = st.column_config.NumberColumn
    config = {
        name: number(name.replace("difference_", "difference, ").replace("_", " "), format="%.2f")
        for name in shown[1:]
    }
    st.dataframe(
        [{name: row[name] for name in (*shown, "note")} for row in given],
        placeholder="",
        hide_index=True,
        width="stretch",
        column_config=config,
    )
    for names, reason in refusals(found.rows):
        st.caption(f"No value by {escaped(names)}: {escaped(opening(reason))}")


def _own(context: Context) -> None:
    """Judge the served policy, or a baseline, by what this demo has logged."""
    st.subheader("From this demo's own log")
    st.caption(
        "Joins what the endpoint has logged so far. A few sessions say little; ask for "
        "exploration on the first page, or nothing can be learnt of other slates."
    )
    left, right = st.columns(2, vertical_alignment="bottom")
    target = left.selectbox("Policy", list(dict.fromkeys((context.target, *RIVALS))))
    if right.button("Judge it", type="primary", width="stretch"):
        try:
            with st.spinner("Joining and judging"):
                st.session_state["own"] = judge_own(Path(context.state), target, None)
        except ValueError as error:
            st.session_state.pop("own", None)
            st.error(opening(str(error)))
    if found := st.session_state.get("own"):
        show(found)
