"""Worlds, and pairs of logging and target policies, in which estimates meet the truth.

All policies are Plackett-Luce, and the ranges of the worlds' features bound how far
log-weights lie apart, so the largest importance weight is known before anything is logged.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from algorithms.core.slate_moments import MAX_ORDERED_SLATES
from algorithms.core.slates import SlateDistribution, plackett_luce
from envs import make_simulator
from envs.simulator import Observation, Simulator

Floats = NDArray[np.float64]
SAMPLES = 4
"""Slates drawn for the marginals of a distribution that is too large to enumerate."""


@dataclass(frozen=True)
class Acting:
    """A policy.

    Attributes:
        score: log-weights (B, N) of an observation.
        spread: largest difference of two candidates' log-weights.
    """

    score: Callable[[Observation], Tensor]
    spread: float

    def distribution(self, seen: Observation, slate_size: int) -> SlateDistribution:
        """What it draws slates from, in float64."""
        return plackett_luce(self.score(seen).double(), seen.mask, slate_size)


UNIFORM = Acting(lambda seen: torch.zeros(seen.mask.shape), 0.0)


@dataclass(frozen=True)
class Pair:
    """Who logs, and who is judged.

    Attributes:
        logging: the policy that acts.
        target: the policy to judge.
        apart: spread of the difference of their log-weights.
    """

    logging: Acting
    target: Acting
    apart: float

    def largest_ratio(self, candidates: int, slots: int) -> float:
        """The largest importance weight of one slate."""
        ratio = 1.0
        for left in range(candidates, candidates - slots, -1):
            likely = 1 / (1 + (left - 1) * math.exp(-self.target.spread))
            unlikely = 1 / (1 + (left - 1) * math.exp(self.logging.spread))
            ratio *= min(likely / unlikely, math.exp(self.apart))
        return ratio


@dataclass(frozen=True)
class Study:
    """A world with pairs of policies.

    Attributes:
        name: of the world, in the table.
        world: arguments of `make_simulator`.
        pairs: logging and target policies by name.
        sessions: of one log.
        steps: at most so many a session; none where nobody knows.
        reward: largest of one step.
        products: whether the model of values sees products of state and item.
    """

    name: str
    world: dict[str, Any]
    pairs: dict[str, Pair]
    sessions: int
    steps: int | None
    reward: float
    products: bool = False

    def simulator(self, users: int, seed: int) -> Simulator:
        """So many users, each for one session."""
        return make_simulator(
            num_users=users, seed=seed, noise="stream", replace=False, **self.world
        )


def _appeal(seen: Observation, first: int, topics: int) -> Tensor:
    """Tastes, from user column `first` on, times topics, the candidates' first columns: (B, N)."""
    tastes = seen.user[:, first : first + topics]
    return (seen.candidates[:, :, :topics] @ tastes[:, :, None])[:, :, 0]


def _liked(scale: float) -> Acting:
    """Boredom's first sight: taste for the genre, and the quality."""
    return Acting(lambda seen: scale * (_appeal(seen, 3, 4) + seen.candidates[:, :, 4]), 8 * scale)


def _rested(scale: float, rest: float) -> Acting:
    """Taste for the genre less how much of it was shown lately; that trace is history 5 to 8."""

    def score(seen: Observation) -> Tensor:
        return scale * _appeal(seen, 3, 4) - rest * seen.history[:, 5:9]

    return Acting(score, 6 * scale + 2 * rest)


def _sweet(scale: float, again: float = 0.0) -> Acting:
    """Clickbait, more or less of it after clickbait; the last one's score is history 1."""

    def score(seen: Observation) -> Tensor:
        return (scale + again * (seen.history[:, 1:2] - 0.5)) * (seen.candidates[:, :, 0] - 0.5)

    return Acting(score, abs(scale) + abs(again) / 2)


def _interesting(scale: float) -> Acting:
    return Acting(lambda seen: scale * _appeal(seen, 0, 20), 2 * scale)


