"""The page of the endpoint's own figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from serve.demonstrating.context import Context
from serve.demonstrating.labels import Rows, amount, opening, percent, plain
from serve.demonstrating.shared import metrics
from serve.watching import ScrapeError, addresses, scrape

EVERY_SECONDS = 5.0
LEAST_WEIGHT = 0.5
"""Mean weight below which weights are alike only because the rest was never shown."""


def live(context: Context) -> None:
    """Draw the page."""
    st.title("Live serving")
    st.caption(
        f"From the endpoint's own metrics since it started, read every {EVERY_SECONDS:.0f} s; "
        "Ray exports them up to 10 s late."
    )
    st.button("Refresh now")
    st.fragment(lambda: figures(Path(context.state)), run_every=EVERY_SECONDS)()


def figures(state: Path) -> None:
    """All figures, or why there are none."""
    try:
        found = scrape(*addresses(state))
    except ScrapeError as error:
        st.warning(opening(str(error)))
        return
    for title, cells in groups(found):
        st.subheader(title)
        metrics(cells)
    arms = arms_rows(found)
    if arms:
        st.subheader("By arm")
        st.dataframe(arms, hide_index=True, width="stretch")
    drift = drift_rows(found)
    if drift:
        st.subheader("Drift against the training log")
        st.dataframe(drift, hide_index=True, width="stretch")


Cell = tuple[str, str, str | None]


def groups(found: Mapping[str, Any]) -> list[tuple[str, list[Cell]]]:
    """Figures in rows of four: a name, a value with its unit, what it means."""
    return [
        (
            "Answers",
            [
                ("Requests", whole(found["requests"]), "Answered, whatever the status."),
                ("Median latency", unit(found["p50_ms"], "ms"), "To answer, in the replica."),
                ("95 % within", unit(found["p95_ms"], "ms"), "To answer, in the replica."),
                (
                    "Errors",
                    whole(found["errors"] + found["busy"]),
                    "Status 500 and above; 503, busy, included.",
                ),
            ],
        ),
        (
            "Slates",
            [
                ("Slates", whole(found["slates"]), "A batch has several."),
                ("Click rate", share(found["click_rate"]), "Of slates with a response."),
                ("Reward a slate", unit(found["reward"], ""), "Of slates with a response."),
                ("Fallbacks", whole(found["fallbacks"]), "Slates of the safe policy."),
            ],
        ),
        (
            "Exploration",
            [
                ("Explored", share(found["explored"]), "Slots with another item than the best."),
                (
                    "ESS of 1,000",
                    unit(effective(found), ""),
                    "Effective sample size of 1,000 logged slates for a uniformly random policy; "
                    "none while the mean weight is far below 1.",
                ),
                (
                    "Mean weight",
                    unit(found["weight"].get("uniform"), ""),
                    "Importance weight for a uniformly random policy, 1 where the endpoint shows "
                    "all that such a policy would.",
                ),
            ],
        ),
        (
            "Log",
            [
                ("Lag", unit(found["unsynced_seconds"], "s"), "Oldest line not on disk yet."),
                ("Silence", unit(found["idle_seconds"], "s"), "Since the last line."),
                ("Lines lost", whole(found["log_lost"]), "That could not be written."),
            ],
        ),
    ]


def effective(found: Mapping[str, Any]) -> float | None:
    """Effective sample size of 1,000 for the uniform policy; `None` where it says nothing."""
    weight, ess = found["weight"].get("uniform"), found["ess"].get("uniform")
    return None if weight is None or weight < LEAST_WEIGHT else ess


def whole(value: float) -> str:
    """A count."""
    return f"{value:,.0f}"


def unit(value: float | None, name: str) -> str:
    """A number with its unit, a dash for none."""
    return "-" if value is None else f"{amount(value)} {name}".strip()


def share(value: float | None) -> str:
    """A share in per cent, a dash for none."""
    return "-" if value is None else percent(value)


def arms_rows(found: Mapping[str, Any]) -> Rows:
    """A row an arm."""
    return [
        {
            "arm": arm,
            "slates": whole(each["slates"]),
            "responses": whole(each["responses"]),
            "click rate": share(each["click_rate"]),
            "reward a slate": unit(each["reward"], ""),
            "explored": share(each["explored"]),
            "fallbacks": whole(each["fallbacks"]),
        }
        for arm, each in found["arms"].items()
    ]


def drift_rows(found: Mapping[str, Any]) -> Rows:
    """A row a feature, empty without a reference."""
    return [
        {
            "feature": plain(name),
            "PSI": round(each.get("psi", 0.0), 3),
            "shift (standard deviations)": round(each.get("shift", 0.0), 3),
        }
        for name, each in found["drift"].items()
    ]
