"""One step of each world by hand."""

import math

import pytest
import torch
from torch import Tensor, tensor

from envs.interest_evolution import world as evolution
from envs.interest_evolution.world import InterestEvolution, topic_quality
from envs.interest_exploration import world as exploration
from envs.interest_exploration.world import InterestExploration
from envs.long_term_satisfaction import world as satisfaction
from envs.long_term_satisfaction.world import LongTermSatisfaction
from envs.modified_long_term_satisfaction.world import ModifiedLongTermSatisfaction
from envs.noise import Draws
from envs.world import Outcome, World

DOUBLE = torch.float64


class Fixed(Draws):
    """Numbers set by hand for one user, by purpose; several positions share one."""

    def __init__(self, numbers: dict[int, float]) -> None:
        self._numbers = numbers

    def uniform(self, purpose: int, positions: int | Tensor) -> Tensor:
        width = positions if isinstance(positions, int) else positions.shape[1]
        return torch.full((1, width), self._numbers[purpose], dtype=DOUBLE)

    normal = uniform


def double(values: object) -> Tensor:
    return torch.as_tensor(values, dtype=DOUBLE)


def same(actual: Tensor, expected: object) -> None:
    torch.testing.assert_close(actual, double(expected), atol=1e-12, rtol=0)


def evolution_step(choice: float, direction: float, budget: float = 200.0) -> Outcome:
    world = InterestEvolution(num_candidates=3, slate_size=2, num_topics=4)
    state = {
        "interests": double([[0.5, -0.5, 0.0, 1.0]]),
        "budget": double([budget]),
        "topic": tensor([[1, 0, 3]]),
    }
    purposes = evolution.Purpose
    draws = Fixed({purposes.QUALITY: 1.0, purposes.CHOICE: choice, purposes.DIRECTION: direction})
    return world.transition(state, tensor([[1, 0]]), draws)


# Four topics have mean quality -3, 0, 0, 3; one standard deviation of 0.1 above
# that, topic 0 gives -2.9 and topic 1 gives 0.1. The slate shows topics 0 and 1:
# masses 0.5 + 1, -0.5 + 1 and 1 + 1 for no click; up to 0.375 the first, up to
# 0.5 the second.


def test_evolution_click_towards() -> None:
    outcome = evolution_step(choice=0.2, direction=0.7)
    # 0.7 < (0.5 + 1) / 2: up by (0.3 - 0.15) (1 - 0.5) = 0.075.
    same(outcome.state["interests"], [[0.575, -0.5, 0.0, 1.0]])
    # 200 - 4 + 0.9 / 3.4 * 4 * (-2.9).
    same(outcome.state["budget"], [196 - 0.9 / 3.4 * 11.6])
    # click, topic, liked, quality, watch time; both documents show their quality.
    clicked = [1, 1, 0, 0, 0, 0, -2.9, 4]
    same(outcome.response, [[clicked, [0, 0, 1, 0, 0, 0, 0.1, 0]]])
    same(outcome.reward, [4])
    assert outcome.terminated.tolist() == [False]


def test_evolution_click_away() -> None:
    outcome = evolution_step(choice=0.4, direction=0.25)
    # The second document, of interest -0.5; 0.25 is not below (-0.5 + 1) / 2,
    # so down by (0.3 - 0.15) (1 + 0.5) = 0.225.
    same(outcome.state["interests"], [[0.5, -0.725, 0.0, 1.0]])
    same(outcome.state["budget"], [196 + 0.9 / 3.4 * 0.4])


def test_evolution_no_click() -> None:
    outcome = evolution_step(choice=0.5, direction=0.0)
    same(outcome.state["interests"], [[0.5, -0.5, 0.0, 1.0]])
    same(outcome.state["budget"], [199.5])
    same(outcome.response[..., 0], [[0, 0]])
    same(outcome.response[..., -1], [[0, 0]])
    same(outcome.response[..., -2], [[-2.9, 0.1]])
    same(outcome.reward, [0])


