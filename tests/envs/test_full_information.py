"""Interest evolution with what is hidden observed: the same world, seen better."""

import pytest
import torch

from envs import make_simulator
from envs.simulator import Simulator
from envs.spaces import observation_space, to_numpy


def make(full: bool, noise: str = "addressed") -> Simulator:
    return make_simulator(
        "interest_evolution", 16, seed=3, noise=noise, time_budget=30.0, full_information=full
    )


def test_users_and_luck_are_the_same() -> None:
    plain, full = make(False), make(True)
    observations = [plain.reset(), full.reset()]
    slates = torch.tensor([[4, 0, 7]]).expand(16, 3)
    for _ in range(25):
        first, second = (simulator.step(slates) for simulator in (plain, full))
        assert torch.equal(first.response, second.response)
        assert torch.equal(first.reward, second.reward)
        assert torch.equal(first.terminated, second.terminated)
        observations = [first.observation, second.observation]
        assert torch.equal(observations[0].user, observations[1].user[:, :20])
        assert torch.equal(observations[0].candidates, observations[1].candidates[..., :20])


@pytest.mark.parametrize("noise", ["addressed", "stream"])
def test_quality_is_observed_before_it_is_shown(noise: str) -> None:
    full = make(True, noise)
    observation = full.reset()
    quality = observation.candidates[..., full.spec.candidate_slice("quality")].squeeze(-1)
    slates = torch.tensor([[4, 0, 7]]).expand(16, 3)
    shown = full.step(slates).response[..., full.spec.response_slice("quality")].squeeze(-1)
    assert torch.equal(shown, quality.gather(1, slates))


def test_the_budget_is_observed() -> None:
    full = make(True)
    observation = full.reset()
    budget = observation.user[:, full.spec.user_slice("budget")].squeeze(1)
    assert budget.tolist() == [30.0] * 16
    slates = torch.tensor([[4, 0, 7]]).expand(16, 3)
    transition = full.step(slates)
    left = transition.observation.user[:, full.spec.user_slice("budget")].squeeze(1)
    click = transition.response[..., full.spec.response_slice("click")].squeeze(-1)
    quality = transition.response[..., full.spec.response_slice("quality")].squeeze(-1)
    # No click costs 0.5; a click 4 minutes, of which 0.9 / 3.4 times the quality comes back.
    cost = torch.where(click.sum(1) > 0, 4 - 4 * 0.9 / 3.4 * (click * quality).sum(1), 0.5)
    torch.testing.assert_close(left, 30 - cost)


def test_observations_lie_inside_the_declared_ranges() -> None:
    full = make(True)
    observation, space = full.reset(), observation_space(full)
    slates = torch.tensor([[4, 0, 7]]).expand(16, 3)
    for _ in range(25):
        rows = to_numpy(observation)
        assert space.contains({name: value[0] for name, value in rows.items()})
        observation = full.step(slates).observation


def test_googles_code_does_not_show_it() -> None:
    with pytest.raises(ValueError, match="use the torch backend"):
        make_simulator("interest_evolution", 1, backend="google", full_information=True)
