"""Judges one policy, or two, by a log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from offline.judge.binding import Bound, Wanted, bind
from offline.judge.diagnosis import Diagnosis, Recommendation, diagnose, recommend, warnings_of
from offline.judge.estimates import (
    Method,
    Outcome,
    chosen,
    contributions,
    logged,
    needs,
    outcome,
    outcomes,
)
from offline.judge.target import Target
from offline.log import Log, LogError
from offline.ope import Contributions, Estimator, Logged, Refusal, estimator
from offline.ope.ratios import UNCOVERED, uncovered_share

LOGGED = "logged"
"""What `--against` calls the policies that logged."""

_ROUNDING = 1e-5
"""Share of the estimates up to which a difference may come from propensities in float32."""

_MODELS = {"q", "v"}
_SLATES = {
    "behaviour_marginals",
    "target_marginals",
    "slot_reward",
    "pseudo_inverse",
    "slot_q",
    "slot_v",
}


@dataclass(frozen=True)
class Request:
    """What is to be judged, and how.

    Attributes:
        target: the policy.
        against: another one, or `logged`; alone if not given.
        estimators: their names, `all`, or those that fit if not given.
        method: of intervals.
        discount: of rewards.
        arm: of the log; all if not given.
    """

    target: Target
    against: Target | str | None = None
    estimators: Sequence[str] | None = None
    method: Method = field(default_factory=Method)
    discount: float = 1.0
    arm: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be, before the log is read."""
        if not 0 < self.discount <= 1:
            raise ValueError(f"the discount is {self.discount}; it lies above 0 and is at most 1")
        if self.estimators is not None and list(self.estimators) != ["all"]:
            if not self.estimators:
                raise ValueError("no estimator is named; name some, or leave --estimators out")
            for name in self.estimators:
                estimator(name)


@dataclass(frozen=True)
class Judgement:
    """What came of it.

    Attributes:
        bound: the log.
        logged: what the policies that logged earned.
        estimates: of the policy, by estimator.
        others: of the policy that it is compared with, by estimator.
        differences: of the two, by estimator.
        notes: what each estimator is, by name.
        diagnosis: of the weights.
        recommendation: which to believe.
        verdict: the comparison in one sentence.
        warnings: plain sentences.
    """

    bound: Bound
    logged: Outcome
    estimates: dict[str, Outcome]
    others: dict[str, Outcome]
    differences: dict[str, Outcome]
    notes: dict[str, str]
    diagnosis: Diagnosis
    recommendation: Recommendation
    verdict: str | None
    warnings: list[str]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        counts = self.bound.counts
        return {
            "rows": counts.rows,
            "sessions": len(self.bound.offsets) - 1,
            "arms": [
                {
                    "arm": arm,
                    "policy": policy,
                    "versions": len(versions),
                    "rows": rows,
                    "sessions": sessions,
                }
                for (arm, policy), (rows, sessions, versions) in sorted(counts.arms.items())
            ],
            "propensities": counts.sources,
            "logged": self.logged.to_json(),
            "estimates": {
                name: {**each.to_json(), "note": self.notes[name], **self._compared(name)}
                for name, each in self.estimates.items()
            },
            "recommended": self.recommendation.name,
            "reason": self.recommendation.reason,
            "verdict": self.verdict,
            "diagnostics": self.diagnosis.to_json(),
            "warnings": self.warnings,
        }

    def _compared(self, name: str) -> dict[str, Any]:
        if name not in self.differences:
            return {}
        return {
            "other": self.others[name].to_json(),
            "difference": self.differences[name].to_json(),
        }