def test_evolution_ends_when_the_budget_is_used_up() -> None:
    # One minute left is watched; at quality -2.9 nothing comes back.
    outcome = evolution_step(choice=0.2, direction=0.0, budget=1.0)
    same(outcome.reward, [1])
    assert outcome.terminated.tolist() == [True]
    # No click costs 0.5: exactly nothing is left of 0.5, something of 0.6.
    assert evolution_step(0.5, 0.0, budget=0.5).terminated.tolist() == [True]
    assert evolution_step(0.5, 0.0, budget=0.6).terminated.tolist() == [False]


def test_evolution_interests_stay_in_range() -> None:
    world = InterestEvolution(num_candidates=1, slate_size=1, num_topics=2)
    state = {
        "interests": double([[-0.9, 0.0]]),
        "budget": double([200]),
        "topic": tensor([[0]]),
    }
    purposes = evolution.Purpose
    draws = Fixed({purposes.QUALITY: 0.0, purposes.CHOICE: 0.0, purposes.DIRECTION: 0.9})
    # Down by (0.3 - 0.27) * 1.9 = 0.057.
    after = world.transition(state, tensor([[0]]), draws).state
    same(after["interests"], [[-0.957, 0.0]])


def test_topic_quality() -> None:
    # 14 topics from -3 to 0, 6 from 0 to 3.
    quality = topic_quality(20)
    same(quality[[0, 13, 14, 19]], [-3, 0, 0, 3])
    same(quality[1], -3 + 3 / 13)
    # 7 topics are 4 and 3: RecSim loses one.
    assert len(topic_quality(7)) == 7


def test_evolution_can_hide_quality() -> None:
    world = InterestEvolution(show_quality=False)
    assert "quality" not in [feature.name for feature in world.spec.response]
    assert not any("quality" in term.what for term in world.default_history)
    assert any("quality" in term.what for term in InterestEvolution().default_history)


def exploration_world() -> InterestExploration:
    return InterestExploration(num_candidates=3, slate_size=2, no_click_mass=math.log(6))


def test_exploration_start() -> None:
    world, purposes = exploration_world(), exploration.Purpose
    # 0.3 is no longer the first type: affinities exp(0.7 + 0.2), exp(0.1 + 0.2).
    draws = Fixed({purposes.USER_TYPE: 0.3, purposes.AFFINITY: 2.0})
    state = world.new_users(draws, DOUBLE, torch.device("cpu"))
    same(state["affinity"], [[math.exp(0.9), math.exp(0.3)]])
    # 0.1 lies in the first topic: quality exp(0.8 - 0.1).
    draws = Fixed({purposes.TOPIC: 0.1, purposes.QUALITY: -1.0})
    candidates = world.new_candidates(state, draws)
    assert candidates["topic"].tolist() == [[0, 0, 0]]
    same(candidates["quality"], [[math.exp(0.7)] * 3])


@pytest.mark.parametrize(("luck", "clicked"), [(0.19, 0), (0.39, 1), (0.41, None)])
def test_exploration_choice(luck: float, clicked: int | None) -> None:
    # Scores ln 1 + ln 2 and ln 2 + 0, no click ln 6: 2, 2 and 6 of 10.
    state = {
        "affinity": double([[0.0, math.log(2)]]),
        "topic": tensor([[0, 1, 0]]),
        "quality": double([[9.0, 0.0, math.log(2)]]),
    }
    draws = Fixed({exploration.Purpose.CHOICE: luck})
    outcome = exploration_world().transition(state, tensor([[2, 1]]), draws)
    click = [float(slot == clicked) for slot in range(2)]
    same(outcome.response, [[[click[0], 0, math.log(2)], [click[1], 1, 0]]])
    same(outcome.reward, [sum(click)])
    assert outcome.terminated.tolist() == [False]
    assert outcome.state["affinity"] is state["affinity"]


