from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.random import RandomState

from envs import make_simulator
from envs.recsim import GoogleSimulator, google_world_names, make_google_simulator, streams
from envs.simulator import Observation, Simulator, Transition

WORLDS = [
    "interest_evolution",
    "interest_exploration",
    "long_term_satisfaction",
    "modified_long_term_satisfaction",
]


def slates(simulator: Simulator, step: int) -> torch.Tensor:
    first = torch.arange(simulator.slate_size) + step
    return (first % simulator.num_candidates).expand(simulator.num_users, -1)


def play(simulator: GoogleSimulator, steps: int, start: int = 0) -> list[Transition]:
    return [simulator.step(slates(simulator, start + t)) for t in range(steps)]


def fields(transition: Transition) -> list[torch.Tensor]:
    flat: list[torch.Tensor] = []
    for value in transition:
        flat.extend(value if isinstance(value, Observation) else [value])
    return flat


def same(one: list[Transition], other: list[Transition]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(
        torch.equal(a, b) for x, y in pairs for a, b in zip(fields(x), fields(y), strict=True)
    )


def test_every_google_world_is_found() -> None:
    assert google_world_names() == WORLDS


def test_worlds_that_google_lacks_are_named() -> None:
    with pytest.raises(ValueError, match="did you mean 'interest_evolution'"):
        make_google_simulator("interest_evolutoin", 1)


@pytest.mark.parametrize("name", WORLDS)
def test_spec_and_history_equal_those_of_the_torch_world(name: str) -> None:
    google, ours = make_simulator(name, 2, backend="google"), make_simulator(name, 2)
    assert google.spec == ours.spec
    assert google.history == ours.history
    assert (google.num_candidates, google.slate_size) == (ours.num_candidates, ours.slate_size)
    assert google.time_limit == ours.time_limit
    assert google.reward_name == ours.reward_name


@pytest.mark.parametrize("name", WORLDS)
def test_observations_keep_their_contract(name: str) -> None:
    simulator = make_google_simulator(name, 3, seed=2)
    spec, size = simulator.spec, simulator.slate_size
    first = simulator.reset()
    assert first.has_response.tolist() == [[0.0]] * 3
    assert not first.response.any() and not first.history.any()
    for transition in play(simulator, 70):
        observation = transition.observation
        assert observation.user.shape == (3, spec.user_size)
        assert observation.candidates.shape == (3, simulator.num_candidates, spec.candidate_size)
        assert observation.response.shape == (3, size, spec.response_size)
        assert observation.mask.all() and observation.mask.dtype == torch.bool
        assert observation.history.shape == (3, simulator.history.size)
        for field, group in (
            (observation.user, spec.user),
            (observation.candidates, spec.candidate),
            (observation.response, spec.response),
        ):
            assert field.dtype == torch.float32 and field.isfinite().all()
            low = torch.tensor([f.low for f in group for _ in range(f.size)])
            high = torch.tensor([f.high for f in group for _ in range(f.size)])
            assert (field >= low).all() and (field <= high).all()
        assert transition.reward.dtype == torch.float32


@pytest.mark.parametrize("name", WORLDS)
def test_sessions_depend_on_neither_batch_size_nor_row(name: str) -> None:
    batch = make_google_simulator(name, 3, seed=5)
    batch.reset(torch.tensor([4, 0, 9]))
    alone = make_google_simulator(name, 1, seed=5)
    alone.reset(torch.tensor([9]))
    for a, b in zip(play(batch, 9), play(alone, 9), strict=True):
        assert torch.equal(a.observation.candidates[2], b.observation.candidates[0])
        assert torch.equal(a.observation.user[2], b.observation.user[0])
        assert torch.equal(a.response[2], b.response[0])
        assert a.reward[2] == b.reward[0]


@pytest.mark.parametrize("name", WORLDS)
def test_state_survives_a_round_trip(name: str) -> None:
    simulator = make_google_simulator(name, 2, seed=3)
    simulator.reset()
    play(simulator, 7)
    state = simulator.get_state()
    expected = play(simulator, 40, start=7)
    other = make_google_simulator(name, 2, seed=3)
    other.set_state(state)
    assert torch.equal(other.observe().history, state["history"])
    assert same(play(other, 40, start=7), expected)


@pytest.mark.parametrize("name", WORLDS)
def test_another_seed_gives_other_users_and_luck(name: str) -> None:
    drawn = []
    for seed in (0, 0, 1):
        simulator = make_google_simulator(name, 2, seed=seed)
        simulator.reset()
        drawn.append([t.response.flatten().tolist() for t in play(simulator, 10)])
    assert drawn[0] == drawn[1] != drawn[2]


def test_workers_share_no_stream() -> None:
    seeds = [int(s.generate_state(1)[0]) for s in np.random.SeedSequence(0).spawn(2)]
    first = {
        RandomState(stream).randint(2**62)
        for seed in seeds
        for user in range(50)
        for stream in streams(seed, user)
    }
    assert len(first) == 2 * 50 * 3


def test_negative_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match="seed is -1; Google's simulator takes seeds from 0 up"):
        streams(-1, 0)


