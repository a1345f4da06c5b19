from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from algorithms.core.agent import Exploration
from algorithms.policy import baseline
from envs.registry import make_simulator
from offline.log import LogError, concatenate, open_log
from offline.observed import SEEN, STATED, distributions, observation
from offline.playing import Destination, Target, play, tasks_of
from offline.recording import Acting, header_of
from tests.offline.log.made import make_rows


def test_the_previous_response_is_that_of_the_row_before() -> None:
    rows = make_rows(2, 3)
    seen = observation(rows)
    assert seen.has_response[:, 0].tolist() == [0, 1, 1, 0, 1, 1]
    assert (seen.response[0] == 0).all() and (seen.response[3] == 0).all()
    for row in (1, 2, 4, 5):
        assert (seen.response[row].numpy() == rows["response"][row - 1]).all()
    assert (seen.candidates.numpy() == rows["candidates"]).all()


@pytest.mark.parametrize("index", [[1, 2], [0, 2], [0, 1, 3, 5]])
def test_parts_of_sessions_are_refused(index: list[int]) -> None:
    with pytest.raises(LogError, match=r"no whole sessions; read them with Log\.sessions"):
        observation(make_rows(2, 3).take(np.array(index)))


def test_logged_distributions_state_the_logged_propensities(tmp_path: Path) -> None:
    world = {"name": "boredom"}
    simulator = make_simulator("boredom", 1)
    targets = []
    for epsilon, temperature in ((0.1, 0.0), (0.3, 2.0), (1.0, 0.0)):
        policy = baseline("click_maximiser", simulator.spec, simulator.history, 3)
        policy.exploration = Exploration(epsilon, temperature)
        targets.append(Target(policy, Acting("click_maximiser", "0", f"{epsilon}")))
    to = Destination(tmp_path, header_of(world), "json", None)
    for task in tasks_of(3, 10):
        play(task, targets[task.target], world, 0, to)
    rows = concatenate(
        list(open_log(tmp_path).sessions(columns=(*SEEN, *STATED, "slot_log_propensities")))
    )
    found = list(distributions(rows))
    assert sorted(np.concatenate([index for index, _ in found])) == list(range(len(rows)))
    assert [(d.epsilon, d.temperature) for _, d in found] == [(0.1, 0.0), (0.3, 2.0), (1.0, 0.0)]
    for index, distribution in found:
        stated = distribution.slot_log_prob(torch.from_numpy(rows["slate"][index]))
        logged = torch.from_numpy(rows["slot_log_propensities"][index])
        torch.testing.assert_close(stated, logged)
    policy = baseline("click_maximiser", simulator.spec, simulator.history, 3)
    weights = policy.agent.decide(observation(rows), 3).log_weights
    torch.testing.assert_close(weights, torch.from_numpy(rows["log_weights"]))


def test_padding_and_pins_are_taken_into_account() -> None:
    small, large = make_rows(1, 2, 3, 1), make_rows(1, 2, 5, 2)
    pinned = np.stack([large["slate"][:, 0], np.full(2, -1)], axis=1)
    rows = concatenate([small, large.replace(pinned=pinned)])
    (one, first), (two, second) = distributions(rows)
    assert (one.tolist(), first.slate_size, first.pinned) == ([0, 1], 1, None)
    assert two.tolist() == [2, 3] and second.slate_size == 2 and second.pinned is not None
    assert first.greedy is not None and first.greedy.tolist() == [[0], [0]]
    assert first.mask.tolist() == [[True] * 3 + [False] * 2] * 2


def test_rows_without_a_distribution_are_refused() -> None:
    rows = make_rows().replace(epsilon=np.full(12, np.nan))
    with pytest.raises(LogError, match="without the distribution"):
        list(distributions(rows))
