"""The file of a comparison, strictly checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from algorithms.config import EvaluateSection
from algorithms.environment import EnvSection
from algorithms.layers import Section
from algorithms.registry import baseline_names


class EnvironmentSection(EnvSection):
    """A world to compare in; further keys are arguments of the world.

    Attributes:
        label: what tables and folders call it; its name if not given.
    """

    label: str | None = None

    @property
    def shown(self) -> str:
        """What tables call it."""
        return self.label or self.name


class EntrySection(Section):
    """An algorithm or a baseline, one line of the table.

    Attributes:
        algorithm: its name; see `python -m algorithms.train --list`.
        label: what tables call it; its name if not given. In different environments
            different entries may share one.
        config: a file to lay over the algorithm's own, relative to the comparison's;
            or one by environment.
        set: keys of the run's config with dots, such as `train.env_steps`, and values.
        env: arguments to add to every environment for this entry alone.
        environments: labels of those that it plays in; all if not given.
        published: a return that somebody else reports, to stand beside ours; or one
            by environment.
    """

    algorithm: str
    label: str | None = None
    config: str | dict[str, str] | None = None
    set: dict[str, Any] = Field(default_factory=dict)
    env: dict[str, Any] = Field(default_factory=dict)
    environments: tuple[str, ...] | None = None
    published: float | dict[str, float] | None = None

    @property
    def shown(self) -> str:
        """What tables call it."""
        return self.label or self.algorithm


class ComparisonFile(Section):
    """All of a comparison.

    Attributes:
        title: above the picture; the file's name if not given.
        seeds: of the training runs; each algorithm runs once with each.
        environments: the worlds, as a name or a section.
        entries: what is compared.
        set: as an entry's, for all that train.
        evaluate: the same users for every policy.
        against: label of the entry that differences are taken to; the first if not given.
        published_by: who reports the published returns.
        measure: what lines are ranked by and differences are taken of: the `return`
            of the final policies, or the reward of a step while `learning`, for
            worlds that change and where a policy that no longer learns says little.
    """

    title: str | None = None
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    environments: tuple[EnvironmentSection, ...]
    entries: tuple[EntrySection, ...]
    set: dict[str, Any] = Field(default_factory=dict)
    evaluate: EvaluateSection = EvaluateSection(backend="torch")
    against: str | None = None
    published_by: str | None = None
    measure: Literal["return", "learning"] = "return"

    @field_validator("seeds", "environments", "entries")
    @classmethod
    def _some(cls, values: Sequence[Any]) -> Sequence[Any]:
        if not values:
            raise ValueError("name at least one")
        return values

    @model_validator(mode="after")
    def _against_a_learner(self) -> Self:
        by_label = {entry.shown: entry.algorithm for entry in self.entries}
        label = self.against or next(iter(by_label))
        if self.measure == "learning" and by_label.get(label) in baseline_names():
            raise ValueError(
                f"measure is 'learning', but '{label}', which differences are taken to, learns "
                "nothing; name another entry as against"
            )
        return self

    @field_validator("seeds")
    @classmethod
    def _distinct_seeds(cls, seeds: Sequence[int]) -> Sequence[int]:
        if len(set(seeds)) < len(seeds) or min(seeds) < 0:
            raise ValueError("seeds must be distinct and not negative")
        return seeds