@pytest.mark.parametrize("name", WORLDS)
def test_numpys_global_generator_is_neither_read_nor_disturbed(name: str) -> None:
    def numbers(play_between: bool, seed: int) -> tuple[list[float], Any]:
        np.random.seed(seed)
        drawn = [np.random.normal()]  # leaves half a Gaussian pair behind
        rewards = None
        if play_between:
            simulator = make_google_simulator(name, 2, seed=1)
            simulator.reset()
            rewards = [t.reward.tolist() for t in play(simulator, 12)]
        return [*drawn, np.random.normal(), np.random.normal(), np.random.rand()], rewards

    with_play, rewards = numbers(True, 11)
    assert with_play == numbers(False, 11)[0]
    assert rewards == numbers(True, 12)[1]


def test_an_unused_half_of_a_gaussian_pair_is_kept_and_a_missing_one_not_made_up() -> None:
    for drawn in (1, 2):  # after one draw the second of the pair waits, after two none does
        np.random.seed(5)
        for _ in range(drawn):
            np.random.normal()
        before = np.random.get_state(legacy=False)
        make_google_simulator("long_term_satisfaction", 2).reset()
        after = np.random.get_state(legacy=False)
        assert before["has_gauss"] == after["has_gauss"] == 2 - drawn
        assert before["gauss"] == after["gauss"]
        assert np.array_equal(before["state"]["key"], after["state"]["key"])
        assert before["state"]["pos"] == after["state"]["pos"]


def test_any_noise_gives_the_same_luck_and_other_devices_are_refused() -> None:
    luck = []
    for noise in ("addressed", "stream"):
        simulator = make_simulator("interest_evolution", 2, backend="google", noise=noise)
        luck.append(simulator.reset().candidates)
    assert torch.equal(*luck)
    with pytest.raises(ValueError, match="noise is 'pink'; allowed are 'addressed' and 'stream'"):
        make_simulator("interest_evolution", 1, backend="google", noise="pink")
    with pytest.raises(ValueError, match=r"device is 'cuda:0', but .* set device to cpu"):
        make_simulator("interest_evolution", 1, backend="google", device="cuda:0")


def test_luck_can_be_predicted() -> None:
    # Engagement is log-normal: exp(mean * satisfaction + stddev * z), z from the global stream.
    simulator = make_google_simulator(
        "long_term_satisfaction", 1, seed=8, sensitivity=0.0, choc_mean=2.0, kale_mean=2.0
    )
    simulator.reset(torch.tensor([6]))
    z = RandomState(streams(8, 6).global_).normal()
    reward = float(simulator.step(torch.tensor([[0]])).reward)
    assert reward == pytest.approx(np.exp(2.0 * 0.5 + z), rel=1e-6)


