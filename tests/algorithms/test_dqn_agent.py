"""DQN's arithmetic and its options, each of which must change behaviour."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, tensor

from algorithms.core.agent import Exploration
from algorithms.core.collect import Collector
from algorithms.dqn import DQNAgent, DQNSettings
from envs.history import History
from envs.registry import make_simulator
from envs.simulator import Observation
from envs.spec import FeatureSpec, number, vector


def by_hand(
    advantages: list[float], base: float = 0.0, slate_size: int = 1, **settings: object
) -> DQNAgent:
    """An agent without layers whose Q is base + advantages . features, whatever the state."""
    spec = FeatureSpec((number("x"),), (vector("kind", len(advantages)),), (number("click"),))
    options = DQNSettings(hidden=(), value_scale=1.0, **settings)
    agent = DQNAgent(spec, History(spec, ()), slate_size, options.model_dump())
    with torch.no_grad():
        agent.network.head.weight.zero_()
        agent.network.head.bias.copy_(tensor([base, *advantages, 0.0]))
    return agent


def observed(mask: list[bool], candidates: Tensor | None = None) -> Observation:
    """One user who is offered one candidate of each kind."""
    items = torch.eye(len(mask)) if candidates is None else candidates
    return Observation(
        torch.zeros(1, 1),
        items[None],
        tensor([mask]),
        torch.zeros(1, 1, 1),
        torch.zeros(1, 1),
        torch.zeros(1, 0),
    )


def replayed(mask: list[bool]) -> dict[str, Tensor]:
    """One transition: reward 1, and half of what follows counts."""
    following = observed(mask)
    return {
        "shown": torch.eye(len(mask))[None, :1],
        "reward": tensor([1.0]),
        "discount": tensor([0.5]),
        "next_user": following.user,
        "next_history": following.history,
        "next_candidates": following.candidates,
        "next_mask": following.mask,
    }


def make(world: str = "modified_long_term_satisfaction", users: int = 8, **settings: object):
    """A simulator and an agent for it."""
    arguments = settings.pop("env", {})
    simulator = make_simulator(world, users, seed=3, **arguments)
    torch.manual_seed(0)
    options = DQNSettings(**{"hidden": (16,), "value_scale": 10.0, **settings})
    agent = DQNAgent(simulator.spec, simulator.history, simulator.slate_size, options.model_dump())
    return simulator, agent


def collect(simulator, agent, steps: int = 4, epsilon: float = 0.0):
    return Collector(simulator, agent, seed=1).collect(steps, Exploration(epsilon))[0]


def test_the_most_valuable_item_is_shown_and_values_are_the_log_weights() -> None:
    decision = by_hand([1.0, 4.0, 2.0], base=3.0).decide(observed([True] * 3), 1)
    assert decision.best.tolist() == [[1]]
    assert decision.log_weights.tolist() == [[4.0, 7.0, 5.0]]
    assert decision.extras["value"].tolist() == [7.0]


def test_what_may_not_be_shown_is_not() -> None:
    decision = by_hand([1.0, 4.0, 2.0]).decide(observed([True, False, True]), 1)
    assert decision.best.tolist() == [[2]]
    assert decision.extras["value"].tolist() == [2.0]
    assert decision.log_weights.isfinite().all()


def test_dueling_values_are_centred_on_what_may_be_shown() -> None:
    agent = by_hand([1.0, 2.0], base=3.0, dueling=True)
    # The mean advantage is 1.5: 3 - 0.5 and 3 + 0.5.
    assert agent.decide(observed([True, True]), 1).log_weights.tolist() == [[2.5, 3.5]]
    # Of one action alone it is its own: 3.
    assert agent.decide(observed([False, True]), 1).extras["value"].tolist() == [3.0]
    columns = {
        "user": torch.zeros(1, 1),
        "history": torch.zeros(1, 0),
        "shown": torch.eye(2)[None, 1:],
        "candidates": torch.eye(2)[None],
        "mask": tensor([[True, True]]),
    }
    assert agent.predict(columns)["value"].tolist() == [3.5]
    plain = by_hand([1.0, 2.0], base=3.0)
    assert plain.predict(columns)["value"].tolist() == [5.0]


def test_double_q_learning_values_the_trained_networks_choice() -> None:
    target = by_hand([10.0, 5.0], learning="replay")
    double = by_hand([1.0, 2.0], learning="replay")
    single = by_hand([1.0, 2.0], learning="replay", double=False)
    # The trained network prefers item 1, which the target network gives 5: 1 + 5 / 2.
    assert double.bootstrap(replayed([True, True]), target).tolist() == [3.5]
    # The target network alone prefers item 0: 1 + 10 / 2.
    assert single.bootstrap(replayed([True, True]), target).tolist() == [6.0]
    # Item 0 is all that may be shown.
    assert double.bootstrap(replayed([True, False]), target).tolist() == [6.0]


def test_the_loss_is_the_weighted_squared_error() -> None:
    agent = by_hand([1.0, 2.0])
    columns = {"target": tensor([1.0, 2.0])}
    predicted = {"value": tensor([3.0, 1.0])}
    # Errors 2 and -1: (4 + 1) / 2.
    assert float(agent.loss(columns, predicted, None)["loss"]) == 2.5
    weighted = agent.loss({**columns, "weight": tensor([1.0, 0.5])}, predicted, None)
    # (4 + 0.5) / 2; the errors themselves become priorities.
    assert float(weighted["loss"]) == 2.25
    assert weighted["row_errors"].tolist() == [2.0, -1.0]


def pairs(slot_weights: list[float], **settings: object) -> DQNAgent:
    """Full-slate Q of pairs by hand: SiLU(sum of slot weight * v), v the only feature."""
    agent = by_hand([1.0], slate_size=2, actions="slates", slate_hidden=(1,), **settings)
    with torch.no_grad():
        agent.network.slots[0].bias.zero_()
        for layer, weight in zip(agent.network.slots, slot_weights, strict=True):
            layer.weight.fill_(weight)
    return agent


def test_full_slate_q_shows_the_best_pair() -> None:
    items = tensor([[0.0], [1.0], [2.0]])
    decision = pairs([1.0]).decide(observed([True] * 3, items), 2)
    assert decision.best.tolist() == [[1, 2]]
    # SiLU(3) = 3 / (1 + e^-3) = 2.8577 for items 1 and 2; with item 0 SiLU(2) = 1.7616.
    expected = tensor([[1.7616, 2.8577, 2.8577]])
    torch.testing.assert_close(decision.log_weights, expected, atol=1e-4, rtol=0)
    masked = pairs([1.0]).decide(observed([True, True, False], items), 2)
    assert masked.best.tolist() == [[0, 1]]


def test_in_ordered_slates_the_order_counts() -> None:
    items = tensor([[0.0], [1.0], [2.0]])
    agent = pairs([1.0, -1.0], ordered=True)
    decision = agent.decide(observed([True] * 3, items), 2)
    # v_first - v_second is largest for (2, 0).
    assert decision.best.tolist() == [[2, 0]]
    code = agent.network.encode(torch.zeros(1, 1), torch.zeros(1, 0))
    forth, back = items[[2, 0]][None], items[[0, 2]][None]
    # SiLU(2) = 1.7616 and SiLU(-2) = -0.2384.
    assert agent.shown_value(code, forth, 0.0).item() == pytest.approx(1.7616, abs=1e-4)
    assert agent.shown_value(code, back, 0.0).item() == pytest.approx(-0.2384, abs=1e-4)
    unordered = pairs([1.0])
    assert unordered.shown_value(code, forth, 0.0) == unordered.shown_value(code, back, 0.0)


def test_the_slate_acted_on_is_the_one_valued() -> None:
    env = {"num_candidates": 5, "slate_size": 2}
    simulator, agent = make("interest_evolution", env=env, actions="slates", lambda_=0.0)
    observation = simulator.reset()
    decision = agent.decide(observation, 2)
    shown = observation.candidates.gather(1, decision.best[..., None].expand(-1, -1, 20))
    value = agent.shown_value(decision.extras["code"], shown, decision.extras["centre"])
    torch.testing.assert_close(value, decision.extras["value"])


def test_fresh_targets_of_one_step_are_reward_plus_next_value() -> None:
    simulator, agent = make(dueling=True)
    fragment = collect(simulator, agent, steps=1)
    expected = fragment.steps[0].transition.reward + fragment.last_extras["value"]
    torch.testing.assert_close(agent.learn_columns(fragment)["target"], expected)


def test_n_step_rows_lead_to_what_followed_their_last_reward() -> None:
    simulator, agent = make(learning="replay", n_step=3, gamma=0.5)
    fragment = collect(simulator, agent, steps=4)
    columns = agent.learn_columns(fragment)
    rewards = fragment.happened("reward")
    # The user's only feature is step / 10 - 0.5; steps 0 and 1 look three ahead, 2 and 3 to step 4.
    following = columns["next_user"].view(4, 8) * 10 + 5
    assert following[:, 0].tolist() == pytest.approx([3, 4, 4, 4], abs=1e-5)
    assert columns["discount"].view(4, 8)[:, 0].tolist() == [0.125, 0.125, 0.25, 0.5]
    expected = rewards[0] + 0.5 * rewards[1] + 0.25 * rewards[2]
    torch.testing.assert_close(columns["reward"].view(4, 8)[0], expected)


def test_nothing_is_bootstrapped_from_users_who_left() -> None:
    simulator, agent = make(learning="replay", n_step=3)
    columns = agent.learn_columns(collect(simulator, agent, steps=12))
    # Sessions last 10 steps: of steps 7, 8 and 9 three or fewer rewards are left, and no value.
    assert columns["discount"].view(12, 8)[:, 0].tolist() == [1.0] * 7 + [0.0] * 3 + [1.0] * 2


def test_truncated_sessions_lead_to_their_final_observation() -> None:
    env = {"time_limit": 2, "slate_size": 1}
    simulator, agent = make("interest_exploration", env=env, learning="replay", n_step=3)
    fragment = collect(simulator, agent, steps=4)
    final = fragment.steps[1].transition.final
    columns = agent.learn_columns(fragment)
    following = columns["next_candidates"].unflatten(0, (4, 8))
    assert torch.equal(following[0], final.candidates)
    assert torch.equal(following[1], final.candidates)
    assert columns["discount"].tolist() == [1.0] * 32


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("lambda_", 0.0, 0.9),
        ("trace", "harutyunyan", "peng"),
        ("trace", "harutyunyan", "watkins"),
        ("gamma", 1.0, 0.9),
        ("dueling", False, True),
        ("value_scale", 50.0, 5.0),
        ("initial_value", 160.0, 10.0),
        ("layer_norm", True, False),
        ("hidden", (16,), (8, 8)),
        ("item_hidden", (), (4,)),
    ],
)
def test_every_option_changes_the_targets(name, first, second) -> None:
    def targets(value):
        simulator, agent = make(**{name: value})
        with torch.no_grad():
            agent.network.head.weight.mul_(100.0)
        return agent.learn_columns(collect(simulator, agent, steps=8, epsilon=0.5))["target"]

    assert not torch.allclose(targets(first), targets(second))


def test_watkins_takes_the_same_items_in_another_order_for_greedy() -> None:
    env = {"num_candidates": 3, "slate_size": 3}
    settings = {"env": env, "actions": "slates", "lambda_": 0.9}

    def targets(trace: str, **more: object) -> Tensor:
        simulator, agent = make("interest_evolution", trace=trace, **settings, **more)
        return agent.learn_columns(collect(simulator, agent, steps=8, epsilon=1.0))["target"]

    # Three candidates make one unordered slate, so that nothing shown is exploratory.
    assert torch.equal(targets("watkins"), targets("harutyunyan"))
    ordered = [targets(trace, ordered=True) for trace in ("watkins", "harutyunyan")]
    assert not torch.equal(*ordered)


def test_widths_of_slate_layers_are_a_setting() -> None:
    env = {"num_candidates": 5, "slate_size": 2}
    _, agent = make("interest_evolution", env=env, actions="slates", slate_hidden=(6, 4))
    shapes = {name: tuple(value.shape) for name, value in agent.network.named_parameters()}
    assert shapes["slots.0.weight"] == (6, 20)
    assert shapes["rest.1.0.weight"] == (4, 6)
    assert shapes["head.weight"][0] == 1 + 4 + 1


def test_a_slate_world_is_refused_by_single_items() -> None:
    with pytest.raises(ValueError, match="a slate world given to a single-item algorithm"):
        make("interest_evolution")
    with pytest.raises(ValueError, match="slate_size is 2"):
        by_hand([1.0, 2.0]).decide(observed([True, True]), 2)


def test_too_many_slates_are_refused() -> None:
    env = {"num_candidates": 20, "slate_size": 3}
    simulator, agent = make("interest_evolution", env=env, actions="slates", max_slates=1000)
    with pytest.raises(ValueError, match="20 candidates make 1,140 slates of 3"):
        agent.decide(simulator.reset(), 3)


def test_ordered_slates_of_more_slots_than_trained_are_refused() -> None:
    with pytest.raises(ValueError, match="knows 2 slots in their order"):
        pairs([1.0, 1.0], ordered=True).decide(observed([True] * 3, torch.ones(3, 1)), 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_step": 3}, "n_step is 3, but learning 'fresh' uses lambda-returns"),
        ({"prioritised": True}, "prioritised needs a replay buffer"),
        ({"ordered": True}, "ordered is true, which does nothing: it is about slates"),
        ({"priority_beta": 1.5}, "less than or equal to 1"),
        ({"slate_hidden": ()}, "at least 1 item"),
    ],
)
def test_impossible_settings_are_refused(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        DQNSettings(**settings)


def test_importance_weights_are_full_at_the_end() -> None:
    settings = DQNSettings(learning="replay", priority_beta=0.4, schedule_steps=100)
    found = [settings.priority_beta_at(steps) for steps in (0, 50, 100, 200)]
    assert found == pytest.approx([0.4, 0.7, 1.0, 1.0])
    assert DQNSettings(priority_beta=0.4).priority_beta_at(10**6) == 0.4


def test_values_do_not_depend_on_the_number_of_candidates() -> None:
    simulator, agent = make()
    observation = simulator.reset()
    few = observation._replace(
        candidates=observation.candidates[:, :5], mask=observation.mask[:, :5]
    )
    many = agent.decide(observation, 1).log_weights[:, :5]
    torch.testing.assert_close(agent.decide(few, 1).log_weights, many)