def judge(log: Log, request: Request, progress: Callable[[int], None] | None = None) -> Judgement:
    """Read a log and judge a policy by it.

    Raises:
        LogError: faults of the log, or nothing can be learnt from it.
        Refusal: every estimator refuses; says what the first one does.
    """
    other = request.against if isinstance(request.against, Target) else None
    columns = needs(request.estimators)
    named = request.estimators is not None and "pi" in request.estimators
    wanted = Wanted(bool(columns & _MODELS), bool(columns & _SLATES), named, request.arm)
    targets = [request.target, *([] if other is None else [other])]
    bound = bind(log, targets, wanted, progress)
    for number, target in enumerate(targets):
        _refuse_certain(bound, number, target.name)
    asked = chosen(bound, request.estimators)
    method = request.method
    table, lacking = logged(bound, 0, asked, request.discount)
    found = contributions(asked, table, lacking)
    estimates = outcomes(found, method)
    _refuse_all(estimates)
    as_logged = _as_logged(table)
    others: dict[str, Outcome] = {}
    differences: dict[str, Outcome] = {}
    if request.against is not None:
        against = _against(bound, request, asked, as_logged)
        others, differences = outcomes(against, method), outcomes(found, method, against)
    diagnosis = diagnose(bound, table)
    recommendation = recommend(estimates, diagnosis)
    return Judgement(
        bound=bound,
        logged=outcome(as_logged, method),
        estimates=estimates,
        others=others,
        differences=differences,
        notes={each.name: each.summary for each in asked},
        diagnosis=diagnosis,
        recommendation=recommendation,
        verdict=_verdict(request, estimates, others, differences, recommendation),
        warnings=warnings_of(bound, diagnosis, estimates, recommendation),
    )


def _as_logged(table: Logged) -> Contributions:
    return estimator(LOGGED)(table)


def _against(
    bound: Bound, request: Request, asked: Sequence[Estimator], as_logged: Contributions
) -> dict[str, Contributions | Refusal]:
    """What the other policy's estimates consist of, by estimator."""
    if not isinstance(request.against, Target):
        return {each.name: as_logged for each in asked}
    table, lacking = logged(bound, 1, asked, request.discount)
    return contributions(asked, table, lacking)


def _refuse_certain(bound: Bound, number: int, name: str) -> None:
    """Refuse a log without any exploration, but for a policy that does the same."""
    behaviour, wanted = bound.behaviour, bound.targets[number].slots
    if not (behaviour >= 0).all():
        return
    share = uncovered_share(behaviour.sum(1), wanted.sum(1))
    if share > UNCOVERED:
        raise LogError(
            "every slate of this log was shown with certainty, so it does not tell what others "
            f"would have brought, and '{name}' would show others in {share:.1%} of the rows; log "
            "with exploration, such as --epsilon 0.1"
        )


def _refuse_all(estimates: dict[str, Outcome]) -> None:
    if all(each.value is None for each in estimates.values()):
        raise Refusal(next(iter(estimates.values())).refusal or "there is no estimate")


def _verdict(
    request: Request,
    estimates: dict[str, Outcome],
    others: dict[str, Outcome],
    differences: dict[str, Outcome],
    recommendation: Recommendation,
) -> str | None:
    """Better, worse or cannot tell, by the recommended estimate."""
    if request.against is None:
        return None
    other = request.against if isinstance(request.against, str) else request.against.name
    us, them = f"'{request.target.name}'", "what was logged" if other == LOGGED else f"'{other}'"
    doubt = f"cannot tell whether {us} is better than {them}"
    if recommendation.name is None:
        return f"{doubt}: {recommendation.reason}"
    name = recommendation.name
    found, compared, difference = estimates[name], others[name], differences[name]
    if difference.interval is None:
        return f"{doubt}: {difference.refusal}"
    low, high = difference.interval.low, difference.interval.high
    by = (
        f"{difference.value:+.4g} a session [{low:.4g}, {high:.4g}] at "
        f"{request.method.level:.0%} confidence, by {name}"
    )
    least = _ROUNDING * max(abs(each.value or 0.0) for each in (found, compared))
    if low > least or high < -least:
        return f"{us} is {'better' if low > 0 else 'worse'} than {them}: {by}"
    return f"{doubt}: {by}"


def slate_size(log: Log) -> int:
    """K of the first rows' largest slate, for which baselines are built.

    Raises:
        LogError: there is no row.
    """
    for rows in log.batches(256, ("slate",)):
        return int((rows["slate"] >= 0).sum(axis=1).max())
    raise LogError("the log has no rows; judge a log with whole sessions")
