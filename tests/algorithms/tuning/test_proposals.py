"""What is proposed: the start, what was cut short, then Optuna's, told of all that is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.search import Searcher

from algorithms.tuning.plan import Plan, load_plan
from algorithms.tuning.proposals import SCORE, STEPS, Proposals
from algorithms.tuning.search import quiet_tune, scheduler
from algorithms.tuning.trials import TRIALS, Reading, Trial, Trials

quiet_tune()
ALPHA = "linucb.alpha"


class Going:
    """A user who asks for nothing, until told."""

    asked = False

    def check(self) -> None:
        assert not self.asked


@pytest.fixture
def only_alpha(plan: Callable[..., Plan]) -> Plan:
    """A search for one number between 0 and 10, from 1."""
    others = {f"tune__space__linucb__{key}": None for key in ("ridge", "epsilon", "feedback")}
    return plan(**others, tune__space__linucb__alpha={"low": 0, "high": 10})


@pytest.fixture
def trials(tmp_path: Path) -> Trials:
    (tmp_path / TRIALS).mkdir()
    return Trials(tmp_path)


def play(
    proposals: Proposals, trials: Trials, identity: str, worth: Callable[[float], float]
) -> Trial:
    """As Tune and the keeper of trials do it."""
    number = proposals.suggest(identity)["number"]
    trial = trials.all[number]
    mean = worth(trial.settings.get(ALPHA, 1.0))
    reading = Reading(900, mean, mean, mean)
    trials.put(trial.read(reading, 0.0))
    result = {SCORE: mean, STEPS: 900, "training_iteration": 1}
    proposals.on_trial_complete(identity, result)
    trials.put(trials.all[number].end("finished", ""))
    return trials.all[number]


def test_the_first_is_the_config_and_then_the_search_learns(
    only_alpha: Plan, trials: Trials
) -> None:
    def worth(alpha: float) -> float:
        return -((alpha - 7.0) ** 2)

    proposals = Proposals(only_alpha, trials, Going())
    first = play(proposals, trials, "a", worth)
    assert (first.number, first.settings, first.point) == (0, {}, {ALPHA: 1.0})
    for number in range(1, 40):
        assert play(proposals, trials, f"t{number}", worth).number == number
    random = [trials.all[number].settings[ALPHA] for number in range(1, 10)]
    learned = [trials.all[number].settings[ALPHA] for number in range(30, 40)]
    # Ten random trials first; later ones stay near 7, where uniform ones are 3.25 away on average.
    assert max(random) - min(random) > 5
    assert sum(abs(alpha - 7) for alpha in learned) / 10 < 1.0


def test_the_same_seed_proposes_the_same(only_alpha: Plan, tmp_path: Path) -> None:
    found = []
    for name in ("a", "b"):
        (tmp_path / name / TRIALS).mkdir(parents=True)
        trials = Trials(tmp_path / name)
        proposals = Proposals(only_alpha, trials, Going())
        for number in range(15):
            play(proposals, trials, str(number), lambda alpha: alpha)
        found.append([trial.settings for trial in trials.numbered])
    assert found[0] == found[1]


def test_a_start_outside_the_space_is_played_but_teaches_nothing(
    plan: Callable[..., Plan], trials: Trials
) -> None:
    outside = plan(tune__space__linucb__alpha={"low": 5, "high": 10})
    proposals = Proposals(outside, trials, Going())
    first = play(proposals, trials, "a", lambda alpha: 1.0)
    assert (first.number, first.settings, first.point) == (0, {}, None)
    assert play(proposals, trials, "b", lambda alpha: alpha).settings[ALPHA] >= 5


def test_a_resumed_search_plays_first_what_was_cut_short(only_alpha: Plan, trials: Trials) -> None:
    proposals = Proposals(only_alpha, trials, Going())
    for number in range(4):
        play(proposals, trials, str(number), lambda alpha: alpha)
    cut = [proposals.suggest(name)["number"] for name in ("x", "y")]
    assert cut == [4, 5]
    cut_settings = [trials.all[number].settings for number in cut]

    again = Trials.load(trials.folder)
    resumed = Proposals(only_alpha, again, Going())
    proposed = [resumed.suggest(f"again-{number}") for number in range(3)]
    assert [each["number"] for each in proposed] == [4, 5, 6]
    assert [each["settings"] for each in proposed[:2]] == cut_settings
    # The next is a new one, not the first proposal once more.
    assert proposed[2]["settings"] not in [trial.settings for trial in trials.numbered]


def test_a_start_that_was_cut_short_is_played_first(only_alpha: Plan, trials: Trials) -> None:
    Proposals(only_alpha, trials, Going()).suggest("a")
    resumed = Proposals(only_alpha, Trials.load(trials.folder), Going())
    assert [resumed.suggest(str(n))["number"] for n in range(2)] == [0, 1]


def test_a_resumed_search_goes_by_what_is_known(only_alpha: Plan, trials: Trials) -> None:
    for number in range(30):
        alpha = number / 3
        reading = Reading(900, -((alpha - 7.0) ** 2), 0.0, 0.0)
        trials.put(Trial(number, {ALPHA: alpha}, {ALPHA: alpha}, "finished", (reading,)))
    trials.put(Trial(30, {ALPHA: 0.0}, {ALPHA: 0.0}, "failed", (), "it broke"))
    proposals = Proposals(only_alpha, trials, Going())
    found = [proposals.suggest(str(number))["settings"][ALPHA] for number in range(10)]
    assert sum(abs(alpha - 7) for alpha in found) / 10 < 1.0


def test_nothing_is_proposed_once_the_user_stops(only_alpha: Plan, trials: Trials) -> None:
    user = Going()
    proposals = Proposals(only_alpha, trials, user)
    user.asked = True
    assert proposals.suggest("a") == Searcher.FINISHED
    assert not trials.all


def shown(number: int) -> Any:
    return SimpleNamespace(trial_id=f"id-{number}", config={"number": number})


def decision(asha: Any, number: int, steps: int, mean: float) -> str:
    trial = shown(number)
    asha.on_trial_add(None, trial)
    return str(asha.on_trial_result(None, trial, {STEPS: steps, SCORE: mean}))


def test_one_in_three_goes_on_but_the_start_always(only_alpha: Plan, trials: Trials) -> None:
    asha = scheduler(only_alpha, trials)
    # Readings at 100 and 300 steps of 900. Others stop below the upper third so far.
    assert decision(asha, 1, 100, 10.0) == "CONTINUE"
    assert decision(asha, 2, 100, 9.0) == "STOP"
    assert decision(asha, 0, 100, 1.0) == "CONTINUE"
    assert decision(asha, 3, 100, 11.0) == "CONTINUE"
    assert decision(asha, 4, 99, 0.0) == "CONTINUE"  # before the first reading


def test_a_resumed_search_stops_by_earlier_readings(only_alpha: Plan, trials: Trials) -> None:
    readings = (Reading(100, 10.0, 9.0, 11.0), Reading(300, 12.0, 11.0, 13.0))
    trials.put(Trial(0, None, {}, "stopped", readings))
    asha = scheduler(only_alpha, trials)
    assert decision(asha, 1, 100, 9.0) == "STOP"
    assert decision(asha, 2, 100, 10.5) == "CONTINUE"
    assert decision(asha, 3, 300, 11.0) == "STOP"


def test_without_a_reduction_nothing_stops(plan: Callable[..., Plan], trials: Trials) -> None:
    asha = scheduler(plan(tune__reduction=None), trials)
    assert [decision(asha, n, 100, 10.0 - n) for n in range(4)] == ["CONTINUE"] * 4


def test_a_start_among_choices_is_known_as_one_of_them(trials: Trials) -> None:
    """The config's 1.0 is the 1 of the list."""
    others = [f"tune.space.linucb.{key}=" for key in ("ridge", "epsilon", "feedback")]
    plan = load_plan("linucb", None, [*others, "tune.space.linucb.alpha={choices: [1, 2]}"])
    proposals = Proposals(plan, trials, Going())
    first = play(proposals, trials, "a", lambda alpha: alpha)
    assert (first.number, first.point) == (0, {ALPHA: "1"})
    assert play(proposals, trials, "b", lambda alpha: alpha).settings[ALPHA] in (1, 2)
    again = Proposals(plan, Trials.load(trials.folder), Going())
    assert again.suggest("c")["number"] == 2


def test_an_end_is_no_reading_of_a_rung_that_was_skipped(only_alpha: Plan, trials: Trials) -> None:
    asha = scheduler(only_alpha, trials)
    # The first iterations of trials 1 and 3 go beyond both readings; 3 is stopped there.
    assert decision(asha, 1, 350, 50.0) == "CONTINUE"
    assert decision(asha, 3, 350, 40.0) == "STOP"
    asha.on_trial_complete(None, shown(3), {STEPS: 350, SCORE: 40.0})
    assert decision(asha, 2, 100, 10.0) == "CONTINUE"
    assert decision(asha, 2, 300, 20.0) == "STOP"
