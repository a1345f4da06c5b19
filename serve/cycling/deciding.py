"""What to do with a candidate and with a canary: pure functions of figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from serve.cycling.settings import CanarySection, JudgeSection

ROUNDING = 1e-5
"""Share of the values up to which a difference may come from propensities in float32."""

STRAYS, ROUNDED = 3.0, 1e-3
"""Standard errors, and more, by which the mean weight may miss 1."""

Fate = Literal["deploy", "canary", "keep"]
CanaryFate = Literal["promote", "keep_on", "withdraw"]


@dataclass(frozen=True)
class Difference:
    """How much more a policy earns in a session than the live one.

    Attributes:
        value: estimated.
        low: lower end of its interval.
        high: upper end.
        scale: largest of the two policies' values, for the size of rounding errors.
    """

    value: float
    low: float
    high: float
    scale: float = 0.0


@dataclass(frozen=True)
class Judged:
    """What the live policy's held-out sessions say of a candidate.

    Attributes:
        sessions: how many.
        effective: sample size of the weights.
        mean_weight: 1 is expected.
        mean_weight_error: its standard error.
        difference: from the live policy; `None` where there is none.
        refusal: why.
    """

    sessions: int
    effective: float = 0.0
    mean_weight: float = 0.0
    mean_weight_error: float = 0.0
    difference: Difference | None = None
    refusal: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Compared:
    """Sessions of a canary against those of the live policy in the same time.

    Attributes:
        canary: sessions.
        live: sessions.
        difference: of the mean returns; `None` with fewer than two sessions in an arm.
    """

    canary: int
    live: int
    difference: Difference | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Guard:
    """Something that a candidate must not lose.

    Attributes:
        name: of it.
        candidate: its value; `None` where there is nothing to measure.
        live: that of the live policy.
        share: of the live policy's value that is the least.
    """

    name: str
    candidate: float | None
    live: float | None
    share: float

    @property
    def holds(self) -> bool:
        """Whether the candidate has enough of it."""
        if self.candidate is None or self.live is None:
            return True
        return self.candidate >= self.share * self.live

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "holds": self.holds}


@dataclass(frozen=True)
class Decision:
    """What to do, and why in one sentence."""

    fate: Fate
    why: str


@dataclass(frozen=True)
class CanaryDecision:
    """What becomes of a canary, and why in one sentence."""

    fate: CanaryFate
    why: str


def decide(
    came: int, found: Judged, guards: Sequence[Guard], rules: JudgeSection, share: float | None
) -> Decision:
    """What to do with a candidate.

    Args:
        came: sessions that this pass has joined.
        found: of the live policy's log.
        guards: what the candidate must not lose.
        rules: when it is better.
        share: of a canary; `None` for none.
    """
    lost = [guard for guard in guards if not guard.holds]
    if lost:
        first = lost[0]
        return Decision(
            "keep",
            f"its {first.name} of {first.candidate:.4g} is below {first.share:.0%} of the live "
            f"policy's {first.live:.4g}",
        )
    if came < rules.min_sessions:
        return Decision(
            "keep",
            f"{came} sessions are fewer than the {rules.min_sessions} that judge.min_sessions "
            "asks for",
        )
    doubt = _doubt(found, rules)
    if doubt is not None:
        if share is None:
            return Decision("keep", f"{doubt}, and canary.share is null")
        return Decision("canary", f"{doubt}, so {share:.0%} of the sessions try it")
    assert found.difference is not None
    better = _better(found.difference, rules.bound)
    words = _words(found.difference, rules.confidence, rules.bound)
    if better > 0:
        return Decision("deploy", f"it earns more than the live policy: {words}")
    if better < 0:
        return Decision("keep", f"it does not earn enough more than the live policy: {words}")
    return Decision("keep", f"it is not known to earn more than the live policy: {words}")


def _doubt(found: Judged, rules: JudgeSection) -> str | None:
    """Why the log cannot judge a candidate; `None` where it can."""
    if found.difference is None:
        return f"the log cannot judge it ({found.refusal or 'there is no interval'})"
    if found.effective < rules.min_effective:
        return (
            f"the log says as much of it as {found.effective:.3g} sessions of its own, and "
            f"judge.min_effective is {rules.min_effective:g}"
        )
    if abs(found.mean_weight - 1) > STRAYS * found.mean_weight_error + ROUNDED:
        return (
            f"the mean weight is {found.mean_weight:.3g} where 1 is expected, so the log seldom "
            "shows what it would"
        )
    return None


def decide_canary(
    found: Compared, looks: int, rules: CanarySection, judge: JudgeSection
) -> CanaryDecision:
    """What to do with a canary.

    Args:
        found: its sessions and the live policy's, with an interval at `level_of`.
        looks: at this canary so far, this one included.
        rules: of canaries.
        judge: when a policy is better.
    """
    last = looks >= rules.most_passes
    over = f"; that was look {looks} of {rules.most_passes}"
    fewest = min(found.canary, found.live)
    if fewest < rules.min_sessions or found.difference is None:
        why = (
            f"{found.canary} sessions of the canary and {found.live} of the live policy are too "
            f"few (canary.min_sessions is {rules.min_sessions})"
        )
        return CanaryDecision("withdraw" if last else "keep_on", why + (over if last else ""))
    words = _words(found.difference, level_of(rules, judge), judge.bound)
    better = _better(found.difference, judge.bound)
    if better > 0:
        return CanaryDecision("promote", f"it earns more than the live policy: {words}")
    if better < 0:
        return CanaryDecision(
            "withdraw", f"it does not earn enough more than the live policy: {words}"
        )
    why = f"whether it earns more than the live policy is open: {words}"
    return CanaryDecision("withdraw" if last else "keep_on", why + (over if last else ""))


def level_of(rules: CanarySection, judge: JudgeSection) -> float:
    """Confidence of one look at a canary, so that all looks together err no more often.

    1 - (1 - confidence) / looks: Bonferroni, because a canary that is looked at until
    it shines would be promoted too often.
    """
    return 1 - (1 - judge.confidence) / rules.most_passes


def _better(found: Difference, bound: float) -> int:
    """1 where the whole interval lies above the bound, -1 where below, else 0."""
    least = ROUNDING * abs(found.scale)
    if not (math.isfinite(found.low) and math.isfinite(found.high)):
        return 0
    if found.low > bound + least:
        return 1
    return -1 if found.high < bound - least else 0


def _words(found: Difference, level: float, bound: float) -> str:
    return (
        f"{found.value:+.4g} a session [{found.low:.4g}, {found.high:.4g}] at {level:.4g} "
        f"confidence, bound {bound:g}"
    )
