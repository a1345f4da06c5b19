"""The config of an offline run: one YAML file, strictly checked before anything starts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from algorithms.config import EvaluateSection
from algorithms.environment import HistoryTerm
from algorithms.layers import (
    ConfigError,
    Layer,
    Plain,
    Section,
    Seed,
    algorithm_of,
    command_layers,
    known,
    packaged_layer,
    validated,
)
from offline.learning.registry import learner


class OfflineTrainSection(Section):
    """How much to train, and what to do meanwhile. An update is a gradient step.

    Attributes:
        epochs: passes over the log, at most; null for no limit.
        updates: the same; what is reached first ends the run.
        memory_gb: of the log that is kept in memory. A log that fits is read once; a
            larger one anew in each epoch, shards in random order, so many rows at a time
            that this holds, shuffled among themselves.
        holdout: share of sessions that are not learned from, by a hash of their ids.
        evaluate_every: updates between losses on those sessions and rows of metrics.
        select: which weights are exported: the `last`, or the `best` by the held-out loss.
        checkpoint_every: updates between checkpoints.
        keep_checkpoints: how many of the last ones stay, besides the best.
        torch_threads: of this process; each worker has one.
    """

    epochs: int | None = Field(None, ge=1)
    updates: int | None = Field(None, ge=1)
    memory_gb: float = Field(0.5, gt=0)
    holdout: float = Field(0.05, ge=0, lt=1)
    evaluate_every: int = Field(250, ge=1)
    select: Literal["best", "last"] = "last"
    checkpoint_every: int = Field(1000, ge=1)
    keep_checkpoints: int = Field(2, ge=1)
    torch_threads: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _can_be(self) -> Self:
        if self.epochs is None and self.updates is None:
            raise ValueError("train.epochs and train.updates are both null; limit one of them")
        if self.select == "best" and not self.holdout:
            raise ValueError(
                "train.select is best, but train.holdout 0 leaves nothing to find that out "
                "with; set train.select to last"
            )
        return self


class OfflineConfig(Section):
    """All of an offline run. The learner's settings stand under its name in a file.

    Attributes:
        algorithm: the learner.
        seed: of weights and shuffles.
        workers: Ray learners that share each minibatch; 0: this process learns.
        data: folders, files or patterns of the log.
        init: a run whose policy's weights to begin with; null for fresh ones.
        slate_size: of the policy's slates; null takes that of the log's first rows.
        history: what to remember of a session, computed from the log; null takes what
            the log holds.
        train: how much.
        evaluate: the sessions played at the end, where the log is of a world of ours.
        settings: of the learner.
    """

    algorithm: str
    seed: Seed = 0
    workers: int = Field(0, ge=0)
    data: tuple[str, ...] = Field(min_length=1)
    init: str | None = None
    slate_size: int | None = Field(None, ge=1)
    history: tuple[HistoryTerm, ...] | None = None
    train: OfflineTrainSection
    evaluate: EvaluateSection = EvaluateSection()
    settings: dict[str, Any] = Field(default_factory=dict)

    @property
    def keep_checkpoints(self) -> int:
        """How many of the last checkpoints stay."""
        return self.train.keep_checkpoints

    def to_plain(self) -> Plain:
        """Plain data as it stands in a file; `parse` reads it back unchanged."""
        plain: Plain = json.loads(self.model_dump_json())
        plain[self.algorithm] = plain.pop("settings")
        return plain


def load_config(
    name: str,
    file: Path | None = None,
    overrides: Sequence[str] = (),
    changes: Mapping[str, Any] | None = None,
) -> OfflineConfig:
    """The config of a run, checked.

    Args:
        name: of the learner.
        file: a YAML file to lay over the learner's own.
        overrides: `key=value` with dots in the key, to lay over that.
        changes: the same from flags of a command, by key; `None` is no change.

    Raises:
        ConfigError: anything is wrong with any of it.
    """
    try:
        learner(name)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    own = packaged_layer(f"offline/{name}")
    if own is None:
        raise ConfigError(
            f"there is no configs/offline/{name}.yaml; every offline learner needs one"
        )
    return _located(parse(command_layers(name, own, file, overrides, changes or {})))


def _located(config: OfflineConfig) -> OfflineConfig:
    """Paths in full, so that a run can be resumed from another folder."""
    data = tuple(str(Path(one).resolve()) for one in config.data)
    init = None if config.init is None else str(Path(config.init).resolve())
    return config.model_copy(update={"data": data, "init": init})


def parse(layers: Sequence[Layer]) -> OfflineConfig:
    """Check merged layers.

    Raises:
        ConfigError: an unknown key, a wrong type, or a combination that cannot be.
    """
    data, name, entry = algorithm_of(layers, learner)
    if not data.get("data"):
        raise ConfigError("there is no log to learn from; give its folder with --data")
    keys = [key for key in OfflineConfig.model_fields if key != "settings"]
    known(layers, (), data, [*keys, name])
    settings = validated(layers, (name,), entry.settings, data.pop(name, None) or {})
    config: OfflineConfig = validated(layers, (), OfflineConfig, data)
    return config.model_copy(update={"settings": settings.model_dump(mode="json")})
