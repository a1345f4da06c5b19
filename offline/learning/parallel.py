"""Learners on Ray that share each minibatch and average their gradients."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
import torch.distributed as group
from torch import Tensor
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from algorithms.cluster import WorkersLost
from offline.learning.agent import OfflineAgent
from offline.learning.data import Block
from offline.learning.steps import LocalLearner

_START_SECONDS = 180.0
"""In which learners have to find each other; without a CPU for each they never do."""


class Part:
    """One of the learners, in a Ray actor; all hold the same weights after each step."""

    def __init__(self, rank: int, learners: int, agent: OfflineAgent, budget: int) -> None:
        """Begin with the agent's weights."""
        torch.set_num_threads(1)
        self._rank, self._learners, self._share = rank, learners, 1.0
        self.learner = LocalLearner(agent, budget)
        self.learner.synchronise = self._add_up
        agent.average = self._average

    def open(self) -> tuple[str, int]:
        """Address of the store where the learners find each other; of the first one."""
        import ray

        host = ray.util.get_node_ip_address()
        self._store = TCPStore(host, 0, self._learners, True, wait_for_workers=False)
        return host, self._store.port

    def join(self, host: str, port: int) -> None:
        """Meet the others; returns when all are there."""
        if self._rank:
            self._store = TCPStore(host, port, self._learners, False)
        group.init_process_group(
            "gloo", store=self._store, rank=self._rank, world_size=self._learners
        )

    def learn(self, columns: dict[str, Any], sizes: list[int], shares: list[float]) -> None:
        """A gradient step with this learner's part of each of several minibatches.

        Args:
            columns: rows of all parts one after the other, as arrays.
            sizes: rows of each part.
            shares: of each minibatch that its part is.
        """
        with warnings.catch_warnings():
            # What comes out of the object store is read-only, and nobody writes to it.
            warnings.simplefilter("ignore")
            split = {k: torch.from_numpy(v).split(sizes) for k, v in columns.items()}
        for number, share in enumerate(shares):
            self._share = share
            self.learner.step({k: v[number] for k, v in split.items()}, share)

    def state(self) -> dict[str, Any]:
        """As `LocalLearner.state`."""
        return self.learner.state()

    def set_state(self, state: dict[str, Any]) -> None:
        """As `LocalLearner.set_state`."""
        self.learner.set_state(state)

    @staticmethod
    def _add_up(tensors: Sequence[Tensor]) -> None:
        """Sums over all learners, in place and in one message."""
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        group.all_reduce(flat)
        sizes = [tensor.numel() for tensor in tensors]
        for tensor, summed in zip(tensors, flat.split(sizes), strict=True):
            tensor.copy_(summed.view_as(tensor))

    def _average(self, value: Tensor) -> Tensor:
        found = value * self._share
        group.all_reduce(found)
        return found


class ParallelLearner:
    """Hands each learner its part of every minibatch.

    Attributes:
        updates: gradient steps so far.
    """

    def __init__(self, agent: OfflineAgent, budget: int, learners: int) -> None:
        """Start the learners; Ray must be running.

        Raises:
            WorkersLost: they do not find each other.
        """
        import ray

        self._ray, self.updates = ray, 0
        self._mirror, self._is_stale = LocalLearner(agent, budget), False
        self._follows, self._pending = agent.follows, list[Any]()
        actor = ray.remote(num_cpus=1)(Part)
        shared = ray.put(agent)
        self._parts = [actor.remote(rank, learners, shared, budget) for rank in range(learners)]
        with self._losses():
            host, port = ray.get(self._parts[0].open.remote(), timeout=_START_SECONDS)
            joined = [part.join.remote(host, port) for part in self._parts]
            ray.get(joined, timeout=_START_SECONDS)

    @contextmanager
    def _losses(self) -> Iterator[None]:
        from ray.exceptions import RayError, RayTaskError

        try:
            yield
        except RayError as error:
            if isinstance(error, RayTaskError) and isinstance(error.cause, ValueError):
                raise error.cause from None
            self._end()
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise WorkersLost(f"a learner was lost ({lines[-1]})") from None

    def close(self) -> None:
        """End the learners; the agent stays."""
        with suppress(WorkersLost):
            self._fresh()
        self._end()

    def _end(self) -> None:
        for part in self._parts:
            self._ray.kill(part)

    def learn(self, block: Block, minibatches: Sequence[Tensor]) -> None:
        """A gradient step for each minibatch; returns while the learners take them."""
        count = len(self._parts)
        split = [parts_of(minibatch, count) for minibatch in minibatches]
        sent = []
        for rank in range(count):
            own = [parts[rank] for parts, _ in split]
            columns = block.take(torch.cat(own), self._follows)
            arrays = {name: values.numpy() for name, values in columns.items()}
            shares = [found[rank] for _, found in split]
            sent.append((arrays, [len(part) for part in own], shares))
        self._drain()
        self._pending = [
            part.learn.remote(*given) for part, given in zip(self._parts, sent, strict=True)
        ]
        self.updates += len(minibatches)
        self._is_stale = True

    def _drain(self) -> None:
        with self._losses():
            self._ray.get(self._pending)
        self._pending = []

    def _fresh(self) -> LocalLearner:
        """The first learner's weights and numbers, here."""
        if self._is_stale:
            self._drain()
            with self._losses():
                self._mirror.set_state(self._ray.get(self._parts[0].state.remote()))
            self._is_stale = False
        return self._mirror

    @property
    def agent(self) -> OfflineAgent:
        """With the present weights."""
        return self._fresh().agent

    def report(self) -> dict[str, float]:
        """As `LocalLearner.report`."""
        found = self._fresh().report()
        self.set_state(self._mirror.state())
        return found

    def held_out(self, block: Block) -> dict[str, float]:
        """As `LocalLearner.held_out`."""
        return self._fresh().held_out(block)

    def state(self) -> dict[str, Any]:
        """As `LocalLearner.state`; of all learners alike."""
        return self._fresh().state()

    def set_state(self, state: dict[str, Any]) -> None:
        """As `LocalLearner.set_state`."""
        self._drain()
        self._mirror.set_state(state)
        shared = self._ray.put(self._mirror.state())
        with self._losses():
            self._ray.get([part.set_state.remote(shared) for part in self._parts])
        self.updates, self._is_stale = self._mirror.updates, False


def parts_of(minibatch: Tensor, learners: int) -> tuple[list[Tensor], list[float]]:
    """A minibatch's rows for each learner, and which share of the whole they stand for.

    Where there are fewer rows than learners, all learn from all.
    """
    if len(minibatch) < learners:
        return [minibatch] * learners, [1 / learners] * learners
    parts = list(minibatch.tensor_split(learners))
    return parts, [len(part) / len(minibatch) for part in parts]