STUDIES = (
    Study(
        "one step",
        {
            "name": "boredom", "time_budget": 1, "num_candidates": 5, "slate_size": 2,
            "choice_model": "proportional_cascade", "min_normalizer": -4.0, "score_scaling": 0.12,
        },
        {
            "uniform, then taste": Pair(UNIFORM, _liked(0.3), 8 * 0.3),
            "taste, then less of it": Pair(_liked(0.5), _liked(0.15), 8 * 0.35),
        },
        sessions=500, steps=1, reward=1.0,
    ),
    Study(
        "boredom, 5 steps",
        {"name": "boredom", "catalogue": "genres", "slate_size": 1, "time_budget": 5},
        {
            "uniform, then rests": Pair(UNIFORM, _rested(0.3, 0.3), 6 * 0.3 + 2 * 0.3),
            "taste, then rests": Pair(_rested(0.3, 0.0), _rested(0.3, 0.5), 2 * 0.5),
        },
        sessions=500, steps=5, reward=1.0, products=True,
    ),
    Study(
        "modified long-term satisfaction",
        {"name": "modified_long_term_satisfaction"},
        {
            "uniform, then bitter": Pair(UNIFORM, _sweet(-0.4), 0.4),
            "bitter, then alternates": Pair(_sweet(-0.3), _sweet(-0.3, -0.6), 0.3),
        },
        sessions=500, steps=10, reward=math.exp(5), products=True,
    ),
    Study(
        "interest evolution",
        {"name": "interest_evolution"},
        {
            "uniform, then interests": Pair(UNIFORM, _interesting(0.07), 2 * 0.07),
            "interests, then more so": Pair(_interesting(0.5), _interesting(0.6), 2 * 0.1),
        },
        sessions=250, steps=None, reward=math.inf,
    ),
)  # fmt: skip


@dataclass
class Played:
    """Rows of several sessions, session by session; F columns of inputs for a model.

    Attributes:
        offsets: (S + 1,).
        columns: by the names of `offline.ope.Logged`, and `inputs` (R, F), what was shown,
            `mean_inputs` (R, F), in the mean over the target; for slates, `pairwise` of the
            log, `shown` (R, K), `marginals` of the target, and for a model of slots
            `slot_inputs` and `mean_slot_inputs`, (R, K, F').
    """

    offsets: NDArray[np.int64]
    columns: dict[str, NDArray[Any]] = field(default_factory=dict)

    def sessions(self, first: int, count: int) -> Played:
        """Some of the sessions."""
        offsets = self.offsets[first : first + count + 1]
        rows = slice(int(offsets[0]), int(offsets[-1]))
        return Played(
            offsets - offsets[0], {name: value[rows] for name, value in self.columns.items()}
        )


def policy_luck(seed: int) -> torch.Generator:
    """A stream of its own: with the simulator's seed it would repeat the users' luck."""
    own = np.random.SeedSequence((seed, 1)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(own >> 1))


@torch.no_grad()
def play(study: Study, pair: Pair, sessions: int, seed: int) -> Played:
    """Log sessions, with everything that the estimators ask for."""
    simulator = study.simulator(sessions, seed)
    generator = policy_luck(seed)
    seen, steps = simulator.reset(), []
    playing = torch.ones(sessions, dtype=torch.bool)
    while bool(playing.any()):
        # Rows of users who left are looked at no more: only who plays is computed.
        rows = playing.nonzero()[:, 0]
        here = seen.map(lambda column, rows=rows: column[rows])
        size = simulator.slate_size
        behaviour, wanted = (each.distribution(here, size) for each in (pair.logging, pair.target))
        slates, logged = behaviour.sample(generator)
        shown = torch.arange(size).repeat(sessions, 1)
        shown[rows] = slates
        moved = simulator.step(shown)
        reward, response = moved.reward[rows], moved.response[rows]
        clicks = response[:, :, simulator.spec.response_slice("click")][:, :, 0]
        columns = {
            "user": rows,
            "reward": reward,
            "behaviour_slots": logged,
            "target_slots": wanted.slot_log_prob(slates),
            **_inputs(study, here, slates, wanted, generator),
        }
        if study.steps == 1:
            columns |= _slate_columns(behaviour, wanted, slates, here, clicks)
        steps.append(columns)
        playing &= ~(moved.terminated | moved.truncated)
        seen = moved.observation
    whole = {name: torch.cat([step[name] for step in steps]).numpy() for name in steps[0]}
    user = whole.pop("user")
    order = np.argsort(user, kind="stable")  # steps of a session stay in order
    offsets = np.append(0, np.bincount(user, minlength=sessions).cumsum())
    return Played(offsets, {name: value[order] for name, value in whole.items()})


