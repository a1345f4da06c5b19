"""Fragments of remote runners, asked for one round ahead of the learner."""

from __future__ import annotations

from typing import Any

import ray
from ray.rllib.env.env_runner_group import EnvRunnerGroup

from algorithms.core.fragment import Failure, Sample

_TAG = "sample"


class SampleAhead:
    """While the learner works on one round of fragments, the runners play the next.

    Rounds stay in lockstep: each has one fragment a runner, in the order of
    the runners, and its weights lag one update behind the learner's. So a run
    depends on its seed and on no timing.
    """

    def __init__(self, group: EnvRunnerGroup) -> None:
        """Nothing is asked yet."""
        self._group = group
        self._asked: set[int] = set()
        self._held: dict[int, list[Sample]] = {}

    def ask(self, weights: dict[str, Any], **request: Any) -> None:
        """Ask every healthy runner that owes nothing for a fragment.

        Args:
            weights: to act with; they travel with the request, because a
                separate push can be dropped while a request is in flight.
            **request: of the runner's `sample`.
        """
        healthy = set(self._group.healthy_env_runner_ids())
        self._asked &= healthy
        free = sorted(healthy - self._asked - self._held.keys())
        if not free:
            return
        self._group.foreach_env_runner_async(
            "sample",
            tag=_TAG,
            kwargs={"weights": ray.put(weights), **request},
            remote_worker_ids=free,
        )
        self._asked.update(free)

    def take(self) -> list[Sample]:
        """Wait for what was asked for; runners that died meanwhile deliver nothing.

        Raises:
            ValueError: an agent or a world on a runner refuses what it got.
            RuntimeError: it failed there.
        """
        held = self.hold()
        self._held = {}
        return [sample for runner in sorted(held) for sample in held[runner]]

    def hold(self) -> dict[int, list[Sample]]:
        """Wait as `take` does, but keep the samples for the next `take`, by runner."""
        if self._asked:
            found = self._group.fetch_ready_async_reqs(tags=_TAG, timeout_seconds=None)
            self._asked = set()
            for runner, answer in found:
                if isinstance(answer, Failure):
                    raise answer.error()
                self._held[runner] = answer
        return dict(self._held)

    def replace(self, held: dict[int, list[Sample]]) -> None:
        """Continue from what `hold` gave; what is in flight is dropped."""
        if self._asked:
            self._group.fetch_ready_async_reqs(tags=_TAG, timeout_seconds=None)
            self._asked = set()
        self._held = dict(held)
