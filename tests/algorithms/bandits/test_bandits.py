"""What every bandit does: rank, explore as stated, learn from rows that come late."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import tensor

from algorithms.bandits.agent import Shown
from algorithms.core.agent import Exploration, slate_distribution
from algorithms.core.collect import Collector
from algorithms.policy import Policy
from envs.registry import make_simulator
from tests.algorithms.bandits.conftest import BANDITS

ARMS = ("epsilon_greedy", "ucb1", "discounted_ucb", "sliding_window_ucb")
THOMPSON = ("thompson_beta", "thompson_gaussian", "lints")
DETERMINISTIC = ("ucb1", "discounted_ucb", "sliding_window_ucb", "linucb", "neural_linear")


def shown(items: torch.Tensor, feedback: list[float], user=(0.0, 0.0, 0.0)) -> Shown:
    users = tensor([user]).expand(len(items), -1)
    return Shown(users, items, torch.zeros(len(items), 0), tensor(feedback))


def weights(agent, observation, slots: int = 1) -> list[float]:
    return agent.decide(observation, slots).log_weights[0].tolist()


def stated(agent, observation, slots: int = 1):
    settings = agent.options
    exploration = Exploration(settings.epsilon, settings.temperature)
    return slate_distribution(agent.decide(observation, slots), observation, exploration, slots)


def same_model(first, second) -> None:
    for name, value in first.state_dict().items():
        other = second.state_dict()[name]
        assert torch.allclose(value.double(), other.double(), rtol=1e-6, atol=1e-10), name


def test_means_of_arms(make_bandit, items, observe) -> None:
    agent = make_bandit("epsilon_greedy", initial_value=0.25)
    agent.absorb(agent.summarise(shown(items([0, 0, 1]), [1.0, 0.0, 2.0])))
    assert weights(agent, observe(items([0, 1, 2, -1]))) == [0.5, 2.0, 0.25, 0.25]


def test_ucb1_tries_every_arm_first(make_bandit, items, observe) -> None:
    agent = make_bandit("ucb1")
    agent.absorb(agent.summarise(shown(items([0, 1, 1, 1, 1]), [0.9, 0.1, 0.1, 0.1, 0.1])))
    assert int(stated(agent, observe(items([0, 1, 2]))).mode()) == 2
    found = weights(agent, observe(items([0, 1])))
    # 0.9 + sqrt(2 ln 5) and 0.1 + sqrt(2 ln 5 / 4).
    assert found == pytest.approx([2.6941, 0.9971], abs=1e-4)


def test_forgetting_finds_the_arm_that_has_become_good(make_bandit, items, observe) -> None:
    def choice(name: str, **settings) -> int:
        agent = make_bandit(name, confidence=0.1, **settings)
        for good in (0, 1):
            rewards = [float(arm == good) for arm in (0, 1)]
            for _ in range(30 if good == 0 else 20):
                agent.absorb(agent.summarise(shown(items([0, 1]), rewards)))
        return int(stated(agent, observe(items([0, 1]))).mode())

    assert choice("ucb1") == 0
    assert choice("discounted_ucb", discount=0.9) == 1
    assert choice("sliding_window_ucb", window=10) == 1


def test_beta_posterior(make_bandit, items, observe) -> None:
    agent = make_bandit("thompson_beta", draws=40_000, prior_successes=2.0)
    agent.absorb(agent.summarise(shown(items([0, 0, 0]), [1.0, 1.0, 0.0])))
    # Beta(2 + 2, 1 + 1): mean 4 / 6, variance 4 * 2 / (6^2 * 7).
    assert float(agent.score[0]) == pytest.approx(2 / 3)
    assert float(agent.draws[0].mean()) == pytest.approx(2 / 3, abs=5e-3)
    assert float(agent.draws[0].var()) == pytest.approx(8 / 252, rel=0.03)
    assert agent.score[3] == pytest.approx(2 / 3)  # of an unknown arm: the prior's


def test_normal_posterior(make_bandit, items) -> None:
    agent = make_bandit(
        "thompson_gaussian", draws=40_000, prior_mean=1.0, prior_stddev=2.0, noise_stddev=0.5
    )
    agent.absorb(agent.summarise(shown(items([1, 1]), [3.0, 4.0])))
    # Precision 1 / 4 + 2 * 4 = 8.25; mean (1 / 4 + 4 * 7) / 8.25 = 3.4242.
    assert float(agent.score[1]) == pytest.approx(3.4242, abs=1e-4)
    assert float(agent.draws[1].mean()) == pytest.approx(3.4242, abs=6e-3)
    assert float(agent.draws[1].var()) == pytest.approx(1 / 8.25, rel=0.03)


def test_linucb_by_hand(make_bandit, items, observe) -> None:
    agent = make_bandit("linucb", context=("price",), alpha=2.0)
    cheap, dear = items([0], price=1.0), items([0], price=2.0)
    agent.absorb(agent.summarise(shown(torch.cat([cheap, dear]), [1.0, 5.0])))
    # A = 1 + 1 + 4 = 6, b = 1 + 10 = 11: 11 / 6 * x + 2 * x / sqrt(6).
    found = weights(agent, observe(torch.cat([cheap, dear])))
    assert found == pytest.approx([2.6498, 5.2997], abs=1e-4)


def test_a_model_for_each_arm(make_bandit, items, observe) -> None:
    agent = make_bandit("linucb", models="per_arm", context=("hour",), alpha=1.0)
    agent.absorb(agent.summarise(shown(items([0, 1]), [2.0, -2.0], user=(0.0, 0.0, 3.0))))
    found = weights(agent, observe(items([0, 1, 2, -1]), user=(0.0, 0.0, 1.0)))
    # Seen: A = 1 + 9 = 10, b = 6 or -6, so +-0.6 + 1 / sqrt(10); never or unknown: 0 + 1.
    assert found == pytest.approx([0.9162, -0.2838, 1.0, 1.0], abs=1e-4)


def test_squarecb_gets_greedier_with_what_it_has_seen(make_bandit, items, observe) -> None:
    agent = make_bandit("squarecb", context=("topic",), gamma_scale=2.0)

    def probability() -> float:
        return float(stated(agent, observe(items([0, 1]))).marginals()[0, 0, 1])

    rows = shown(items([0, 1]), [1.0, 0.0])
    agent.absorb(agent.summarise(rows))
    # Estimates 1 / 2 and 0 after 2 rows: 1 / (2 + 2 * sqrt(2) * 0.5).
    assert probability() == pytest.approx(1 / (2 + 2**0.5), abs=1e-5)
    for _ in range(50):
        agent.absorb(agent.summarise(rows))
    assert probability() < 0.06


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_without_a_floor_bounds_give_one_slate(make_bandit, items, observe, name) -> None:
    observation = observe(items([0, 1, 2]))
    agent, floor = make_bandit(name, slots=2), make_bandit(name, slots=2, epsilon=0.3)
    assert float(stated(agent, observation, 2).entropy()) == 0.0
    assert float(stated(floor, observation, 2).marginals().min()) >= 0.05


NEURAL_THOMPSON = {"explore_by": "thompson", "temperature": 1.0, "hidden": (8,)}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        *((name, {}) for name in (*THOMPSON, "squarecb", "epsilon_greedy")),
        ("neural_linear", NEURAL_THOMPSON),
        # Deterministic, but for a floor.
        *((name, {}) for name in DETERMINISTIC),
    ],
)
def test_stated_probabilities_are_the_frequencies(
    make_bandit, items, observe, name, settings
) -> None:
    agent = make_bandit(name, slots=2, epsilon=0.1, **settings)
    rows = shown(items([0, 0, 1, 1, 2, 2]), [1.0, 0.0, 1.0, 1.0, 0.0, 0.0])
    agent.absorb(agent.summarise(rows))
    # Users and prices differ, so that the probabilities do where there is a context.
    count, generator = 100_000, torch.Generator().manual_seed(0)
    observation = observe(items([0, 1, 2, -1]), eligible=[True, True, True, False])
    many = observation.map(lambda field: field.expand(count, *field.shape[1:]).clone())
    many.user.uniform_(-1, 1, generator=generator)
    many.candidates[:, :, 3].uniform_(-1, 1, generator=generator)
    distribution = stated(agent, many, 2)
    slates, slot_log_probs = distribution.sample(torch.Generator().manual_seed(1))
    # Ordered pairs of three eligible items, each shown some time.
    pairs = tensor([(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)])
    total = 0.0
    for pair in pairs:
        claimed = distribution.log_prob(pair.expand(count, 2)).double().exp()
        mean = claimed.mean().item()
        error = (claimed * (1 - claimed)).mean().div(count).sqrt().item()
        frequency = (slates == pair).all(1).double().mean().item()
        assert 0 < frequency and abs(frequency - mean) < 5 * error
        total += mean
    assert total == pytest.approx(1.0, abs=1e-5)
    # Every draw says the same of itself as the distribution says of all.
    assert torch.allclose(distribution.log_prob(slates), slot_log_probs.sum(1), atol=1e-5)


def test_asked_for_its_best_a_policy_goes_by_estimates(
    make_bandit, items, observe, tmp_path
) -> None:
    agent = make_bandit("ucb1")
    agent.absorb(agent.summarise(shown(items([0, 1, 1, 1, 1]), [0.9, 0.1, 0.1, 0.1, 0.1])))
    Policy(agent).save(tmp_path)
    policy, observation = Policy.load(tmp_path), observe(items([1, 2, 0, -1]))
    # Learning goes on with the arm that was never tried; the best known one is the first.
    assert policy.recommend(observation).slates.tolist() == [[1]]
    best = policy.recommend(observation, explore=False)
    assert best.slates.tolist() == [[2]]
    # What was never seen has the mean of all: (0.9 + 4 * 0.1) / 5.
    assert best.scores[0].tolist() == pytest.approx([0.1, 0.26, 0.9, 0.26])


@pytest.mark.parametrize(
    ("name", "settings"), [*((name, {}) for name in BANDITS), ("neural_linear", NEURAL_THOMPSON)]
)
def test_every_bandit_asked_for_its_best_goes_by_estimates(
    make_bandit, items, observe, name, settings
) -> None:
    agent = make_bandit(name, slots=2, **{**settings, "epsilon": 0.3})
    rows = shown(items([0, 0, 1, 1, 2] * 20), [0.2, 0.4, 0.9, 1.0, 0.0] * 20)
    agent.absorb(agent.summarise(rows))
    observation = observe(items([0, 2, 1, 1]), eligible=[True, True, False, True])
    best = Policy(agent).recommend(observation, explore=False)
    assert best.slates.tolist() == [[3, 0]]
    assert torch.equal(best.scores, agent.expected(observation))
    assert float(best.log_prob) == 0.0


def test_estimates_of_linucb_by_hand(make_bandit, items, observe) -> None:
    agent = make_bandit("linucb", context=("price",), alpha=2.0)
    both = torch.cat([items([0], price=1.0), items([0], price=2.0)])
    agent.absorb(agent.summarise(shown(both, [1.0, 5.0])))
    # 11 / 6 * x, as above without the width.
    assert agent.expected(observe(both))[0].tolist() == pytest.approx([1.8333, 3.6667], abs=1e-4)


@pytest.mark.parametrize(
    ("name", "settings"), [("sliding_window_ucb", {}), ("linucb", {}), ("lints", {"draws": 3})]
)
def test_a_policy_is_no_larger_for_its_window(make_bandit, items, tmp_path, name, settings) -> None:
    def exported(window: int) -> tuple[int, set[str]]:
        agent = make_bandit(name, window=window, **settings)
        for _ in range(3):
            agent.absorb(agent.summarise(shown(items([0, 1]), [1.0, 0.0])))
        Policy(agent).save(tmp_path / str(window))
        weights = tmp_path / str(window) / "policy.safetensors"
        return weights.stat().st_size, set(load_file(weights))

    assert exported(2) == exported(300)
    assert not [key for key in exported(2)[1] if "recent" in key]


@pytest.mark.parametrize("name", ["sliding_window_ucb", "linucb"])
@pytest.mark.parametrize("rounds", [2, 3, 7])
def test_a_window_continues_with_the_same_numbers(make_bandit, items, name, rounds) -> None:
    parts = [shown(items([0, 1]), [float(n), 0.5 + n]) for n in range(rounds + 4)]
    agent, other = make_bandit(name, window=3), make_bandit(name, window=3, seed=1)
    for part in parts[:rounds]:
        agent.absorb(agent.summarise(part))
    state = agent.learning_state()
    # The rounds that there are, at most as many as the window.
    assert {len(value) for value in state["window"].values()} == {min(rounds, 3)}
    other.load_state_dict(agent.state_dict())
    other.set_learning_state(state)
    for part in parts[rounds:]:
        for each in (agent, other):
            each.absorb(each.summarise(part))
    for key, value in agent.state_dict().items():
        assert torch.equal(other.state_dict()[key], value), key


def test_a_window_without_its_rounds_is_not_continued(make_bandit, items) -> None:
    agent = make_bandit("sliding_window_ucb", window=3)
    agent.absorb(agent.summarise(shown(items([0]), [1.0])))
    with pytest.raises(ValueError, match="lacks the rounds of its window"):
        agent.set_learning_state({"late": []})


@pytest.mark.parametrize("name", BANDITS)
def test_a_saved_policy_states_the_same_distribution(make_bandit, items, observe, tmp_path, name):
    agent = make_bandit(name, slots=2)
    agent.absorb(agent.summarise(shown(items([0, 1, 2]), [1.0, 0.5, 0.0])))
    settings = agent.options
    Policy(agent, exploration=Exploration(settings.epsilon, settings.temperature)).save(tmp_path)
    loaded = Policy.load(tmp_path)
    observation = observe(items([2, 1, 0]), user=(0.1, 0.2, 0.3))
    expected = stated(agent, observation, 2)
    assert torch.equal(loaded.distribution(observation).marginals(), expected.marginals())
    assert loaded.agent.version == 1


@pytest.mark.parametrize("name", BANDITS)
def test_new_items_work_at_once_and_ineligible_ones_are_never_shown(
    make_bandit, items, observe, name
) -> None:
    agent = make_bandit(name, slots=2, epsilon=0.5)
    agent.absorb(agent.summarise(shown(items([0, 1]), [1.0, 0.0])))
    new = torch.cat([items([0, 1, -1], price=3.0), items([2, 2], price=1.0, author=3)])
    distribution = stated(agent, observe(new, eligible=[True, False, True, True, True]), 2)
    shares = distribution.inclusion()[0]
    assert float(shares[1]) == 0.0
    assert float(shares[[0, 2, 3, 4]].min()) > 0.1
    assert bool(distribution.log_weights.isfinite().all())


@pytest.mark.parametrize("name", BANDITS)
def test_feedback_that_is_not_finite_is_refused_and_the_model_stays(
    make_bandit, items, name
) -> None:
    agent = make_bandit(name)
    agent.absorb(agent.summarise(shown(items([0, 1]), [1.0, 0.0])))
    before = {key: value.clone() for key, value in agent.state_dict().items()}
    with pytest.raises(ValueError, match="feedback is nan in row 1 of 2; it must be finite"):
        agent.summarise(shown(items([0, 1]), [1.0, float("nan")]))
    assert all(torch.equal(value, before[key]) for key, value in agent.state_dict().items())


@pytest.mark.parametrize("name", [name for name in BANDITS if name != "neural_linear"])
def test_late_feedback_gives_the_model_that_timely_feedback_gives(make_bandit, items, name) -> None:
    # Rows keep the features of their impression, so that it does not matter when they come.
    generator = torch.Generator().manual_seed(0)
    topics = torch.randint(0, 3, (60,), generator=generator).tolist()
    offered, feedback = items(topics, price=0.5), torch.rand(60, generator=generator)
    users = torch.rand(60, 3, generator=generator)
    rows = Shown(users, offered, torch.zeros(60, 0), feedback)

    def model(late: list[bool]):
        agent = make_bandit(name, discount=1.0, **({"window": 99} if "window" in name else {}))
        now = ~tensor(late)
        for chosen in (now, ~now):
            agent.absorb(agent.summarise(Shown(*(field[chosen] for field in rows))))
        return agent

    half = model([index % 2 == 1 for index in range(60)])
    same_model(half, model([index % 3 == 0 for index in range(60)]))


def test_delayed_rounds_arrive_in_order_and_survive_a_checkpoint(make_bandit, items) -> None:
    rounds = [shown(items([0, 1]), [float(number), 0.5]) for number in range(5)]
    timely, late = make_bandit("linucb"), make_bandit("linucb", feedback_delay=2)
    for rows in rounds[:3]:
        timely.absorb(timely.summarise(rows))
    for rows in rounds[:4]:
        late.absorb(late.summarise(rows))
    restored = make_bandit("linucb", feedback_delay=2)
    restored.load_state_dict(late.state_dict())
    restored.set_learning_state(late.learning_state())
    assert int(restored.version) == 2
    restored.absorb(restored.summarise(rounds[4]))
    same_model(restored, timely)


def test_thompson_draws_are_of_this_version_of_this_run(make_bandit, items) -> None:
    def draws(seed: int, rounds: int) -> torch.Tensor:
        agent = make_bandit("lints", seed=seed)
        for _ in range(rounds):
            agent.absorb(agent.summarise(shown(items([0]), [0.0])))
        return agent.ridge.draws.clone()

    assert torch.equal(draws(0, 2), draws(0, 2))
    assert not torch.equal(draws(0, 2), draws(1, 2))
    assert not torch.equal(draws(0, 2), draws(0, 3))


def collect(agent, name: str, slots: int, users: int = 4, steps: int = 3, **world):
    simulator = make_simulator(name, users, seed=1, slate_size=slots, **world)
    return Collector(simulator, agent, seed=0).collect(steps, Exploration(epsilon=1.0))[0]


def agent_for(name: str, world: str, slots: int, **settings):
    simulator = make_simulator(world, 1, slate_size=slots)
    entry = BANDITS[name]
    plain = entry.settings(**settings).model_dump()
    return entry.agent(simulator.spec, simulator.history, slots, plain)


@pytest.mark.parametrize("feedback", ["click", "reward"])
def test_feedback_of_slates_is_the_click_or_the_reward_of_the_clicked_item(feedback) -> None:
    agent = agent_for("linucb", "interest_evolution", 3, feedback=feedback)
    fragment = collect(agent, "interest_evolution", 3)
    rows = agent.shown(fragment)
    click = fragment.answered(agent.spec.response_slice("click"))[..., 0]
    reward = fragment.happened("reward")
    assert 0 < int(click.sum()) < 12
    worth = click if feedback == "click" else click * reward[..., None]
    assert torch.equal(rows.feedback, worth.flatten())
    # Row 4: step 0, user 1, slot 1.
    step = fragment.steps[0]
    assert torch.equal(rows.item[4], step.observation.candidates[1, step.slates[1, 1]])
    assert torch.equal(rows.user[4], step.observation.user[1])
    assert torch.equal(rows.history[4], step.observation.history[1])


def test_feedback_of_single_items_is_the_reward() -> None:
    agent = agent_for("linucb", "modified_long_term_satisfaction", 1)
    fragment = collect(agent, "modified_long_term_satisfaction", 1)
    fragment.steps[0].transition.response[..., agent.spec.response_slice("click")] = 0.0
    assert torch.equal(agent.shown(fragment).feedback, fragment.happened("reward").flatten())


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("epsilon_greedy", {"initial_value": 5.0}),
        ("epsilon_greedy", {"arm_feature": "author"}),
        ("epsilon_greedy", {"feedback_delay": 1}),
        ("ucb1", {"confidence": 0.1}),
        ("discounted_ucb", {"discount": 0.5}),
        ("sliding_window_ucb", {"window": 1}),
        ("thompson_beta", {"prior_successes": 9.0}),
        ("thompson_beta", {"prior_failures": 9.0}),
        ("thompson_beta", {"draws": 7}),
        ("thompson_gaussian", {"prior_mean": 9.0}),
        ("thompson_gaussian", {"prior_stddev": 0.01}),
        ("thompson_gaussian", {"noise_stddev": 0.01}),
        ("linucb", {"alpha": 0.1}),
        ("linucb", {"ridge": 9.0}),
        ("linucb", {"models": "per_arm"}),
        ("linucb", {"context": ("price",)}),
        ("linucb", {"discount": 0.5}),
        ("linucb", {"window": 1}),
        ("lints", {"spread": 2.0}),
        ("lints", {"draws": 7}),
        ("squarecb", {"gamma_scale": 0.1}),
        ("squarecb", {"gamma_exponent": 0.0}),
    ],
)
def test_every_option_changes_what_is_shown(make_bandit, items, observe, name, settings) -> None:
    def found(**own) -> list[float]:
        agent = make_bandit(name, **own)
        for feedback in ([1.0, 0.0, 0.5], [0.5, 0.2, 0.0]):
            rows = shown(items([0, 1, 2], price=0.5, author=2), feedback, user=(0.3, 0.1, 1.0))
            agent.absorb(agent.summarise(rows))
        return weights(agent, observe(items([0, 1, 2, -1], price=0.7), user=(0.3, 0.4, 0.5)))

    assert not np.allclose(found(), found(**settings), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("ucb1", {"window": 5, "discount": 0.9}, "forget by one of them"),
        ("lints", {"temperature": 0.0}, "greater than 0"),
        ("ucb1", {"temperature": 1.0}, "temperature is 0"),
        ("lints", {"epsilon": 0.0}, "greater than 0"),
        ("lints", {"epsilon": math.nan}, "finite number"),
        ("ucb1", {"confidence": math.inf}, "finite number"),
        ("neural_linear", {"explore_by": "thompson"}, "set temperature to 1"),
        ("neural_linear", {"explore_by": "thompson", "temperature": 1.0}, "set epsilon to 0.001"),
        ("neural_linear", {"window": 5}, "forgets by its buffer"),
    ],
)
def test_impossible_settings_are_refused(name, settings, says) -> None:
    with pytest.raises(ValueError, match=says):
        BANDITS[name].settings(**settings)


def test_impossible_models_and_feedback_are_refused(make_bandit, items) -> None:
    with pytest.raises(ValueError, match="with a model for each arm only the user is context"):
        make_bandit("linucb", models="per_arm", context=("price",))
    agent = make_bandit("thompson_beta")
    with pytest.raises(ValueError, match=r"feedback is 1\.5, but thompson_beta takes feedback"):
        agent.summarise(shown(items([0]), [1.5]))
