"""The config of a cycle: one YAML file, strictly checked before anything starts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from algorithms.layers import (
    Layer,
    Section,
    Seed,
    known,
    merge,
    override_layer,
    packaged_layer,
    read_layer,
    validated,
)
from offline.tables import duration


class JoinSection(Section):
    """How the raw log is joined.

    Attributes:
        window: how long before its end sessions may begin, such as `24h`; null for
            those that began since the last pass.
        session_gap: silence after which a session has ended.
        unanswered: as `offline.join` has it.
        reward: name of the function of responses; null for the endpoint's.
    """

    window: str | None = None
    session_gap: str = "30m"
    unanswered: Literal["zeros", "leave_out"] = "zeros"
    reward: str | None = None

    @field_validator("window", "session_gap")
    @classmethod
    def _is_time(cls, text: str | None) -> str | None:
        if text is not None and not duration(text):
            raise ValueError("give more than no time, such as 30m")
        return text


class ExploreSection(Section):
    """How a deployed policy departs from its best slates; null leaves it to the learner.

    Attributes:
        epsilon: chance of a uniformly random item, slot by slot.
        temperature: of the softmax over log-weights.
    """

    epsilon: float | None = Field(0.1, ge=0, le=1)
    temperature: float | None = Field(None, ge=0)


class JudgeSection(Section):
    """When a candidate is better than the live policy.

    Attributes:
        bound: above which the interval of the difference must lie, in reward a session.
        confidence: of the interval.
        min_sessions: that a pass has joined; fewer decide nothing.
        min_effective: effective sample size of the live policy's held-out sessions; less
            is too little overlap.
    """

    bound: float = 0.0
    confidence: float = Field(0.95, gt=0, lt=1)
    min_sessions: int = Field(200, ge=2)
    min_effective: float = Field(100.0, gt=0)


class CanarySection(Section):
    """A share of the traffic for a candidate that the log cannot judge.

    Attributes:
        share: of the sessions; null starts none.
        min_sessions: in either arm; fewer decide nothing.
        most_passes: at which a canary is looked at; undecided after the last it goes.
    """

    share: float | None = Field(0.2, gt=0, lt=1)
    min_sessions: int = Field(200, ge=2)
    most_passes: int = Field(5, ge=1)


class GuardSection(Section):
    """What a candidate must keep of the live policy's, as shares; null looks at nothing.

    Attributes:
        coverage: different items shown.
        diversity: mean distance between the items of a slate.
        rows: of the log, looked at.
    """

    coverage: float | None = Field(0.5, gt=0)
    diversity: float | None = Field(0.5, gt=0)
    rows: int = Field(20_000, ge=1)


class CycleSettings(Section):
    """All of a cycle.

    Attributes:
        join: of the raw log.
        learner: an offline learner.
        learn: config to lay over the learner's own.
        learn_from: passes whose logs are learned from, this one included.
        warm_start: whether to begin with the last pass's weights.
        holdout: share of sessions that are never learned from.
        seed: of the first pass; each later one takes the next.
        explore: of deployed policies.
        judge: when a candidate is better.
        canary: for candidates that the log cannot judge.
        guards: what must not be lost.
        keep: passes whose logs and runs stay.
        wait: seconds for running replicas to take a deployment.
    """

    join: JoinSection = JoinSection()
    learner: str = "slateq"
    learn: dict[str, Any] = Field(default_factory=dict)
    learn_from: int = Field(3, ge=1)
    warm_start: bool = True
    holdout: float = Field(0.2, gt=0, lt=1)
    seed: Seed = 0
    explore: ExploreSection = ExploreSection()
    judge: JudgeSection = JudgeSection()
    canary: CanarySection = CanarySection()
    guards: GuardSection = GuardSection()
    keep: int = Field(10, ge=1)
    wait: float = Field(30.0, ge=0)

    @model_validator(mode="after")
    def _can_be(self) -> Self:
        if self.join.window is not None and self.learn_from > 1:
            raise ValueError(
                f"join.window is {self.join.window} and learn_from {self.learn_from}; windows "
                "overlap, so their logs would hold sessions twice; set learn_from to 1, or "
                "join.window to null"
            )
        needed = max(self.learn_from, self.canary.most_passes)
        if self.keep < needed:
            raise ValueError(
                f"keep is {self.keep}, but learn_from and canary.most_passes need the logs of "
                f"{needed} passes; raise keep to {needed}"
            )
        return self


def load_settings(file: Path | None = None, overrides: Sequence[str] = ()) -> CycleSettings:
    """The settings of a cycle, checked.

    Args:
        file: a YAML file to lay over ours.
        overrides: `key=value` with dots in the key, to lay over that.

    Raises:
        ConfigError: anything is wrong with any of it.
    """
    own = packaged_layer("serve/cycle")
    assert own is not None, "configs/serve/cycle.yaml is part of the package"
    layers: list[Layer] = [own]
    if file is not None:
        layers.append(read_layer(file))
    layers += [override_layer(text) for text in overrides]
    data = merge(layers)
    known(layers, (), data, list(CycleSettings.model_fields))
    found: CycleSettings = validated(layers, (), CycleSettings, data)
    return found
