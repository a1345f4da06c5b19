"""SlateQ's arithmetic and its options, each of which must change behaviour."""

from __future__ import annotations

import pytest
import torch
from torch import tensor

from algorithms.core.agent import Exploration
from algorithms.core.collect import Collector
from algorithms.core.rows import next_values
from algorithms.slateq import SlateQAgent, SlateQSettings
from algorithms.slateq.columns import chosen
from envs.registry import make_simulator


def collect(agent, simulator, steps=4, epsilon=0.0):
    return Collector(simulator, agent, seed=1).collect(steps, Exploration(epsilon))[0]


def test_loss_is_the_squared_error_of_what_was_chosen(make_agent) -> None:
    agent = make_agent(value_scale=10.0)
    columns = {"target": tensor([30.0, 40.0])}
    terms = agent.loss(columns, {"chosen_value": tensor([10.0, 40.0])}, None)
    # ((10 - 30) / 10)^2 = 4 and 0; the mean is 2.
    assert float(terms["loss"]) == 2.0


def test_unclicked_items_are_not_trained(make_agent, simulator) -> None:
    agent = make_agent()
    columns = agent.learn_columns(collect(agent, simulator, steps=16))
    row = columns["clicked"].nonzero()[:1, 0]
    clicked = {name: value[row] for name, value in columns.items()}
    ignored = {**clicked, "clicked": torch.zeros(1, dtype=torch.bool)}
    code = agent.network.encode(clicked["user"], clicked["history"])
    item = agent.network.item_values(code, clicked["item"][:, None])[0, 0]
    assert agent.predict(clicked)["chosen_value"][0] == item
    assert agent.predict(ignored)["chosen_value"][0] == agent.network.no_click_value(code)[0]


def test_targets_of_one_step_fragments_are_reward_plus_next_value(make_agent, simulator) -> None:
    agent = make_agent()
    fragment = collect(agent, simulator, steps=1)
    columns = agent.learn_columns(fragment)
    expected = fragment.steps[0].transition.reward + fragment.last_extras["value"]
    torch.testing.assert_close(columns["target"], expected)


def test_the_myopic_agent_learns_rewards(make_agent, simulator) -> None:
    agent = make_agent(gamma=0.0)
    fragment = collect(agent, simulator)
    columns = agent.learn_columns(fragment)
    torch.testing.assert_close(columns["target"], fragment.happened("reward").flatten())


def test_truncated_sessions_bootstrap_from_their_final_observation() -> None:
    simulator = make_simulator("interest_exploration", 4, seed=0, time_limit=2, slate_size=2)
    agent = SlateQAgent(
        simulator.spec, simulator.history, 2, SlateQSettings(hidden=(8,)).model_dump()
    )
    fragment = collect(agent, simulator, steps=2)
    transition = fragment.steps[1].transition
    assert bool(transition.truncated.all())
    final = agent.decide(transition.final, 2).extras["value"]
    torch.testing.assert_close(next_values(fragment)[1], final)
    assert not torch.allclose(final, fragment.last_extras["value"])


def test_no_click_worth_zero_is_the_papers(make_agent, simulator) -> None:
    observation = simulator.reset()
    extras = make_agent(no_click_value="zero").decide(observation, 3).extras
    assert float(extras["no_click_value"].abs().max()) == 0.0
    learned = make_agent().decide(observation, 3).extras["no_click_value"].detach()
    assert float(learned.abs().min()) > 0.0


def test_sarsa_bootstraps_from_the_slate_shown(make_agent, simulator) -> None:
    agent = make_agent(target="sarsa", trace="sarsa", lambda_=0.0)
    fragment = collect(agent, simulator, steps=2, epsilon=1.0)
    extras = fragment.steps[1].extras
    shown = agent.shown_value(
        extras["no_click_value"], extras["item_values"], extras["masses"], fragment.slates[1]
    )
    reward = fragment.steps[0].transition.reward
    columns = agent.learn_columns(fragment)
    torch.testing.assert_close(columns["target"][:8], reward + shown)
    assert bool((shown < extras["value"]).all())


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("lambda_", 0.0, 0.9),
        ("trace", "harutyunyan", "peng"),
        ("trace", "harutyunyan", "watkins"),
        ("target_optimiser", "exact", "top_k"),
        ("gamma", 1.0, 0.9),
        ("no_click_value", "learned", "zero"),
        ("choice_model", "multinomial_proportional", "exponential_cascade"),
        ("choice_no_click_mass", 1.0, 5.0),
        ("choice_min_normalizer", -1.0, -3.0),
        ("value_scale", 50.0, 5.0),
        ("initial_value", 160.0, 10.0),
        ("layer_norm", True, False),
        ("hidden", (16,), (8, 8)),
        ("item_hidden", (), (4,)),
    ],
)
def test_every_option_changes_the_targets(make_agent, name, first, second) -> None:
    def targets(value):
        simulator = make_simulator("interest_evolution", 8, seed=3)
        agent = make_agent(**{name: value})
        # Spread the values, so that the optimisers have something to disagree on.
        with torch.no_grad():
            agent.network.head.weight.mul_(100.0)
        return agent.learn_columns(collect(agent, simulator, steps=8, epsilon=0.5))["target"]

    assert not torch.allclose(targets(first), targets(second))


