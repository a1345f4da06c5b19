"""The page on which a user gets slates and clicks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from serve.demonstrating.by_hand import HandVisit, span
from serve.demonstrating.context import Context
from serve.demonstrating.controls import Visit, hand_controls, simulated_controls
from serve.demonstrating.labels import amount, opening, percent, plain
from serve.demonstrating.session import charts, state
from serve.demonstrating.shared import described, escaped, metrics, row
from serve.demonstrating.visits import Item, SimulatedVisit, slate_of

MOST_STEPS = 500
"""Of one press of "To the end"; sessions of our worlds are shorter."""


def recommend(context: Context) -> None:
    """Draw the page."""
    st.title("A user and the endpoint")
    about = described(context)
    if about is None:
        return
    _say_what_is_served(context, about)
    if context.world is None:
        hand_controls(context, about)
    else:
        simulated_controls(context, about)
    if problem := st.session_state.pop("problem", None):
        st.error(opening(problem))
    visit: Visit | None = st.session_state.get("visit")
    if visit is None:
        return
    _slate(visit)
    _numbers(visit, about)
    if isinstance(visit, SimulatedVisit):
        charts(visit)
    state(visit)


def _say_what_is_served(context: Context, about: dict[str, Any]) -> None:
    arms = ", ".join(f"**{escaped(arm['policy'])}** ({acting(arm)})" for arm in about["arms"])
    world = "own data" if context.world is None else plain(str(context.world["name"]))
    st.caption(f"{arms} for {escaped(world)}, asked over HTTP at {escaped(context.url)}")


def acting(arm: dict[str, Any]) -> str:
    """How far an arm's policy departs from its best slates."""
    named = [f"{name} {arm[name]:g}" for name in ("epsilon", "temperature") if arm[name]]
    return f"explores with {', '.join(named)}" if named else "does not explore"


def _act(work: Callable[[], None]) -> None:
    """Do what a button says; a refusal is shown on the page, and nothing is lost."""
    try:
        work()
    except ValueError as error:
        st.session_state["problem"] = str(error)


def _slate(visit: Visit) -> None:
    """The slate with a button below each item."""
    answer = visit.talk.answer
    if visit.over:
        _goodbye(visit)
        return
    if answer is None:
        st.button("Ask again", on_click=_act, args=(visit.ask,), type="primary")
        return
    st.subheader(f"Slate of step {answer['step']}")
    items = slate_of(visit.items)
    told = _told(visit) if isinstance(visit, HandVisit) else {}
    for first in range(0, len(items), 4):
        part = items[first : first + 4]
        for column, item in zip(st.columns(max(len(part), min(3, len(items)))), part, strict=False):
            with column.container(border=True):
                _card(visit, item, told)
    _buttons(visit, told)


def _card(visit: Visit, item: Item, told: dict[str, float]) -> None:
    assert item.slot is not None
    assert item.propensity is not None
    st.markdown(f"**{item.slot + 1}. {escaped(item.title)}**")
    lines = [f"{escaped(name)} {escaped(value)}" for name, value in item.lines]
    if item.appeal is not None:
        lines.append(f"appeal to the user {amount(item.appeal)}")
    lines.append(f"score **{amount(item.score or 0.0)}**")
    lines.append(f"propensity **{percent(item.propensity)}**")
    st.markdown("  \n".join(lines))
    if visit.can_click:
        work = _click(visit, item.slot, told)
        st.button("Click", key=f"click-{item.slot}", on_click=_act, args=(work,), width="stretch")


def _click(visit: Visit, slot: int | None, told: dict[str, float]) -> Callable[[], None]:
    if isinstance(visit, HandVisit):
        return lambda: visit.click(slot, told)
    return lambda: visit.click(slot)


def _told(visit: HandVisit) -> dict[str, float]:
    """What a click brings besides the click."""
    group = [f for f in visit.spec.response if f.size == 1 and f.name != "click"]
    if not group:
        return {}
    found = {}
    with st.expander("What a click brings"):
        for feature in group:
            low, high = span(feature)
            start = min(max(0.0, low), high)
            found[feature.name] = float(
                st.number_input(plain(feature.name), low, high, start, key=f"told-{feature.name}")
            )
    return found


def _buttons(visit: Visit, told: dict[str, float]) -> None:
    if isinstance(visit, HandVisit):
        st.button("Click nothing", on_click=_act, args=(_click(visit, None, told),))
        return
    place = row()
    place.button(
        "Let the user choose",
        on_click=_act,
        args=(visit.choose,),
        type="primary",
        width="stretch",
        help="The simulated user reacts, by the world's model of choice.",
    )
    if visit.can_click:
        work = _click(visit, None, told)
        place.button("Click nothing", on_click=_act, args=(work,), width="stretch")
    many = _many(visit)
    place.button("Let choose 10 times", on_click=_act, args=(lambda: many(10),), width="stretch")
    place.button(
        "Let choose to the end", on_click=_act, args=(lambda: many(MOST_STEPS),), width="stretch"
    )


def _many(visit: SimulatedVisit) -> Callable[[int], None]:
    def work(steps: int) -> None:
        for _ in range(steps):
            if visit.over:
                return
            visit.choose()

    return work


def _goodbye(visit: Visit) -> None:
    steps = len(visit.tracks[0].rewards)
    st.success(f"The user has left after {steps} slates. Draw another user to go on.")
    if not visit.talk.ended:
        st.button("Send the last response again", on_click=_act, args=(visit.ask,))
    if isinstance(visit, SimulatedVisit) and not all(track.over for track in visit.tracks):
        st.button("Let the others play to the end", on_click=_act, args=(visit.finish,))


def _numbers(visit: Visit, about: dict[str, Any]) -> None:
    """What the session came to so far."""
    track, answer = visit.tracks[0], visit.talk.answer
    cells: list[tuple[str, str, str | None]] = [
        ("Slates answered", f"{visit.talk.answers}", None),
        ("Click rate", percent(track.click_rate) if track.clicks else "-", "Clicks a slate."),
    ]
    if isinstance(visit, SimulatedVisit):
        cells.append(
            ("Return so far", amount(track.total), f"Sum of {plain(str(about['reward']))}.")
        )
    if answer is not None:
        text = "Of all items of the slate, in this order."
        cells.append(("Slate's propensity", percent(float(answer["propensity"])), text))
    metrics(cells)
