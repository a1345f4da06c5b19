"""Boredom: one step by hand, what each argument changes, and the optimum of small instances."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, tensor

from envs import make_simulator
from envs.boredom.optimal import (
    all_levels,
    myopic,
    optimal,
    return_of,
    state_index,
)
from envs.boredom.world import Boredom, Purpose, mean_tastes
from envs.choice import CHOICE_MODELS
from envs.simulator import TorchSimulator
from envs.world import Outcome
from tests.envs.test_dynamics import Fixed, double, same

SMALL = {"catalogue": "genres", "num_genres": 3, "slate_size": 1, "taste_stddev": 0.0}


def step(choice: float = 0.5, leaving: float = 0.5, taken: int = 5, **arguments: float) -> Outcome:
    world = Boredom(num_candidates=3, slate_size=2, num_genres=2, **arguments)  # type: ignore[arg-type]
    state = {
        "age_group": tensor([1]),
        "tastes": double([[1.0, -0.5]]),
        "levels": double([[2.0, 1.0]]),
        "step": tensor([taken]),
        "genre": tensor([[0, 1, 1]]),
        "quality": double([[0.5, -0.25, 1.0]]),
    }
    draws = Fixed({Purpose.CHOICE: choice, Purpose.LEAVING: leaving})
    return world.transition(state, tensor([[2, 0]]), draws)


# The slate shows genre 1 (quality 1, b = 1/4) and genre 0 (quality 0.5, b = 2/4):
# scores -0.5 - 4/4 + 1 = -0.5 and 1 - 4/2 + 0.5 = -0.5, as much as no click,
# so each has probability 1/3. P(leave) = 0.3 * (1/4 + 2/4) / 2 = 0.1125.


def test_a_click_bores_and_the_other_genre_rests() -> None:
    outcome = step(choice=0.5)
    same(outcome.response, [[[0], [1]]])
    same(outcome.reward, [1])
    same(outcome.state["levels"], [[4, 0]])  # 2 + 3 is capped at 4; 1 - 1
    assert outcome.state["step"].tolist() == [6]
    assert outcome.terminated.tolist() == [False]
    outcome = step(choice=0.3)
    same(outcome.response, [[[1], [0]]])
    same(outcome.state["levels"], [[1, 4]])


def test_without_a_click_all_genres_rest() -> None:
    outcome = step(choice=0.7)
    same(outcome.response, [[[0], [0]]])
    same(outcome.reward, [0])
    same(outcome.state["levels"], [[1, 0]])


@pytest.mark.parametrize(("leaving", "leaves"), [(0.112, True), (0.113, False)])
def test_bored_users_leave(leaving: float, leaves: bool) -> None:
    assert step(leaving=leaving).terminated.tolist() == [leaves]


def test_the_session_ends_with_its_time() -> None:
    assert step(taken=18).terminated.tolist() == [False]
    assert step(taken=19).terminated.tolist() == [True]
    assert step(taken=18, time_budget=19).terminated.tolist() == [True]


def test_arguments_of_boredom() -> None:
    same(step(boredom_rise=1).state["levels"], [[3, 0]])
    # b is 2/8 and 1/8: scores -0.5 - 0.5 + 1 = 0 and 1 - 1 + 0.5 = 0.5; the first
    # has exp(0) / (exp(0) + exp(0.5) + exp(-0.5)) = 0.307, and 0.3 is below it.
    assert step(choice=0.306, boredom_levels=8).response[0, :, 0].tolist() == [1, 0]
    assert step(choice=0.308, boredom_levels=8).response[0, :, 0].tolist() == [0, 1]
    same(step(boredom_levels=8).state["levels"], [[5, 0]])
    # Without aversion the scores are 0.5 and 1.5: exp(0.5) / (1.649 + 4.482 + 0.607) = 0.245.
    assert step(choice=0.244, aversion=0.0).response[0, :, 0].tolist() == [1, 0]
    assert step(choice=0.246, aversion=0.0).response[0, :, 0].tolist() == [0, 1]
    # P(leave) = 1 * 0.375.
    assert step(leaving=0.374, impatience=1.0).terminated.tolist() == [True]
    assert step(leaving=0.376, impatience=1.0).terminated.tolist() == [False]


def test_age_groups_differ_in_their_favourite_genre() -> None:
    # 2 cos(2 pi (g / 4 - a / 2)).
    same(mean_tastes(2, 4, 2.0), [[2, 0, -2, 0], [-2, 0, 2, 0]])
    simulator = make_simulator("boredom", 3000, seed=1, age_groups=2, num_genres=4)
    user = simulator.reset().user
    assert torch.equal(user[:, :2].sum(1), torch.ones(3000))
    old, tastes = user[:, 1] == 1, user[:, 2:]
    assert abs(float(old.float().mean()) - 0.5) < 0.03
    # 1,500 users of deviation 0.5: a standard error of 0.013.
    torch.testing.assert_close(
        tastes[~old].mean(0), tensor([1.5, 0.0, -1.5, 0.0]), atol=0.05, rtol=0
    )
    assert float(tastes[old].std(0).mean()) == pytest.approx(0.5, abs=0.03)
    alike = make_simulator("boredom", 50, age_groups=1, taste_stddev=0.0).reset().user
    assert torch.equal(alike, alike[:1].expand_as(alike))
    wild = make_simulator("boredom", 500, taste_stddev=5.0).reset().user[:, 3:]
    assert float(wild.min()) == -3 and float(wild.max()) == 3


def test_catalogues() -> None:
    drawn = make_simulator("boredom", 500, num_candidates=7).reset().candidates
    assert drawn.shape == (500, 7, 5)
    # 3,500 documents: a standard error of 0.007 for genres, and of 0.01 for qualities.
    torch.testing.assert_close(
        drawn[..., :4].mean((0, 1)), torch.full((4,), 0.25), atol=0.03, rtol=0
    )
    assert -1 <= float(drawn[..., 4].min()) < -0.95 and 0.95 < float(drawn[..., 4].max()) <= 1
    fixed = make_simulator("boredom", 2, catalogue="genres", num_genres=5)
    observation = fixed.reset()
    for _ in range(3):
        assert torch.equal(observation.candidates, torch.eye(5).expand(2, 5, 5))
        observation = fixed.step(tensor([[0, 1, 2], [2, 3, 4]])).observation


@pytest.mark.parametrize("name", CHOICE_MODELS)
def test_choice_models(name: str) -> None:
    simulator = make_simulator("boredom", 4000, seed=2, choice_model=name)
    assert isinstance(simulator, TorchSimulator)
    observation = simulator.reset()
    shown = observation.candidates[:, :3]
    tastes = observation.user[:, 3:]
    scores = (shown[..., :4] * tastes[:, None]).sum(2) + shown[..., 4]
    world = simulator.world
    assert isinstance(world, Boredom)
    expected = world.choice.probabilities(scores)[:, :3].mean(0)
    response = simulator.step(torch.arange(3).expand(4000, 3)).response
    # A standard error of at most 0.008.
    torch.testing.assert_close(response[..., 0].mean(0), expected, atol=0.03, rtol=0)


def test_the_history_keeps_what_decides_the_levels() -> None:
    # Genres clicked one after the other: 0, 0, 1.
    world = Boredom(num_genres=3, catalogue="genres", slate_size=1, time_budget=10)
    history = TorchSimulator(world, 1).history
    state = history.initial(1, double(0.0))
    for genre in (0, 0, 1):
        state = history.update(
            state, double(torch.eye(3))[None, genre : genre + 1], double([[[1]]])
        )
    # Time; last; traces 0.5: 0.5 + 0.25, 1; 0.8 with scale 0.5: 0.5 (0.8 + 0.64), 0.5.
    same(state, [[0.3, 0, 1, 0, 0.75, 1, 0, 0.72, 0.5, 0]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"catalogue": "all"}, "allowed are 'drawn' and 'genres'"),
        ({"catalogue": "genres", "num_candidates": 10}, "each of the 4 genres once"),
        ({"num_genres": 1}, "num_genres is 1; it must be at least 2"),
        ({"age_groups": 0}, "age_groups is 0; it must be at least 1"),
        ({"boredom_levels": 0}, "boredom_levels is 0"),
        ({"boredom_rise": 0}, "boredom_rise is 0"),
        ({"time_budget": 0}, "time_budget is 0"),
        ({"impatience": 1.5}, "impatience lies in"),
        ({"impatience": math.nan}, "impatience is nan"),
        ({"taste_stddev": -1.0}, "taste_stddev -1.0 and .* the others are finite"),
        ({"taste_stddev": math.nan}, "taste_stddev nan and .* the others are finite"),
        ({"taste_stddev": math.inf}, "taste_stddev inf and .* the others are finite"),
        ({"aversion": math.nan}, "aversion nan; .* the others are finite"),
        ({"aversion": math.inf}, "aversion inf; .* the others are finite"),
        ({"slate_size": 11}, "only 10 candidates"),
        ({"choice_model": "random"}, "unknown choice model 'random'"),
    ],
)
def test_impossible_worlds_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_simulator("boredom", 1, **arguments)


def test_states_are_numbered_by_their_levels() -> None:
    world = Boredom(**SMALL)  # type: ignore[arg-type]
    levels = all_levels(world)
    assert levels.shape == (125, 3) and levels[0].tolist() == [0, 0, 0]
    assert torch.equal(state_index(world, levels), torch.arange(125))
    assert int(state_index(world, tensor([1, 2, 3]))) == 25 + 10 + 3


TINY = {"boredom_levels": 2, "boredom_rise": 2, "aversion": 2.0, "impatience": 0.5}


def best_of_all_policies(tastes: list[float], steps: int) -> float:
    """The best policy for two genres by trying every one: a genre for each sequence of clicks."""
    nodes = [path for t in range(steps) for path in itertools.product((0, 1), repeat=t)]

    def clicks_to_come(
        policy: dict[tuple[int, ...], int], path: tuple[int, ...], levels: list[int]
    ) -> float:
        if len(path) == steps:
            return 0.0
        genre = policy[path]
        bored = levels[genre] / 2
        click = 1 / (1 + math.exp(-(tastes[genre] - 2.0 * bored + 0.5)))
        rested = [max(level - 1, 0) for level in levels]
        tired = [2 if g == genre else level for g, level in enumerate(rested)]
        later = click * clicks_to_come(policy, (*path, 1), tired)
        later += (1 - click) * clicks_to_come(policy, (*path, 0), rested)
        return click + (1 - 0.5 * bored) * later

    policies = itertools.product((0, 1), repeat=len(nodes))
    return max(
        clicks_to_come(dict(zip(nodes, choice, strict=True)), (), [0, 0]) for choice in policies
    )


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_optimum_is_the_best_of_all_policies(steps: int) -> None:
    world = Boredom(
        **{**SMALL, "num_genres": 2},
        age_groups=3,
        time_budget=steps,
        **TINY,  # type: ignore[arg-type]
    )
    plan = optimal(world)
    assert plan.values.shape == (steps + 1, 3, 9) and plan.genres.shape == (steps, 3, 9)
    # 1.5 cos(2 pi (g / 2 - a / 3)).
    for age, tastes in enumerate([[1.5, -1.5], [-0.75, 0.75], [-0.75, 0.75]]):
        expected = best_of_all_policies(tastes, steps)
        assert float(plan.values[0, age, 0]) == pytest.approx(expected, abs=1e-12)


def clicks(policy: Tensor, users: int = 20_000) -> Tensor:
    """Clicks of simulated users under a policy (T, A, S) that knows the levels."""
    simulator = make_simulator("boredom", users, seed=7, replace=False, **SMALL)
    assert isinstance(simulator, TorchSimulator)
    world = simulator.world
    assert isinstance(world, Boredom)
    simulator.reset()
    total = torch.zeros(users)
    for genres in policy:
        state = simulator.state
        shown = genres[state["age_group"], state_index(world, state["levels"])]
        total += simulator.step(shown[:, None]).reward
    return total


def test_simulated_users_agree_with_dynamic_programming() -> None:
    world = Boredom(**SMALL)  # type: ignore[arg-type]
    plan, generator = optimal(world), torch.Generator().manual_seed(0)
    best_now = myopic(world).argmax(2).expand(20, -1, -1)
    anything = torch.randint(3, plan.genres.shape, generator=generator)
    for policy in (plan.genres, best_now, anything):
        shown = torch.nn.functional.one_hot(policy, 3)
        found = clicks(policy)
        error = float(found.std()) / math.sqrt(len(found))
        assert return_of(world, shown) == pytest.approx(float(found.mean()), abs=3 * error)
    assert return_of(world, torch.nn.functional.one_hot(plan.genres, 3)) == pytest.approx(
        plan.mean_return, abs=1e-12
    )


def test_looking_ahead_pays() -> None:
    world = Boredom(**SMALL)  # type: ignore[arg-type]
    best = optimal(world).mean_return
    assert best == pytest.approx(10.378, abs=5e-4)
    assert return_of(world, myopic(world)) < 0.7 * best
    assert return_of(world, torch.full((3,), 1 / 3)) < 0.55 * best


@pytest.mark.parametrize(
    "change", [{"catalogue": "drawn"}, {"slate_size": 2}, {"taste_stddev": 0.5}]
)
def test_large_instances_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="slate_size 1 and taste_stddev 0"):
        optimal(Boredom(**{**SMALL, **change}))  # type: ignore[arg-type]


def test_too_many_states_are_refused() -> None:
    world = Boredom(**{**SMALL, "num_genres": 24})  # type: ignore[arg-type]
    # 5^24 states.
    with pytest.raises(ValueError, match=r"make 59,604,644,775,390,625 states, .*lower num_genres"):
        optimal(world)
    # 125 states * 3 genres * 3 age groups * 88,889 steps = 100,000,125 values.
    long = Boredom(**SMALL, time_budget=88_889)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"make 125 states, .* or time_budget"):
        myopic(long)
    assert len(all_levels(Boredom(**SMALL, time_budget=88_888))) == 125  # type: ignore[arg-type]
