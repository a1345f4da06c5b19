"""Plays a policy with fresh users, one session each, and says how it went.

All luck of the world is addressed by (seed, user, step), so two policies meet
the same users and the same luck, and differences are taken pair by pair.
"""

from __future__ import annotations

import math
import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from algorithms.environment import World
from algorithms.policy import Policy, Recommendation
from envs.registry import make_simulator
from envs.simulator import Observation, Simulator, Transition
from envs.world import Insight

Numbers = NDArray[np.float64]
Task = tuple[World, int, int, int, bool]

CHUNK = 500
"""Users side by side. Fixed, and a policy's own draws start anew with each chunk
and step, so that no number depends on how many users or processes there are."""

_STOP, _TOTAL = "stop", "total/"
_Z95 = 1.959963984540054


@dataclass(frozen=True)
class Estimate:
    """A mean over users, with its 95 % interval (normal approximation).

    Attributes:
        mean: over users; NaN for none.
        low: lower end; NaN where one user is all there is.
        high: upper end.
    """

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Numbers) -> Estimate:
        """The mean of independent values, (users,)."""
        if len(values) < 2:
            mean = float(values.mean()) if len(values) else math.nan
            return cls(mean, math.nan, math.nan)
        half = _Z95 * float(values.std(ddof=1)) / math.sqrt(len(values))
        return cls(float(values.mean()), float(values.mean()) - half, float(values.mean()) + half)

    @classmethod
    def ratio(cls, above: Numbers, below: Numbers) -> Estimate:
        """Ratio of two means over the same users, interval by the delta method."""
        if not below.sum():
            return cls(math.nan, math.nan, math.nan)
        ratio = float(above.sum() / below.sum())
        spread = cls.of((above - ratio * below) / below.mean())
        return cls(ratio, ratio + spread.low, ratio + spread.high)

    def to_json(self) -> dict[str, Any]:
        """Plain data; what is not a number becomes null."""
        mean, low, high = (None if math.isnan(v) else v for v in (self.mean, self.low, self.high))
        return {"mean": mean, "ci95": None if low is None else [low, high]}


@dataclass(frozen=True)
class EvaluationResult:
    """What happened to each user.

    Attributes:
        returns: (users,), undiscounted, in the reward's unit.
        lengths: (users,), in steps.
        totals: of each number that the world reports, over a session, (users,).
        backend: whose code played.
    """

    returns: Numbers
    lengths: Numbers
    totals: dict[str, Numbers]
    backend: str

    @property
    def mean_return(self) -> Estimate:
        """The return of a session."""
        return Estimate.of(self.returns)

    def summary(self) -> dict[str, Estimate]:
        """Return, session length, click rate, and the world's own numbers.

        Times and engagement are sums over a session; all else is a property of
        a document, averaged over the clicked ones.
        """
        found = {"return": self.mean_return, "session_length": Estimate.of(self.lengths)}
        clicks = self.totals.get("click")
        if clicks is not None:
            found["click_rate"] = Estimate.ratio(clicks, self.lengths)
        for name, values in self.totals.items():
            if name == "click":
                continue
            if clicks is None or name.endswith(("time", "engagement")):
                found[name] = Estimate.of(values)
            else:
                found[name] = Estimate.ratio(values, clicks)
        return found

    def save(self, path: Path) -> None:
        """Write all numbers as one NumPy archive; the file is whole or not there."""
        partial = path.with_name(f".{path.name}.partial")
        arrays: dict[str, Any] = {"returns": self.returns, "lengths": self.lengths}
        arrays |= {f"{_TOTAL}{name}": values for name, values in self.totals.items()}
        with partial.open("wb") as file:
            np.savez(file, **arrays)
        os.replace(partial, path)

    @classmethod
    def load(cls, path: Path, backend: str) -> EvaluationResult:
        """Read what `save` wrote.

        Raises:
            ValueError: the file is missing or damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                found = {name: file[name] for name in file.files}
            totals = {
                name.removeprefix(_TOTAL): values
                for name, values in found.items()
                if name.startswith(_TOTAL)
            }
            return cls(found["returns"], found["lengths"], totals, backend)
        except (OSError, EOFError, KeyError, ValueError, BadZipFile) as error:
            raise ValueError(
                f"{path} is no whole evaluation ({type(error).__name__}); "
                "remove that run's folder to run it anew"
            ) from None

    def minus(self, other: EvaluationResult) -> dict[str, Estimate]:
        """Paired differences of return and session length, on the same users and luck."""
        return {
            "return": Estimate.of(self.returns - other.returns),
            "session_length": Estimate.of(self.lengths - other.lengths),
        }


def evaluate_policy(
    policy: Policy,
    world: World,
    users: int,
    seed: int,
    *,
    explore: bool = False,
    workers: int = 0,
    tick: Callable[[], None] = lambda: None,
) -> EvaluationResult:
    """Play exactly so many fresh sessions, one a user.

    Args:
        policy: what acts; with `explore` as it did in training.
        world: arguments of `envs.registry.make_simulator`; the history is the policy's.
        users: how many, numbered from 0.
        seed: of their luck, and of the policy's own draws.
        explore: whether to depart from the best slates.
        workers: processes; below 2 this one plays.
        tick: called now and then; may raise to stop.

    Raises:
        ValueError: the policy does not fit the world.
    """
    # Without a history first: the policy's may name features that this world lacks.
    check_fit(policy, make_simulator(num_users=1, **{**world, "history": []}))
    world = {**world, "history": policy.history.to_json()}
    firsts = range(0, users, CHUNK)
    tasks: list[Task] = [
        (world, first, min(CHUNK, users - first), seed, explore) for first in firsts
    ]
    if workers < 2 or len(tasks) < 2:
        with one_thread():
            parts = [play(policy, *task, tick) for task in tasks]
    else:
        parts = _in_processes(policy, tasks, min(workers, len(tasks)), tick)
    return EvaluationResult(
        returns=np.concatenate([part.returns for part in parts]),
        lengths=np.concatenate([part.lengths for part in parts]),
        totals={
            name: np.concatenate([part.totals[name] for part in parts]) for name in parts[0].totals
        },
        backend=str(world.get("backend", "torch")),
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch uses one thread within, so that sums have one order everywhere."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _in_processes(
    policy: Policy, tasks: list[Task], workers: int, tick: Callable[[], None]
) -> list[EvaluationResult]:
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(workers, get_context("spawn"), _leave_ctrl_c) as pool,
    ):
        policy.save(folder)
        running = [pool.submit(_play_saved, folder, task) for task in tasks]
        try:
            while wait(running, timeout=0.2).not_done:
                tick()
        except BaseException:
            # The pool waits for its processes, and they look for this file.
            (Path(folder) / _STOP).touch()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
        return [future.result() for future in running]


def _leave_ctrl_c() -> None:
    """Ctrl-C reaches every process of a terminal; only the first one answers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _play_saved(folder: str, task: Task) -> EvaluationResult:
    torch.set_num_threads(1)
    stop = Path(folder) / _STOP

    def tick() -> None:
        if stop.exists():
            raise InterruptedError("the evaluation was stopped")

    return play(Policy.load(Path(folder)), *task, tick)


