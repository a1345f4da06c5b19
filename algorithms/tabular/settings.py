"""Settings of the tabular learners."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from algorithms.core.settings import ActingSettings


class Discretised(BaseModel):
    """A feature as a whole number.

    Attributes:
        feature: its name; `history` stands for all columns of the session history.
        bins: equal parts of the range, for each column of numbers and vectors;
            not for categories and ids, which are counted already.
        low: where the first bin begins; the feature's declared bound if not given.
        high: where the last one ends. What lies beyond falls into the outer bins.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    feature: str
    bins: int | None = Field(None, ge=1)
    low: float | None = None
    high: float | None = None


class TabularSettings(ActingSettings):
    """What Q-learning, SARSA and expected SARSA have.

    A step of n users who met one entry of the table moves it by

        Q += (1 - (1 - lr_n)^n) * (mean target - Q),

    as n updates one after the other towards their mean target would;
    lr_n = lr / visits^lr_power, with this step's visits counted.

    Attributes:
        gamma: discount of a step.
        lr: step size.
        lr_power: 0 keeps the step size; from 0.5 to 1 averages luck away.
        initial_value: of every entry; high values make the learner try everything.
        state: what the state is made of: user features, or `history`; all user
            features if not given, where each is a category or an id.
        item: the same of a candidate. Candidates that look the same share their value.
        max_entries: larger tables are refused.
    """

    epsilon: float = Field(0.1, ge=0, le=1)
    gamma: float = Field(1.0, ge=0, le=1)
    lr: float = Field(0.5, gt=0, le=1)
    lr_power: float = Field(0.0, ge=0, le=1)
    initial_value: float = 0.0
    state: tuple[Discretised, ...] | None = None
    item: tuple[Discretised, ...] | None = None
    max_entries: int = Field(10_000_000, ge=1)
