"""What an estimator is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from offline.ope.columns import Logged, Refusal
from offline.ope.contributions import Contributions

Scope = Literal["one step", "sessions", "slates"]


@dataclass(frozen=True)
class Options:
    """Settings of the estimators that have one; what is not given follows from S sessions.

    Attributes:
        largest_weight: at which `clipped` clips and `switch_dr` switches to the
            model; sqrt(S) if not given (Ionides, 2008).
        shrinkage: lambda of `dr_os`; S if not given, which keeps weights below
            sqrt(S) / 2.

    Raises:
        ValueError: a setting is not positive.
    """

    largest_weight: float | None = None
    shrinkage: float | None = None

    def __post_init__(self) -> None:
        """Refuse what no estimator can use."""
        for name, value in (
            ("largest_weight", self.largest_weight),
            ("shrinkage", self.shrinkage),
        ):
            if value is not None and not value > 0:
                raise ValueError(f"{name} is {value}; it must be positive")


@dataclass(frozen=True)
class Estimator:
    """An estimator of the registry.

    Attributes:
        name: on the command line.
        summary: one line.
        scope: `one step` and `slates` (of one step) are for sessions of one row.
        needs: columns of `Logged` that it reads, beside reward and offsets.
        compute: what each session adds.
        normalised: whether its weights are; then no bounds can be declared for it.
    """

    name: str
    summary: str
    scope: Scope
    needs: tuple[str, ...]
    compute: Callable[[Logged, Options], Contributions]
    normalised: bool = False

    def __call__(self, log: Logged, options: Options | None = None) -> Contributions:
        """What each session of the log adds to the estimate.

        Raises:
            Refusal: the log lacks what it needs, or its assumptions fail.
        """
        if self.scope != "sessions" and not log.is_one_step:
            raise Refusal(
                f"'{self.name}' judges sessions of one step, and {log.rows} rows in "
                f"{log.sessions} sessions are given; use one for sessions, such as 'pdis'"
            )
        lacking = [name for name in self.needs if getattr(log, name) is None]
        if lacking:
            raise Refusal(
                f"'{self.name}' needs the columns {', '.join(lacking)}, which this log lacks; "
                "give them, or use an estimator that does without"
            )
        return self.compute(log, options or Options())
