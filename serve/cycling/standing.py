"""Who is live, who is on trial, and the arms that a decision makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from serve.cycling.deciding import CanaryFate, Fate
from serve.cycling.keeping import Canary, CycleError, Memory
from serve.deploy import beside
from serve.live import ArmEntry, Pointer

ARM = "canary"
"""Name of the arm on trial."""


@dataclass(frozen=True)
class Standing:
    """The arms of an endpoint as a cycle sees them.

    Attributes:
        live: the arm that a candidate must beat.
        canary: on trial.
        note: what happened to a canary outside of the cycle; empty if nothing.
    """

    live: ArmEntry
    canary: Canary | None
    note: str = ""


def standing(pointer: Pointer | None, memory: Memory, state: Path) -> Standing:
    """Find the live policy and the canary among the arms.

    Raises:
        CycleError: nothing is live, or arms that the cycle did not make.
    """
    if pointer is None:
        raise CycleError(
            f"nothing is live in {state}; begin with `python -m serve.run RUN --state {state}`"
        )
    arms: tuple[ArmEntry, ...] = pointer.arms
    canary = memory.canary
    note = ""
    if canary is not None:
        on_trial = (ARM, canary.policy)
        others = tuple(arm for arm in arms if (arm.name, arm.policy) != on_trial)
        if len(others) == len(arms):
            note = f"{name_of(canary.policy)} was taken away outside of the cycle"
            canary = None
        arms = others
    if len(arms) != 1:
        names = ", ".join(arm.name for arm in arms)
        raise CycleError(
            f"{state} has arms that the cycle did not make ({names}); end that experiment with "
            f"`python -m serve.deploy RUN --state {state}` first"
        )
    return Standing(arms[0], canary, note)


def name_of(policy: str) -> str:
    """A policy's name, of its folder within the state folder."""
    return policy.rpartition("/")[2]


def tag_of(policy: str) -> str:
    """What the log has as `policy_version` of a policy."""
    return name_of(policy).partition("-")[2]


def settled(now: Standing, fate: CanaryFate | None) -> Standing:
    """The arms after a canary was judged."""
    if now.canary is None or fate in (None, "keep_on"):
        return now
    live = ArmEntry(now.live.name, now.live.policy, 1.0)
    if fate == "promote":
        live = ArmEntry(now.live.name, now.canary.policy, 1.0)
    return Standing(live, None, now.note)


def arms_after(
    before: tuple[ArmEntry, ...], now: Standing, fate: Fate, policy: str | None, share: float | None
) -> tuple[ArmEntry, ...]:
    """What is to be live.

    Args:
        before: what is.
        now: after the canary was judged.
        fate: of the candidate.
        policy: the candidate's folder; `None` without one.
        share: of a canary.
    """
    if now.canary is not None:
        return before
    live = ArmEntry(now.live.name, now.live.policy, 1.0)
    if policy is None or fate == "keep":
        return (live,)
    if fate == "deploy":
        return (ArmEntry(now.live.name, policy, 1.0),)
    assert share is not None, "a canary has a share"
    return beside((live,), ArmEntry(ARM, policy, share))