def _inputs(
    study: Study,
    seen: Observation,
    slates: Tensor,
    target: SlateDistribution,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Inputs of a linear model of values: the state, and features of the shown items."""
    state = torch.cat([seen.user, seen.has_response, seen.history], dim=1)
    items = seen.candidates
    if study.products:
        crossed = state[:, None, :, None] * items[:, :, None, :]
        items = torch.cat([items, crossed.flatten(2)], dim=2)
    else:
        topics = min(seen.candidates.shape[2], 20 if seen.user.shape[1] == 20 else 4)
        appeal = _appeal(seen, seen.user.shape[1] - topics, topics)
        items = torch.cat([items, appeal[:, :, None]], dim=2)
    few = math.perm(seen.mask.shape[1], target.slate_size) <= MAX_ORDERED_SLATES // 1000
    marginals = target.marginals() if few else target.estimate_marginals(SAMPLES, generator)
    taken = items.gather(1, slates[:, :, None].expand(-1, -1, items.shape[2]))
    mean = marginals.to(items) @ items
    if study.steps != 1:  # many rows: the slots are not told apart
        taken, mean = taken.sum(1, keepdim=True), mean.sum(1, keepdim=True)
    return {
        "inputs": torch.cat([state, taken.flatten(1)], dim=1),
        "mean_inputs": torch.cat([state, mean.flatten(1)], dim=1),
    }


def _slate_columns(
    behaviour: SlateDistribution,
    target: SlateDistribution,
    slates: Tensor,
    seen: Observation,
    clicks: Tensor,
) -> dict[str, Tensor]:
    """Columns for the estimators of slates, with two slots."""
    ours, theirs = behaviour.marginals(), target.marginals()
    at = slates[:, :, None]
    appeal = _appeal(seen, 3, 4) + seen.candidates[:, :, 4]
    first = appeal.gather(1, slates[:, :1])
    taken = torch.zeros_like(seen.mask).scatter(1, slates[:, :1], True)
    second = target.conditional(taken[:, None], 1).exp()[:, 0].to(appeal)

    def inputs(item: Tensor, slot: int) -> Tensor:
        """Slot, appeal of its item, and appeal of the item before: (B, 5)."""
        ones, zeros = torch.ones_like(item), torch.zeros_like(item)
        parts = (
            [ones, item, zeros, zeros, zeros] if slot == 0 else [zeros, zeros, ones, item, first]
        )
        return torch.cat(parts, dim=1)

    means = [(each * appeal).sum(1, keepdim=True) for each in (theirs[:, 0].to(appeal), second)]
    slots = [inputs(appeal.gather(1, slates[:, k : k + 1]), k) for k in range(2)]
    return {
        "slot_reward": clicks,
        "behaviour_marginals": ours.gather(2, at)[:, :, 0].log(),
        "target_marginals": theirs.gather(2, at)[:, :, 0].log(),
        "pairwise": behaviour.pairwise(),
        "marginals": theirs,
        "shown": slates,
        "slot_inputs": torch.stack(slots, dim=1),
        "mean_slot_inputs": torch.stack([inputs(mean, k) for k, mean in enumerate(means)], dim=1),
    }


@torch.no_grad()
def returns(study: Study, acting: Acting, sessions: int, seed: int) -> Floats:
    """Returns of so many sessions, played a part at a time."""
    parts = []
    for first in range(0, sessions, 10_000):
        count = min(10_000, sessions - first)
        simulator = study.simulator(count, seed + first)
        generator = policy_luck(seed + first)
        seen, total = simulator.reset(), torch.zeros(count, dtype=torch.float64)
        playing = torch.ones(count, dtype=torch.bool)
        while bool(playing.any()):
            slates, _ = acting.distribution(seen, simulator.slate_size).sample(generator)
            moved = simulator.step(slates)
            total += moved.reward  # 0 after the end
            playing &= ~(moved.terminated | moved.truncated)
            seen = moved.observation
        parts.append(total.numpy())
    return np.concatenate(parts)
