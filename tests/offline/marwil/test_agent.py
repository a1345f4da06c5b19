from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, tensor

from envs.history import History
from envs.spec import FeatureSpec, identifier, number
from offline.log import Rows
from offline.marwil import MARWILAgent, MARWILSettings
from tests.offline.log.made import HISTORY, SPEC, make_rows


def make_agent(**settings: Any) -> MARWILAgent:
    torch.manual_seed(0)
    options = MARWILSettings(**{"hidden": (16,), **settings})
    return MARWILAgent(SPEC, HISTORY, 2, options.model_dump())


def with_rewards(*rewards: float) -> Rows:
    """Sessions of two steps."""
    rows = make_rows(sessions=len(rewards) // 2, steps=2)
    return rows.replace(reward=np.array(rewards, np.float32))


def test_returns_of_whole_sessions_and_their_scale() -> None:
    agent = make_agent(gamma=0.5)
    columns = agent.log_columns(with_rewards(1, 2, 3, 4))
    # 1 + 2 / 2, 2, 3 + 4 / 2, 4: mean 3.25, variance (1.25^2 * 2 + 1.75^2 + 0.75^2) / 4.
    assert columns["return"].tolist() == [2, 2, 5, 4]
    assert agent.scale.tolist() == pytest.approx([3.25, math.sqrt(6.75 / 4)])
    # The unit is that of the first rows, whatever comes later.
    agent.log_columns(with_rewards(100, 200))
    assert agent.scale[0] == 3.25


def test_sessions_without_an_end_are_left_out_and_cut_ones_are_not() -> None:
    rows = with_rewards(1, 2, 3, 4, 5, 6)
    ends = np.array([0, 1, 0, 0, 0, 0], np.bool_)
    rows = rows.replace(terminated=ends, truncated=np.roll(ends, 4))
    assert make_agent().log_columns(rows)["return"].tolist() == [3, 2, 11, 6]


RETURNS = {"return": tensor([14.0, 8.0])}


def predicted() -> dict[str, Tensor]:
    return {"log_likelihood": tensor([-1.0, -2.0]), "value": tensor([1.0, 1.0])}


def prepared(**settings: Any) -> MARWILAgent:
    agent = make_agent(**settings)
    agent.scale.copy_(tensor([10.0, 2.0]))
    return agent.train()


def test_the_loss_by_hand() -> None:
    # Returns of 14 and 8 are 2 and -1 in units of 2 about 10; advantages 1 and -2;
    # c^2 = (1 + 4) / 2; weights exp(2 A / c).
    terms = prepared(beta=2.0, value_coeff=0.5).loss(
        {"return": tensor([14.0, 8.0])}, predicted(), None
    )
    c = math.sqrt(2.5)
    weights = [math.exp(2 / c), math.exp(-4 / c)]
    assert terms["policy_loss"].item() == pytest.approx((weights[0] + 2 * weights[1]) / 2)
    assert terms["value_loss"].item() == pytest.approx(2.5 / 2)
    assert terms["loss"].item() == pytest.approx((weights[0] + 2 * weights[1]) / 2 + 2.5 / 4)
    assert terms["clipped_share"].item() == 0


def test_beta_0_clones_the_behaviour() -> None:
    terms = prepared(beta=0.0, value_coeff=0.0).loss(
        {"return": tensor([14.0, 8.0])}, predicted(), None
    )
    assert terms["loss"].item() == pytest.approx(1.5)


def test_weights_are_clipped() -> None:
    terms = prepared(beta=2.0, weight_max=2.0).loss(
        {"return": tensor([14.0, 8.0])}, predicted(), None
    )
    assert terms["clipped_share"].item() == 0.5 and terms["weight"].item() < 2


def test_one_step_advantages_by_hand() -> None:
    agent = prepared(advantage="one_step", gamma=0.5, beta=1.0)
    columns = {
        "return": tensor([14.0, 8.0]),
        "reward": tensor([7.0, 8.0]),
        "goes_on": tensor([True, False]),
    }
    # Next values 12 and (not read) 30: 7 + 12 / 2 = 13 and 8, in units 1.5 and -1, less
    # values of 1; c^2 = (0.25 + 4) / 2.
    given = {**predicted(), "next_value": tensor([1.0, 10.0])}
    terms = agent.loss(columns, given, None)
    c = math.sqrt(4.25 / 2)
    expected = (math.exp(0.5 / c) + 2 * math.exp(-2 / c)) / 2
    assert terms["policy_loss"].item() == pytest.approx(expected)
    assert agent.follows == ("user", "history") and make_agent().follows == ()


def test_the_next_value_is_of_the_next_row() -> None:
    agent = make_agent(advantage="one_step")
    columns = agent.log_columns(with_rewards(1, 2))
    assert columns["goes_on"].tolist() == [True, False]
    after = {f"next_{name}": columns[name].roll(-1, 0) for name in agent.follows}
    found = agent.predict({**columns, **after})
    assert found["next_value"][0].item() == pytest.approx(found["value"][1].item())
    assert not found["next_value"].requires_grad


def test_the_normaliser_learns_in_training_only_and_at_its_rate() -> None:
    def second_weight(rate: float, train: bool) -> float:
        agent = prepared(normaliser_rate=rate, weight_max=1e9).train(train)
        agent.loss(RETURNS, predicted(), None)
        state = agent.learning_state()
        assert state["count"] == int(train)
        terms = agent.loss({"return": tensor([30.0, 8.0])}, predicted(), None)
        again = prepared(normaliser_rate=rate, weight_max=1e9).train(train)
        again.set_learning_state(state)
        same = again.loss({"return": tensor([30.0, 8.0])}, predicted(), None)
        assert same["weight"].item() == terms["weight"].item()
        return terms["weight"].item()

    assert second_weight(0.01, True) != pytest.approx(second_weight(0.9, True), rel=1e-3)
    assert second_weight(0.01, False) == pytest.approx(second_weight(0.9, False))


@pytest.mark.parametrize("advantage", ["return", "one_step"])
def test_what_turned_out_well_is_shown_though_the_log_is_random(advantage: str) -> None:
    rows = make_rows(sessions=6000, steps=1, slots=1)
    first = np.take_along_axis(rows["candidates"][:, :, 3], rows["slate"][:, :1], axis=1)[:, 0]
    rows = rows.replace(reward=first)  # the quality of what is shown

    def best_first(beta: float) -> float:
        """How often the best item is liked most."""
        agent = make_agent(beta=beta, advantage=advantage)
        columns = agent.log_columns(rows)
        columns |= {f"next_{name}": columns[name].roll(-1, 0) for name in agent.follows}
        optimizer = torch.optim.Adam(agent.parameters(), lr=0.02)
        for _ in range(80):
            optimizer.zero_grad()
            agent.loss(columns, agent.predict(columns), None)["loss"].backward()
            optimizer.step()
        code = agent.network.encode(columns["user"], columns["history"])
        weights = agent.network.log_weights(code, columns["user"], columns["candidates"])
        return (weights.argmax(1) == columns["candidates"][:, :, 3].argmax(1)).float().mean().item()

    assert best_first(2.0) > 0.85
    assert best_first(0.0) < 0.5  # cloning random slates


def test_returns_that_float32_does_not_hold_are_refused() -> None:
    with pytest.raises(ValueError, match="more than float32 holds; give them in a larger unit"):
        make_agent().log_columns(with_rewards(3e38, 3e38))


def test_the_value_learns_a_vector_for_each_user_and_not_a_slope_over_their_numbers() -> None:
    spec = FeatureSpec(
        user=(identifier("user_id", 4),),
        candidate=(number("year"),),
        response=(number("click", 0.0, 1.0),),
    )
    torch.manual_seed(0)
    options = MARWILSettings(hidden=())
    agent = MARWILAgent(spec, History(spec, ()), 1, options.model_dump())
    unknown, *known = agent.values(tensor([[-1.0], [0.0], [1.0], [2.0]]), torch.zeros(4, 0))
    assert unknown.item() == 0.0  # where values begin
    first, second, third = (value.item() for value in known)
    assert second - first != pytest.approx(third - second)