class PlayedStep(NamedTuple):
    """One step of users side by side, a session each.

    Attributes:
        observation: what was seen.
        recommended: what was shown, and what that was drawn from.
        transition: what came back.
        playing: whose session was not over before, (B,) bool.
        insight: what the world told people before the step, where that was asked for.
    """

    observation: Observation
    recommended: Recommendation
    transition: Transition
    playing: Tensor
    insight: Insight | None = None


@torch.no_grad()
def steps_of_sessions(
    policy: Policy,
    simulator: Simulator,
    first: int,
    seed: int,
    explore: bool,
    insight: bool = False,
) -> Iterator[PlayedStep]:
    """Play users `first`, `first + 1`, ... to the end of the longest session.

    Args:
        policy: what acts; with `explore` as it did in training.
        simulator: that replaces nobody.
        first: number of the first user.
        seed: of the policy's own draws.
        explore: whether to depart from the best slates.
        insight: whether to ask the world what people may see of each step.
    """
    users = torch.arange(first, first + simulator.num_users)
    observation = simulator.reset(users)
    device = observation.mask.device
    policy.agent.to(device)
    generator = torch.Generator(device)
    playing = torch.ones(simulator.num_users, dtype=torch.bool, device=device)
    step = 0
    while bool(playing.any()):
        # Numbers fill a tensor row by row, so a row's draws don't depend on the rows after it.
        generator.manual_seed(_own_seed(seed, first, step))
        recommended = policy.recommend(
            observation, explore=explore, slate_size=simulator.slate_size, generator=generator
        )
        told = simulator.insight() if insight else None
        transition = simulator.step(recommended.slates)
        yield PlayedStep(observation, recommended, transition, playing, told)
        playing = playing & ~(transition.terminated | transition.truncated)
        observation = transition.observation
        step += 1


@torch.no_grad()
def play(
    policy: Policy,
    world: World,
    first: int,
    count: int,
    seed: int,
    explore: bool,
    tick: Callable[[], None] = lambda: None,
) -> EvaluationResult:
    """Play users `first` to `first + count - 1` side by side, a session each."""
    simulator = make_simulator(num_users=count, seed=seed, replace=False, **world)
    returns = torch.zeros(count, dtype=torch.float64, device=simulator.device)
    lengths = torch.zeros_like(returns)
    totals: dict[str, torch.Tensor] = {}
    for step in steps_of_sessions(policy, simulator, first, seed, explore):
        tick()
        returns += step.transition.reward * step.playing
        lengths += step.playing
        for name, value in simulator.metrics(step.transition.response).items():
            totals[name] = totals.get(name, torch.zeros_like(returns)) + value * step.playing
    return EvaluationResult(
        returns.cpu().numpy(),
        lengths.cpu().numpy(),
        {name: value.cpu().numpy() for name, value in totals.items()},
        str(world.get("backend", "torch")),
    )


def _own_seed(seed: int, first: int, step: int) -> int:
    return int(np.random.SeedSequence((seed, first, step)).generate_state(1, np.uint64)[0] >> 1)


def check_fit(policy: Policy, simulator: Simulator) -> None:
    """Refuse a policy that was made for other features than the world has.

    Raises:
        ValueError: names what differs.
    """
    for group in ("user", "candidate", "response"):
        expected, found = _names(policy.spec, group), _names(simulator.spec, group)
        if expected != found:
            raise ValueError(
                f"the policy '{policy.algorithm}' expects the {group} features {expected}, but "
                f"the environment has {found}; evaluate it where it was trained, or train anew"
            )


def _names(spec: Any, group: str) -> str:
    features: Mapping[str, int] = {f.name: f.size for f in getattr(spec, group)}
    return ", ".join(f"{name} ({size})" for name, size in features.items()) or "none"
