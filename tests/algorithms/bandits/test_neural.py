"""NeuralLinear: the network, its ids, and statistics that follow the representation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import tensor

from algorithms.bandits.agent import Shown
from algorithms.bandits.neural import Representation
from tests.algorithms.bandits.test_bandits import shown, weights

SMALL = {"hidden": (8,), "train_every": 3, "gradient_steps": 4, "minibatch_size": 16}


def rows(items, seed: int = 0, count: int = 12) -> Shown:
    generator = torch.Generator().manual_seed(seed)
    topics = torch.randint(0, 3, (count,), generator=generator).tolist()
    offered = items(topics)
    offered[:, 4] = torch.randint(0, 5, (count,), generator=generator).float()
    users = torch.rand(count, 3, generator=generator)
    return Shown(users, offered, torch.zeros(count, 0), torch.rand(count, generator=generator))


def rebuilt(agent, seen: list[Shown]) -> dict[str, torch.Tensor]:
    """Statistics of rows under the present representation."""
    parts = [agent.summarise(part) for part in seen]
    columns = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    x = agent.network(columns["context"], columns["ids"]).detach()
    return agent.ridge.sums(x, columns["feedback"], columns["arm"])


def test_ids_differ_from_unknown_ones_by_what_is_learned_of_them() -> None:
    torch.manual_seed(0)
    network = Representation(1, [4], embedding_size=2, hidden=(3,))
    ids = tensor([[-1.0], [4.0], [99.0], [0.0], [3.0]])
    features = network(torch.ones(5, 1), ids)
    assert features.shape == (5, 4)
    assert features[:, 3].tolist() == [1.0] * 5  # the constant
    assert all(torch.equal(row, features[0]) for row in features)
    # Row 0 is shared, the others are of the ids 0 to 3.
    own = [[1.0, 1.0], [5.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 2.0]]
    network.embeddings[0].weight.data.copy_(tensor(own))
    features = network(torch.ones(5, 1), ids)
    # -1 and ids beyond the table are unknown, all alike; known ones differ.
    assert torch.equal(features[0], features[1]) and torch.equal(features[0], features[2])
    assert not torch.allclose(features[0], features[3])
    assert not torch.allclose(features[3], features[4])
    alike = network(torch.ones(2, 1), tensor([[1.0], [2.0]]))  # known, but nothing was learned
    assert torch.equal(alike[0], features[0]) and torch.equal(alike[1], features[0])


def test_an_id_that_was_never_shown_is_as_an_unknown_one(make_bandit, items, observe) -> None:
    # Authors 0 and 1 and unknown ones are shown, 2, 3 and 4 never.
    offered = torch.cat([items([0], author=number % 3 - 1) for number in range(60)])
    feedback = [float(number % 3) for number in range(60)]
    choice = observe(torch.cat([items([0], author=author) for author in (-1, 2, 3, 4, 0, 1)]))
    agent = make_bandit("neural_linear", **{**SMALL, "weight_decay": 0.1})
    for _ in range(4):  # fresh, before the network is trained, and after
        for scores in (weights(agent, choice), agent.expected(choice)[0].tolist()):
            unknown, *never, first, second = scores
            assert never == [unknown] * 3
        agent.absorb(agent.summarise(shown(offered, feedback)))
    assert abs(first - unknown) > 1e-3 and abs(second - unknown) > 1e-3


@pytest.mark.parametrize("models", ["shared", "per_arm"])
def test_statistics_are_rebuilt_when_the_representation_changes(make_bandit, items, models) -> None:
    agent = make_bandit("neural_linear", models=models, **SMALL)
    seen = [rows(items, seed) for seed in range(4)]
    for part in seen[:2]:
        agent.absorb(agent.summarise(part))
    before = agent.network.body[0].weight.clone()
    old = rebuilt(agent, seen[:3])
    agent.absorb(agent.summarise(seen[2]))  # the third round trains
    assert not torch.equal(agent.network.body[0].weight, before)
    expected = rebuilt(agent, seen[:3])
    for name in ("gram", "moment", "count"):
        torch.testing.assert_close(agent.ridge.statistics[name], expected[name])
    assert not torch.allclose(agent.ridge.statistics["gram"], old["gram"], atol=1e-3)
    agent.absorb(agent.summarise(seen[3]))  # the fourth is added to them
    torch.testing.assert_close(agent.ridge.statistics["gram"], rebuilt(agent, seen)["gram"])


def test_the_buffer_bounds_what_is_remembered(make_bandit, items) -> None:
    agent = make_bandit("neural_linear", buffer=20, **SMALL)
    seen = [rows(items, seed) for seed in range(3)]
    for part in seen:
        agent.absorb(agent.summarise(part))
    assert float(agent.ridge.statistics["count"].sum()) == 20.0


def test_training_makes_the_last_layer_predict(make_bandit, items) -> None:
    # Feedback that no linear model of these columns can tell: an exclusive or.
    generator = torch.Generator().manual_seed(0)
    users = torch.randint(0, 2, (400, 3), generator=generator).float()
    feedback = (users[:, 0] != users[:, 1]).float()
    part = Shown(users, items([0] * 400), torch.zeros(400, 0), feedback)

    @torch.no_grad()
    def error(**settings) -> float:
        agent = make_bandit("neural_linear", context=("user",), ridge=1e-3, **settings)
        agent.absorb(agent.summarise(part))
        x = agent.features(part.user, part.item[:, None], part.history)
        return float((agent.ridge.mean(x, None)[:, 0] - feedback).square().mean())

    linear = make_bandit("linucb", context=("one", "user"), ridge=1e-3)
    linear.absorb(linear.summarise(part))
    x = linear.features(part.user, part.item[:, None], part.history)
    assert float((linear.ridge.mean(x, None)[:, 0] - feedback).square().mean()) > 0.2
    assert error(hidden=(16,), train_every=1, gradient_steps=200) < 0.01


def test_embeddings_are_learned(make_bandit, items, observe) -> None:
    agent = make_bandit("neural_linear", context=("one",), **{**SMALL, "gradient_steps": 100})
    offered = torch.cat([items([0], author=number % 2) for number in range(40)])
    feedback = [float(number % 2) for number in range(40)]
    for _ in range(6):
        agent.absorb(agent.summarise(shown(offered, feedback)))
    choice = torch.cat([items([0], author=author) for author in (0, 1, -1)])
    found = weights(agent, observe(choice))
    assert found[1] > found[0] + 0.5
    assert np.isfinite(found[2])


def test_late_rounds_train_as_timely_ones_do(make_bandit, items) -> None:
    seen = [rows(items, seed) for seed in range(9)]
    timely = make_bandit("neural_linear", **SMALL)
    late = make_bandit("neural_linear", feedback_delay=2, **SMALL)
    for part in seen[:7]:
        timely.absorb(timely.summarise(part))
    for part in seen[:5]:
        late.absorb(late.summarise(part))
    # Three of five rounds have arrived, the others wait; the network was trained once.
    assert int(late.version) == 3
    restored = make_bandit("neural_linear", seed=1, feedback_delay=2, **SMALL)
    restored.load_state_dict(late.state_dict())
    restored.set_learning_state(late.learning_state())
    for part in seen[5:]:
        restored.absorb(restored.summarise(part))
    assert int(restored.version) == 7
    for name, value in timely.state_dict().items():
        assert torch.equal(restored.state_dict()[name], value), name


def test_rows_that_come_late_count_under_the_representation_of_now(make_bandit, items) -> None:
    whole = rows(items, count=60)
    late = torch.arange(60) % 3 == 0
    now, later = (Shown(*(field[chosen] for field in whole)) for chosen in (~late, late))
    agent = make_bandit("neural_linear", **SMALL)
    # Shown before the network was trained (by the third round), told of after.
    columns = agent.summarise(later)
    old = rebuilt(agent, [later])["gram"]
    for _ in range(3):
        agent.absorb(agent.summarise(now))
    before = agent.ridge.statistics["gram"].clone()
    agent.absorb(columns)
    added = agent.ridge.statistics["gram"] - before
    torch.testing.assert_close(added, rebuilt(agent, [later])["gram"])
    assert not torch.allclose(added, old, atol=1e-3)


def test_learning_continues_from_its_state_with_the_same_numbers(make_bandit, items) -> None:
    agent = make_bandit("neural_linear", **SMALL)
    for seed in range(4):
        agent.absorb(agent.summarise(rows(items, seed)))
    other = make_bandit("neural_linear", seed=1, **SMALL)
    other.load_state_dict(agent.state_dict())
    other.set_learning_state(agent.learning_state())
    for seed in range(4, 8):
        for each in (agent, other):
            each.absorb(each.summarise(rows(items, seed)))
    for name, value in agent.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name


@pytest.mark.parametrize(
    "settings",
    [
        {"alpha": 0.1},
        {"explore_by": "thompson", "temperature": 1.0, "epsilon": 0.01},
        {"explore_by": "thompson", "temperature": 1.0, "epsilon": 0.01, "spread": 3.0},
        {"explore_by": "thompson", "temperature": 1.0, "epsilon": 0.01, "draws": 7},
        {"hidden": (4,)},
        {"embedding_size": 3},
        {"buffer": 10},
        {"train_every": 2},
        {"gradient_steps": 1},
        {"minibatch_size": 2},
        {"lr": 0.1},
        {"weight_decay": 0.9},
        {"ridge": 9.0},
    ],
)
def test_every_option_changes_what_is_shown(make_bandit, items, observe, settings) -> None:
    sampled = {"explore_by": "thompson", "temperature": 1.0, "epsilon": 0.01}
    base = sampled if len(settings) > len(sampled) else {}

    def found(**own) -> list[float]:
        agent = make_bandit("neural_linear", **{**SMALL, **base, **own})
        for seed in range(5):
            agent.absorb(agent.summarise(rows(items, seed)))
        return weights(agent, observe(items([0, 1, 2, -1], author=2), user=(0.3, 0.4, 0.5)))

    assert not np.allclose(found(), found(**settings), atol=1e-4)