def test_a_finished_row_can_be_frozen() -> None:
    simulator = make_google_simulator(
        "modified_long_term_satisfaction", 2, seed=1, time_budget=3, replace=False
    )
    simulator.reset()
    transitions = play(simulator, 2)
    simulator.restart(torch.tensor([1]))
    transitions += play(simulator, 3)
    assert [t.finished.tolist() for t in transitions] == [[], [], [0], [], [1]]
    assert [bool(t.reward[0] > 0) for t in transitions] == [True, True, True, False, False]
    assert not transitions[3].response[0].any()
    frozen = [t.observation.map(lambda field: field[0]) for t in transitions[2:]]
    for later in frozen[1:]:
        assert all(torch.equal(a, b) for a, b in zip(frozen[0], later, strict=True))
    with pytest.raises(ValueError, match="every session has ended; call reset"):
        play(simulator, 1)


def test_frozen_rows_give_the_same_sessions_as_replaced_ones() -> None:
    totals = []
    for replace in (True, False):
        simulator = make_google_simulator("interest_evolution", 4, seed=2, replace=replace)
        simulator.reset()
        total, playing = torch.zeros(4), torch.ones(4)
        while playing.any():
            transition = simulator.step(slates(simulator, 0))
            total += transition.reward * playing
            playing[transition.finished] = 0
        totals.append(total)
    assert torch.equal(*totals)


@pytest.mark.parametrize("backend", ["torch", "google"])
@pytest.mark.parametrize("name", WORLDS)
def test_without_replacement_first_sessions_are_what_they_are_with_it(
    name: str, backend: str
) -> None:
    limits = {"interest_exploration": {"time_limit": 9}, "interest_evolution": {"time_budget": 40}}
    arguments: dict[str, Any] = limits.get(name, {"time_budget": 9})
    totals = []
    for replace in (True, False):
        simulator = make_simulator(name, 5, seed=4, backend=backend, replace=replace, **arguments)
        simulator.reset(torch.tensor([7, 0, 3, 11, 5]))
        total, lengths, playing = torch.zeros(5), torch.zeros(5), torch.ones(5)
        step = 0
        while playing.any():
            transition = simulator.step(slates(simulator, step))
            step += 1
            total += transition.reward * playing
            lengths += playing
            playing = playing.masked_fill(transition.terminated | transition.truncated, 0.0)
        totals.append((total.tolist(), lengths.tolist()))
    assert totals[0] == totals[1]
    assert min(totals[0][1]) >= 9


def test_users_are_replaced_with_the_next_numbers() -> None:
    simulator = make_google_simulator("modified_long_term_satisfaction", 2, seed=1, time_budget=2)
    simulator.reset(torch.tensor([3, 1]))
    last = play(simulator, 2)[-1]
    assert last.finished.tolist() == [0, 1] and last.terminated.all()
    assert last.observation.has_response.tolist() == [[0.0], [0.0]]
    assert last.final.has_response.tolist() == [[1.0], [1.0]]
    assert not last.observation.history.any() and last.final.history.any()
    fresh = make_google_simulator("modified_long_term_satisfaction", 2, seed=1, time_budget=2)
    assert torch.equal(fresh.reset(torch.tensor([4, 5])).candidates, last.observation.candidates)


def test_resampling_of_documents_can_be_switched_off() -> None:
    for resample in (True, False):
        simulator = make_google_simulator("interest_evolution", 2, resample_documents=resample)
        before = simulator.reset().candidates
        after = play(simulator, 1)[0].observation.candidates
        assert torch.equal(before, after) is not resample


def test_stepping_before_reset_and_wrong_users_are_refused() -> None:
    simulator = make_google_simulator("interest_evolution", 2)
    with pytest.raises(ValueError, match="call reset first"):
        simulator.step(torch.tensor([[0, 1, 2]] * 2))
    with pytest.raises(ValueError, match="3 users were given for 2 rows"):
        simulator.reset(torch.arange(3))
    with pytest.raises(ValueError, match="num_users is 0"):
        make_google_simulator("interest_evolution", 0)
