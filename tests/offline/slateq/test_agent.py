"""Offline SlateQ: rows, targets and options, each of which must change behaviour."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, tensor

from algorithms.core.agent import Agent
from algorithms.slateq import SlateQAgent
from envs.history import History
from offline.log import LogError, Rows
from offline.slateq import OfflineSlateQAgent
from tests.offline.values.made import played


@pytest.fixture(scope="module")
def log() -> tuple[Any, Rows]:
    return played("interest_evolution")


def agent_of(simulator: Any, **settings: Any) -> OfflineSlateQAgent:
    torch.manual_seed(0)
    given = {"hidden": (8,), "initial_value": 5.0, **settings}
    return OfflineSlateQAgent(simulator.spec, simulator.history, simulator.slate_size, given)


@torch.no_grad()
def loss_of(agent: OfflineSlateQAgent, columns: dict[str, Tensor]) -> dict[str, Tensor]:
    return agent.loss(columns, agent.predict(columns), copy.deepcopy(agent))


def test_every_row_of_finished_sessions_is_learned_once(log: tuple[Any, Rows]) -> None:
    simulator, rows = log
    columns = agent_of(simulator, window=7).log_columns(rows)
    learned = columns["learned"]
    assert learned.shape == (-(-len(rows) // 7), 7)
    assert int(learned.sum()) == len(rows)
    assert columns["reward"][learned].tolist() == rows["reward"].tolist()
    seen = columns["candidates"][:, :-1][learned]
    assert seen.numpy().tobytes() == rows["candidates"].tobytes()
    # What was seen after a window's last row opens the next window.
    assert torch.equal(columns["history"][:-1, -1], columns["history"][1:, 0])


def test_what_was_chosen_is_the_click_or_none(log: tuple[Any, Rows]) -> None:
    simulator, rows = log
    agent = agent_of(simulator)
    position = agent.chosen(rows.tensors(agent.reads))
    click = rows["response"][..., 0]
    assert (position >= 0).tolist() == (click.sum(1) == 1).tolist()
    clicked = np.flatnonzero(click.sum(1))
    assert position[clicked].tolist() == rows["slate"][clicked, click[clicked].argmax(1)].tolist()
    assert bool((position[click.sum(1) == 0] == -1).all())


def test_one_step_targets_are_reward_plus_the_best_slates_value(log: tuple[Any, Rows]) -> None:
    simulator, rows = log
    agent = agent_of(simulator, lambda_=0.0, window=5)
    columns = agent.log_columns(rows)
    following = {
        name: columns[name][:, 1:].flatten(0, 1)
        for name in ("user", "history", "candidates", "mask", "slate", "position")
    }
    value = agent.valued(following).value
    expected = columns["reward"].flatten() + torch.where(
        columns["terminated"].flatten(), 0.0, value
    )
    learned = columns["learned"].flatten()
    torch.testing.assert_close(agent.returns(columns)[learned], expected[learned])


def test_traces_are_the_ratio_of_choice_probabilities(log: tuple[Any, Rows]) -> None:
    simulator, rows = log
    agent = agent_of(simulator, trace="retrace")
    given = rows.tensors(agent.reads)
    given["position"] = agent.chosen(given)
    keep = agent.valued(given).keep
    best = agent.online.decide(_observation(given), 3).extras["best"]
    masses = agent.online.decide(_observation(given), 3).extras["masses"]
    for row in range(40):
        position = int(given["position"][row])
        # Masses are the users' interest + 1; no click has 2.
        ours = masses[row, best[row]].sum() + 2
        logged = masses[row, given["slate"][row]].sum() + 2
        on_it = position < 0 or position in best[row].tolist()
        expected = min(1.0, float(logged / ours)) if on_it else 0.0
        assert float(keep[row]) == pytest.approx(expected, rel=1e-5)
    assert 0.2 < float((keep > 0).float().mean()) < 1


def test_full_traces_are_kept_everywhere(log: tuple[Any, Rows]) -> None:
    simulator, rows = log
    agent = agent_of(simulator, trace="full")
    given = rows.tensors(agent.reads)
    given["position"] = agent.chosen(given)
    assert bool((agent.valued(given).keep == 1).all())


def test_a_session_that_was_cut_off_bootstraps_and_does_not_end(log: tuple[Any, Rows]) -> None:
    simulator, rows = log
    agent = agent_of(simulator, window=4)
    ends = rows["terminated"]
    columns = agent.log_columns(rows.replace(terminated=np.zeros_like(ends), truncated=ends.copy()))
    assert int((~columns["learned"]).sum()) == ends.sum() + -len(rows) % 4
    # What follows the cut is another session's: neither its return nor a value of 0 counts.
    cut = columns["cut"].flatten()
    names = ("user", "history", "candidates", "mask", "slate", "position")
    following = {name: columns[name][:, 1:].flatten(0, 1)[cut] for name in names}
    expected = columns["reward"].flatten()[cut] + agent.valued(following).value
    assert int(cut.sum()) == ends.sum()
    torch.testing.assert_close(agent.returns(columns)[cut], expected)


def test_rows_that_are_not_learned_from_do_not_matter(log: tuple[Any, Rows]) -> None:
    simulator, rows = log
    agent = agent_of(simulator, window=7)
    columns = agent.log_columns(rows)
    columns["learned"][:, 3] = False
    before = loss_of(agent, columns)["loss"]
    columns["reward"][:, 3] += 1000.0
    columns["cut"][:, :3] = True
    changed = loss_of(agent, columns)["loss"]
    columns["reward"][:, 3] -= 1000.0
    assert float(changed) == pytest.approx(float(loss_of(agent, columns)["loss"]))
    assert float(before) > 0


def test_the_penalty_is_added_by_its_weight(log: tuple[Any, Rows]) -> None:
    simulator, rows = log
    agent = agent_of(simulator, penalty=0.5)
    with torch.no_grad():
        agent.online.network.head.weight.mul_(20)
    columns = agent.log_columns(rows)
    terms = loss_of(agent, columns)
    assert float(terms["gap"]) != 0
    assert float(terms["loss"]) == pytest.approx(float(terms["td_loss"] + 0.5 * terms["gap"]))
    plain = agent_of(simulator, penalty=0.0)
    plain.load_state_dict(agent.state_dict())
    without = loss_of(plain, columns)
    assert "gap" not in without
    assert float(without["loss"]) == pytest.approx(float(terms["td_loss"]))


def test_the_target_moves_by_period_and_rate(log: tuple[Any, Rows]) -> None:
    simulator, _ = log
    agent = agent_of(simulator, target_period=3, target_rate=0.25)
    target = copy.deepcopy(agent)
    with torch.no_grad():
        agent.online.network.head.bias.add_(4.0)
        before = float(target.online.network.head.bias[1])
        for updates in (1, 2):
            agent.update_target(target, updates)
        assert float(target.online.network.head.bias[1]) == before
        agent.update_target(target, 3)
    assert target.online.network.head.bias[1].item() == pytest.approx(before + 1.0)


@pytest.mark.parametrize(
    "changed",
    [
        {"gamma": 0.9},
        {"lambda_": 0.3},
        {"trace": "retrace"},
        {"window": 1},
        {"optimiser": "top_k"},
        {"choice_model": "exponential_cascade"},
        {"choice_no_click_mass": 5.0},
        {"choice_min_normalizer": -3.0},
        {"choice_model": "exponential_cascade", "choice_attention_prob": 0.1},
        {"choice_model": "exponential_cascade", "choice_score_scaling": 0.4},
        {"choice_model": "multinomial_logit", "choice_scores": "learned"},
        {"value_scale": 7.0},
        {"initial_value": 6.0},
        {"layer_norm": False},
        {"hidden": (9,)},
        {"item_hidden": (4,)},
    ],
    ids=str,
)
def test_every_option_changes_what_is_learned(
    log: tuple[Any, Rows], changed: dict[str, Any]
) -> None:
    simulator, rows = log
    base = {k: v for k, v in changed.items() if k == "choice_model"} if len(changed) > 1 else {}
    losses = []
    for settings in (base, changed):
        agent = agent_of(simulator, **settings)
        with torch.no_grad():  # so that items differ
            agent.online.network.head.weight.mul_(20)
        losses.append(float(loss_of(agent, agent.log_columns(rows))["loss"]))
    assert losses[0] != losses[1]


def test_the_learned_choice_is_a_cross_entropy(log: tuple[Any, Rows]) -> None:
    simulator, rows = log
    agent = agent_of(
        simulator, penalty=0.0, choice_scores="learned", choice_model="multinomial_logit"
    )
    with torch.no_grad():
        agent.online.network.head.weight.zero_()
    columns = agent.log_columns(rows)
    terms = loss_of(agent, columns)
    # All logits are 0, so each of three slots and no click has 1/4; some rows are padding.
    share = len(rows) / columns["learned"].numel()
    assert float(terms["further_loss"]) == pytest.approx(share * 1.3862944, rel=1e-5)
    assert float(terms["loss"]) == pytest.approx(float(terms["td_loss"] + terms["further_loss"]))


def test_what_is_exported_is_an_ordinary_policy_and_may_be_begun_with(
    log: tuple[Any, Rows],
) -> None:
    simulator, _ = log
    agent, other = agent_of(simulator), agent_of(simulator)
    exported: Agent = agent.export()
    assert type(exported) is SlateQAgent
    again = SlateQAgent(simulator.spec, simulator.history, 3, exported.settings)
    again.load_state_dict(exported.state_dict())
    with torch.no_grad():
        other.online.network.head.bias.add_(1.0)
    other.adopt(again)
    assert torch.equal(other.online.network.head.bias, agent.online.network.head.bias)
    with pytest.raises(ValueError, match="not of slateq"):
        other.adopt(agent)  # an offline learner itself is no policy


def test_short_slates_and_few_candidates(log: tuple[Any, Rows]) -> None:
    simulator, rows = log
    agent = agent_of(simulator)
    slate, response = rows["slate"].copy(), rows["response"].copy()
    slate[:, 2], response[:, 2] = -1, 0.0
    terms = loss_of(agent, agent.log_columns(rows.replace(slate=slate, response=response)))
    assert np.isfinite(float(terms["loss"]))
    mask = rows["mask"].copy()
    mask[5, 2:] = False
    with pytest.raises(LogError, match="2 eligible candidates, but the slates of this log have 3"):
        agent.log_columns(rows.replace(mask=mask))


def test_several_clicks_are_refused(log: tuple[Any, Rows]) -> None:
    simulator, rows = log
    response = rows["response"].copy()
    response[4, :2, 0] = 1.0
    with pytest.raises(LogError, match="several clicks"):
        agent_of(simulator).log_columns(rows.replace(response=response))


def test_impossible_settings_are_refused(log: tuple[Any, Rows]) -> None:
    simulator, _ = log
    with pytest.raises(ValueError, match="multinomial logit"):
        agent_of(simulator, choice_scores="learned")
    with pytest.raises(ValueError, match="top_k"):
        agent_of(simulator, choice_model="exponential_cascade", optimiser="top_k")
    without = OfflineSlateQAgent
    spec = simulator.spec
    with pytest.raises(ValueError, match="appeal"):
        without(spec.__class__(spec.user, spec.candidate, spec.response), History(spec, ()), 3, {})


def _observation(given: dict[str, Tensor]) -> Any:
    from envs.simulator import Observation

    nothing = tensor([])
    return Observation(
        given["user"], given["candidates"], given["mask"], nothing, nothing, given["history"]
    )


def test_the_learned_choice_is_of_the_clicked_slot(log: tuple[Any, Rows]) -> None:
    simulator, rows = log
    settings = {"choice_scores": "learned", "choice_model": "multinomial_logit", "penalty": 0.0}
    agent = agent_of(simulator, **settings)
    with torch.no_grad():
        agent.online.network.head.weight.mul_(20)
    columns = agent.log_columns(rows)
    # One slot more, which is padding, as beside rows with larger slates.
    padded = {
        **columns,
        "slate": torch.nn.functional.pad(columns["slate"], (0, 1), value=-1),
    }
    found = float(loss_of(agent, columns)["further_loss"])
    assert float(loss_of(agent, padded)["further_loss"]) == pytest.approx(found, rel=1e-5)
    given = rows.tensors(agent.reads)
    code = agent.online.network.encode(given["user"], given["history"])
    logits = agent.online.network.choice_logits(code, given["candidates"])
    slots = logits.gather(1, given["slate"])
    everything = torch.cat([slots, torch.zeros(len(rows), 1)], dim=1).log_softmax(1)
    click = given["response"][..., 0]
    took = torch.cat([click, 1 - click.sum(1, keepdim=True)], dim=1)
    expected = -(everything * took).sum() / columns["learned"].numel()
    assert found == pytest.approx(expected.item(), rel=1e-5)
