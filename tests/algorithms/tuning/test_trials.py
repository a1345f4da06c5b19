from __future__ import annotations

from pathlib import Path

import pytest

from algorithms.run import RunError
from algorithms.tuning.trials import TRIALS, Reading, Trial, Trials, best_of


def made(number: int, mean: float, status: str = "finished") -> Trial:
    readings = (Reading(100, mean, mean - 1, mean + 1),)
    return Trial(number, {"a": mean}, {"a": mean}, status, readings)  # type: ignore[arg-type]


def test_trials_are_kept_one_file_each(tmp_path: Path) -> None:
    (tmp_path / TRIALS).mkdir()
    trials = Trials(tmp_path)
    for trial in (made(1, 2.0), made(0, 1.0, "failed").end("failed", "it broke")):
        trials.put(trial)
    found = Trials.load(tmp_path)
    assert found.numbered == trials.numbered
    assert [trial.number for trial in found.done] == [0, 1]
    assert found.numbered[0].message == "it broke"


def test_a_damaged_trial_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / TRIALS).mkdir()
    Trials(tmp_path).put(made(0, 1.0))
    path = tmp_path / TRIALS / "0000.json"
    for text in ("{", "[]", "{}", '{"number": 0}'):
        path.write_text(text)
        with pytest.raises(RunError, match=r"0000.json is damaged; remove it"):
            Trials.load(tmp_path)


def test_only_finished_trials_can_be_the_best() -> None:
    trials = [
        made(0, 1.0),
        made(1, 3.0, "stopped"),
        made(2, 2.0),
        made(3, 2.0),
        made(4, 9, "failed"),
    ]
    best = best_of(trials)
    assert best is not None and best.number == 2  # of equals the first
    assert best_of(trials[1:2]) is None
    assert best_of([made(0, -5.0), made(1, -4.0)]) == made(1, -4.0)


def test_a_reading_that_was_read_before_is_no_news() -> None:
    trial = made(0, 1.0, "running")
    later = Reading(300, 2.0, 1.0, 3.0)
    assert trial.read(Reading(100, 9.0, 8.0, 10.0), 1.0) == trial
    assert trial.read(later, 1.5).readings == (*trial.readings, later)
    assert trial.read(later, 1.5).cpu_seconds == 1.5


def test_a_failed_trial_is_worth_nothing_known() -> None:
    assert made(0, 1.0).value == 1.0
    assert made(0, 1.0, "failed").value is None
    assert Trial(0, None, {}).value is None
