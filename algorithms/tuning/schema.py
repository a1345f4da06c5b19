"""The `tune:` section of a config, strictly checked."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from algorithms.layers import Section


class Searched(Section):
    """What a key may be: a range with both ends, or a list of choices.

    Attributes:
        low: lower end of a range.
        high: upper end.
        log: search the logarithm, so that each factor of ten counts the same.
        choices: of any type that the key takes.
    """

    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    choices: tuple[Any, ...] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.choices is not None:
            if self.low is not None or self.high is not None or self.log:
                raise ValueError("give either choices, or low and high")
            if len(self.choices) < 2 or any(c in self.choices[:i] for i, c in self._numbered()):
                raise ValueError("choices must be two or more different values")
            return self
        if self.low is None or self.high is None:
            raise ValueError("give low and high, or a list of choices")
        if not self.low < self.high:
            raise ValueError(f"low is {self.low}, which must be less than high, {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low is {self.low}, which must be above 0 to search its logarithm")
        return self

    def _numbered(self) -> list[tuple[int, Any]]:
        return list(enumerate(self.choices or ()))


class TuneSection(Section):
    """How a search goes, beside what it searches.

    Attributes:
        users: fresh ones who judge a trial, one session each, always the same.
        reduction: at each reading one trial in so many goes on; null stops none.
        first_reading: steps before which no trial is stopped; the budget divided by
            the square of `reduction` if not given.
    """

    users: int = Field(1000, ge=2)
    reduction: int | None = Field(3, ge=2)
    first_reading: int | None = Field(None, ge=1)