@pytest.mark.parametrize("optimiser", ["greedy", "top_k"])
def test_the_acting_optimiser_changes_what_is_shown(make_agent, optimiser) -> None:
    # Values of Q in [-1, 1] around 0 make ranking by v * A differ from the best slate.
    simulator = make_simulator("interest_evolution", 512, seed=3)
    observation = simulator.reset()
    exact, other = make_agent(), make_agent(act_optimiser=optimiser)
    for agent in (exact, other):
        with torch.no_grad():
            agent.network.head.weight.mul_(100.0)
    best = exact.decide(observation, 3)
    assert not torch.equal(best.best.sort().values, other.decide(observation, 3).best.sort().values)


def test_cascade_parameters_change_what_is_shown(make_agent, simulator) -> None:
    observation = simulator.reset()

    def value(**settings):
        agent = make_agent(choice_model="exponential_cascade", **settings)
        return agent.decide(observation, 3).extras["value"]

    base = value()
    assert not torch.allclose(base, value(choice_attention_prob=0.9))
    assert not torch.allclose(base, value(choice_score_scaling=0.2))


def test_a_learned_choice_is_trained_by_what_was_clicked(make_agent, simulator) -> None:
    agent = make_agent(choice_scores="learned", choice_model="multinomial_logit")
    columns = agent.learn_columns(collect(agent, simulator))
    terms = agent.loss(columns, agent.predict(columns), None)
    # Fresh logits are near 0: four equal choices, -log(1 / 4) = 1.386.
    assert float(terms["choice_loss"]) == pytest.approx(1.386, abs=0.05)
    assert float(terms["loss"]) == pytest.approx(float(terms["td_loss"] + terms["choice_loss"]))


def test_replayed_transitions_bootstrap_from_the_target_network(make_agent, simulator) -> None:
    agent, target = make_agent(learning="replay"), make_agent(seed=1, learning="replay")
    fragment = collect(agent, simulator, steps=2)
    columns = agent.learn_columns(fragment)
    value = target.decide(fragment.last, 3).extras["value"]
    expected = fragment.steps[1].transition.reward + value
    torch.testing.assert_close(agent.bootstrap(columns, target)[8:], expected)


def test_replayed_sarsa_leaves_out_steps_whose_next_slate_is_unknown(make_agent, simulator) -> None:
    agent = make_agent(learning="replay", target="sarsa")
    columns = agent.learn_columns(collect(agent, simulator, steps=4))
    assert len(columns["reward"]) == 3 * 8  # the last step of the fragment is left out


def test_several_clicks_on_a_slate_are_refused(make_agent, simulator) -> None:
    agent = make_agent()
    fragment = collect(agent, simulator, steps=1)
    fragment.steps[0].transition.response[..., agent.spec.response_slice("click")] = 1.0
    with pytest.raises(ValueError, match="several clicks"):
        chosen(agent, fragment)


@pytest.mark.parametrize(
    "settings",
    [
        {"act_optimiser": "top_k", "choice_model": "exponential_cascade"},
        {"target_optimiser": "greedy", "choice_model": "proportional_cascade"},
        {"choice_scores": "learned", "choice_model": "multinomial_proportional"},
        {"target": "sarsa", "trace": "peng"},
        {"gamma": 1.5},
        {"replay_ratio": 0.0},
    ],
)
def test_impossible_combinations_are_refused(settings) -> None:
    with pytest.raises(ValueError):
        SlateQSettings(**settings)


def test_values_do_not_depend_on_the_number_of_candidates(make_agent, simulator) -> None:
    agent, observation = make_agent(), simulator.reset()
    few = observation._replace(
        candidates=observation.candidates[:, :5], mask=observation.mask[:, :5]
    )
    many = agent.decide(observation, 3).extras["item_values"][:, :5]
    torch.testing.assert_close(agent.decide(few, 3).extras["item_values"], many)
