"""Who the user is: drawn, entered, or made up; a change begins another visit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import streamlit as st
import torch

from envs.registry import make_simulator
from envs.spec import Feature, FeatureSpec
from serve.demonstrating.by_hand import HandVisit, draw, span
from serve.demonstrating.choosing import enterable, profile
from serve.demonstrating.context import Context
from serve.demonstrating.labels import Rows, columns
from serve.demonstrating.shared import client
from serve.demonstrating.visits import SimulatedVisit
from serve.simulating.messages import objects

Visit = SimulatedVisit | HandVisit


def simulated_controls(context: Context, about: dict[str, Any]) -> None:
    """Choose or draw a user, or enter one; a change begins another visit."""
    assert context.world is not None
    _keep("user", 0)
    left, middle, right = st.columns([2, 2, 3], vertical_alignment="bottom")
    left.number_input(
        "User number", 0, 2**31 - 1, key="user", help="Each number is another simulated user."
    )
    middle.button("Draw another user", on_click=_another, width="stretch")
    with right:
        epsilon = _exploration(about)
    entered = _profile(context) if _may_enter(context) else None
    key = (context.url, st.session_state["user"], entered)
    if st.session_state.get("visited") != key:
        world, user = context.world, int(st.session_state["user"])
        given = None if entered is None else {name: list(values) for name, values in entered}
        _begin(
            key,
            lambda: SimulatedVisit(
                client(context), world, context.seed, user, entered=given, epsilon=epsilon
            ),
        )
    if (visit := st.session_state.get("visit")) is not None:
        visit.epsilon = epsilon


def _keep(key: str, first: Any) -> None:
    """Hold what was entered while another page is open; Streamlit forgets it there."""
    st.session_state.setdefault(key, st.session_state.get(f"kept-{key}", first))
    st.session_state[f"kept-{key}"] = st.session_state[key]


def _another() -> None:
    st.session_state["user"] = int(np.random.default_rng().integers(1_000_000))
    st.session_state.pop("entered", None)


def _exploration(about: dict[str, Any]) -> float:
    """What requests ask for; 0 leaves it to the policy."""
    most = float(about["limits"]["max_epsilon"])
    if most <= 0:
        return 0.0
    _keep("epsilon", 0.0)
    found = st.slider(
        "Exploration asked for (epsilon)",
        0.0,
        most,
        key="epsilon",
        step=0.05,
        help="Probability of a random item in each slot. From the next slate on.",
    )
    return float(found)


Given = tuple[tuple[str, tuple[float, ...]], ...]


def _may_enter(context: Context) -> bool:
    found = st.session_state.get("may_enter")
    if found is None:
        assert context.world is not None
        simulator = make_simulator(num_users=1, seed=context.seed, **context.world)
        simulator.reset()
        found = st.session_state["may_enter"] = bool(enterable(simulator))
    return bool(found)


def _profile(context: Context) -> Given | None:
    """What a visitor entered of the user; `None` for the user as drawn."""
    assert context.world is not None
    simulator = make_simulator(num_users=1, seed=context.seed, replace=False, **context.world)
    simulator.reset(torch.tensor([int(st.session_state["user"])]))
    names = set(enterable(simulator))
    group = [feature for feature in simulator.spec.user if feature.name in names]
    drawn = np.concatenate([profile(simulator)[feature.name] for feature in group])
    with st.expander("User profile: enter your own"):
        values = _editor(group, drawn, f"profile-{st.session_state['user']}")
        one, other = st.columns(2)
        if one.button("Start with this profile", width="stretch"):
            st.session_state["entered"] = _given(group, values)
        if other.button("Back to the drawn profile", width="stretch"):
            st.session_state.pop("entered", None)
    found: Given | None = st.session_state.get("entered")
    return found


def _editor(group: list[Feature], values: Any, key: str) -> Any:
    """A table of numbers, a row a column of features; what was entered, cut to the ranges."""
    wide = [span(feature) for feature in group for _ in range(feature.size)]
    table: Rows = [
        {"feature": name, "value": round(float(value), 4), "from": low, "to": high}
        for name, value, (low, high) in zip(columns(group), values, wide, strict=True)
    ]
    found = st.data_editor(
        table, key=key, hide_index=True, disabled=["feature", "from", "to"], height=280
    )
    entered = np.array([row["value"] or 0.0 for row in found], float)
    return np.clip(entered, *np.array(wide).T).astype(np.float32)


def _given(group: list[Feature], values: Any) -> Given:
    found, at = [], 0
    for feature in group:
        found.append((feature.name, tuple(float(v) for v in values[at : at + feature.size])))
        at += feature.size
    return tuple(found)


def hand_controls(context: Context, about: dict[str, Any]) -> None:
    """Enter a user, and how many items there are to choose from."""
    spec, limits = FeatureSpec.from_json(about["features"]), about["limits"]
    st.info("Trained on own data: enter a user. The clicks are yours; nobody is simulated.")
    _keep("user", 0)
    start = draw(spec.user, 1, np.random.default_rng(st.session_state["user"]))[0]
    left, right = st.columns([3, 2])
    with left:
        values = _editor(list(spec.user), start, f"user-{st.session_state['user']}")
    with right:
        trained = int(about["arms"][0]["slate_size"])
        largest = min(max(10, trained), limits["max_slate"])
        size = int(st.number_input("Items in a slate", 1, largest, min(trained, largest)))
        count = 0
        if not context.catalogue:
            most = min(200, limits["max_candidates"])
            start_count = min(most, max(size, 20))
            count = int(st.number_input("Candidates, drawn at random", size, most, start_count))
        epsilon = _exploration(about)
        st.button("Draw another user", on_click=_another, width="stretch")
    key = (context.url, _given(list(spec.user), values), size, count)
    if st.session_state.get("visited") != key:
        user = _user(spec, values)
        _begin(
            key,
            lambda: HandVisit(
                client(context),
                user,
                candidates=count,
                slate_size=size,
                catalogue=context.catalogue,
                seed=int(st.session_state["user"]),
                epsilon=epsilon,
            ),
        )
    if (visit := st.session_state.get("visit")) is not None:
        visit.epsilon = epsilon


def _user(spec: FeatureSpec, values: Any) -> dict[str, Any]:
    """As a request has it."""
    (found,) = objects(spec.user, values[None])
    return found


def _begin(key: Any, make: Callable[[], Visit]) -> None:
    """Another visit, with its first slate."""
    for name in ("visit", "visited"):  # else going back to the user before would find neither
        st.session_state.pop(name, None)
    try:
        visit = make()
        visit.ask()
    except ValueError as error:
        st.session_state["problem"] = str(error)
        st.button("Try again", key="retry-visit")
        return
    st.session_state["visit"], st.session_state["visited"] = visit, key