def test_exploration_ends_at_its_time_limit() -> None:
    assert InterestExploration().time_limit == 100
    assert InterestExploration(time_limit=None).time_limit is None


def test_satisfaction_step() -> None:
    world = LongTermSatisfaction(num_candidates=2, slate_size=2, sensitivity=1.0)
    state = {
        "exposure": double([math.log(3)]),
        "step": double([58]),
        "clickbait": double([[0.1, 0.25]]),
    }
    purposes = satisfaction.Purpose
    draws = Fixed({purposes.ENGAGEMENT: 2.0, purposes.INNOVATION: 1.0})
    outcome = world.transition(state, tensor([[1, 0]]), draws)
    # Satisfaction 3 / 4; mean (0.25 * 5 + 0.75 * 4) * 0.75 = 3.1875, plus 2 deviations.
    engagement = math.exp(5.1875)
    same(outcome.reward, [engagement])
    assert engagement > 100
    same(outcome.response, [[[1, 100], [0, 0]]])
    # 0.7 ln 3 - 2 (0.25 - 0.5) + 0.05.
    same(outcome.state["exposure"], [0.7 * math.log(3) + 0.55])
    # 59 of 60 steps.
    assert outcome.terminated.tolist() == [False]
    state["step"] += 1
    assert world.transition(state, tensor([[1, 0]]), draws).terminated.tolist() == [True]


def test_satisfaction_start() -> None:
    draws = Fixed({satisfaction.Purpose.EXPOSURE: 0.2})
    state = LongTermSatisfaction().new_users(draws, DOUBLE, torch.device("cpu"))
    same(state["exposure"], [-1.0])  # (0.2 - 0.5) / (1 - 0.7)


def test_modified_satisfaction() -> None:
    world, purposes = ModifiedLongTermSatisfaction(num_candidates=4), satisfaction.Purpose
    numbers = {purposes.EXPOSURE: 0.3, purposes.CLICKBAIT: 0.5}
    draws = Fixed(numbers | {purposes.ENGAGEMENT: 1.0, purposes.INNOVATION: 1.0})
    state = world.new_users(draws, DOUBLE, torch.device("cpu"))
    state |= world.new_candidates(state, draws)
    user, candidates = world.observe(state)
    same(user, [[-0.5]])
    same(candidates, [[[0.9], [0.1], [0.9], [0.1]]])
    outcome = world.transition(state, tensor([[0]]), draws)
    same(outcome.reward, [math.exp(5 * 0.9 / (1 + math.exp(-0.9)))])
    # 0.7 * 1 - 2 (0.9 - 0.5) + 1e-5.
    same(outcome.state["exposure"], [-0.1 + 1e-5])
    state = outcome.state | world.new_candidates(outcome.state, draws)
    same(world.observe(state)[0], [[-0.4]])


@pytest.mark.parametrize(
    ("world", "arguments", "message"),
    [
        (InterestEvolution, {"slate_size": 11}, "lower slate_size or raise num_candidates"),
        (InterestEvolution, {"num_candidates": 0}, "num_candidates is 0"),
        (InterestEvolution, {"num_topics": 1}, "at least 2 topics"),
        (InterestExploration, {"time_limit": 0}, "time_limit is 0"),
        (InterestExploration, {"topic_distribution": (0.5, 0.6)}, "add up to 1"),
        (InterestExploration, {"topic_quality_mean": (0.5,)}, "topic_quality_mean has shape"),
        (InterestExploration, {"topic_quality_stddev": (0.5, -1)}, "negative number"),
        (LongTermSatisfaction, {"memory_discount": 1.0}, "memory_discount is 1.0"),
        (LongTermSatisfaction, {"choc_stddev": -1.0}, "choc_stddev is -1.0"),
        (ModifiedLongTermSatisfaction, {"time_budget": 0}, "time_budget is 0"),
    ],
)
def test_impossible_worlds_are_refused(
    world: type[World], arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        world(**arguments)
