"""The config of an endpoint: one YAML file, strictly checked before anything starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from algorithms.layers import (
    Layer,
    Section,
    known,
    merge,
    override_layer,
    read_layer,
    validated,
)


class Limits(Section):
    """What a request may ask for.

    Attributes:
        max_body_bytes: of a request.
        max_candidates: in a request, and considered of the catalogue.
        max_slate: items of a slate.
        max_batch: requests in a batch.
        max_epsilon: exploration that a request may ask for.
        body_seconds: for a client to send its request in.
        max_in_flight: requests that a replica holds at a time; others get 503.
        retry_after: seconds, of a 503.
    """

    max_body_bytes: int = Field(4 * 2**20, ge=1024)
    max_candidates: int = Field(1000, ge=1)
    max_slate: int = Field(50, ge=1, le=255)
    max_batch: int = Field(100, ge=1)
    max_epsilon: float = Field(0.5, ge=0, le=1)
    body_seconds: float = Field(10.0, gt=0)
    max_in_flight: int = Field(64, ge=1)
    retry_after: int = Field(1, ge=1)


class LogSection(Section):
    """The raw log.

    Attributes:
        rotate_mb: megabytes after which a replica begins the next shard.
        rotate_seconds: the same by time.
        sync_seconds: between two syncs to disk; what a power cut may lose.
    """

    rotate_mb: float = Field(256, gt=0)
    rotate_seconds: float = Field(3600, gt=0)
    sync_seconds: float = Field(1.0, gt=0)


class CatalogueSection(Section):
    """Items on the server, instead of candidates in requests.

    Attributes:
        path: a Parquet or CSV file with a column `id` and one for each feature column.
        limit: items considered for a slate where a request does not say, the nearest.
    """

    path: str
    limit: int = Field(100, ge=1)


class ArmSection(Section):
    """One of several policies.

    Attributes:
        name: of the arm.
        policy: a run folder, a policy folder or a baseline.
        weight: its part of the traffic, in proportion to the others'.
    """

    name: str = Field(min_length=1, max_length=64)
    policy: str
    weight: float = Field(gt=0, allow_inf_nan=False)


class SafeSection(Section):
    """What answers where the policy fails.

    Attributes:
        kind: `random` among the eligible, or `popular`.
        counts: for `popular`, a CSV file with columns `id` and `count`.
    """

    kind: Literal["random", "popular"] = "random"
    counts: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.kind == "popular") != (self.counts is not None):
            raise ValueError(
                f"safe.kind is '{self.kind}' and safe.counts is {self.counts or 'null'}; give a "
                "file of counts with 'popular', and none with 'random'"
            )
        return self


class ReplicaSection(Section):
    """Processes that answer.

    Attributes:
        number: of them, or the fewest where `most` is given.
        most: up to which they are added under load; null for a fixed number.
        target_requests: in flight in each, on average over time, which more of them are
            added to keep; 2 is about three quarters of what a replica can do.
        max_queued: requests that wait for a replica before 503; -1 for no limit.
        cpus: that Ray sets aside for each.
    """

    number: int = Field(1, ge=1)
    most: int | None = Field(None, ge=1)
    target_requests: float = Field(2.0, gt=0)
    max_queued: int = Field(128, ge=-1)
    cpus: float = Field(1.0, ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_queued == 0:
            raise ValueError(
                "replicas.max_queued is 0; Ray Serve takes at least 1, or -1 for no limit"
            )
        if self.most is not None and self.most < self.number:
            raise ValueError(
                f"replicas.most is {self.most} and replicas.number {self.number}; "
                "the most must be at least the fewest"
            )
        return self


class WatchingSection(Section):
    """What an endpoint tells of itself; see docs/watching.md.

    Attributes:
        access_log: what gets a line: `errors` (and answers of the safe policy), `all`, `off`.
        drift_half_life_s: seconds after which what was seen counts half in drift.
    """

    access_log: Literal["errors", "all", "off"] = "errors"
    drift_half_life_s: float = Field(600.0, gt=0)


class Settings(Section):
    """All of an endpoint but its policy.

    Attributes:
        session_gap_s: seconds after which a token begins a new session; null for never.
        assign_by: what an experiment assigns to arms: `session` or `user`.
        watch_seconds: between two looks at `live.json` and the catalogue.
        api_key_file: with the key that clients send as `X-API-Key`; else the
            environment's `RECSIM_SERVE_API_KEY`, and none at all if that is empty too.
        arms: policies to begin an experiment with; empty where the command names one.
    """

    session_gap_s: float | None = Field(1800.0, gt=0)
    assign_by: Literal["session", "user"] = "session"
    watch_seconds: float = Field(0.5, gt=0)
    api_key_file: str | None = None
    arms: tuple[ArmSection, ...] = ()
    limits: Limits = Limits()
    log: LogSection = LogSection()
    safe: SafeSection = SafeSection()
    catalogue: CatalogueSection | None = None
    replicas: ReplicaSection = ReplicaSection()
    watching: WatchingSection = WatchingSection()

    @model_validator(mode="after")
    def _different(self) -> Self:
        names = [arm.name for arm in self.arms]
        if len(set(names)) < len(names):
            raise ValueError(f"arms are named {', '.join(names)}; give each a name of its own")
        return self

    @model_validator(mode="after")
    def _within(self) -> Self:
        most = self.limits.max_candidates
        if self.catalogue is not None and self.catalogue.limit > most:
            raise ValueError(
                f"catalogue.limit is {self.catalogue.limit} and limits.max_candidates {most}; "
                "consider no more items than a request may bring"
            )
        return self


def load_settings(
    file: str | Path | None = None,
    overrides: Sequence[str] = (),
    changes: Mapping[str, Any] | None = None,
) -> Settings:
    """The settings of an endpoint, checked.

    Args:
        file: a YAML file.
        overrides: `key=value` with dots in the key, to lay over that.
        changes: plain data to lay over that, from flags of a command.

    Raises:
        ConfigError: anything is wrong with any of it.
    """
    layers: list[Layer] = [("defaults", {})]
    if file is not None:
        layers.append(read_layer(Path(file)))
    layers += [override_layer(text) for text in overrides]
    layers.append(("the command", dict(changes or {})))
    data = merge(layers)
    known(layers, (), data, list(Settings.model_fields))
    found: Settings = validated(layers, (), Settings, data)
    return found
