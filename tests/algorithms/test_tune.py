"""The command: refusals before anything starts, and a whole search on Ray."""

from __future__ import annotations

import csv
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from algorithms import train
from algorithms.run import about
from algorithms.tune import app
from algorithms.tuning.folder import create_search
from algorithms.tuning.trials import TRIALS, Trial, Trials
from tests.algorithms.tuning.conftest import TINY, tiny, words


def refused(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 2, result.output
    assert len(result.stderr.splitlines()) == 1, result.stderr
    return result.stderr.strip()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name an algorithm to tune"),
        (["linucp"], "unknown algorithm 'linucp'; did you mean 'linucb'?"),
        (["random"], "unknown algorithm 'random'"),
        (["linucb", "--trials", "0"], "--trials is 0; it must be at least 1"),
        (["linucb", "--workers", "-1"], "--workers is -1; it must be at least 1"),
        (["linucb", "--config", "nowhere.yaml"], "cannot read the config nowhere.yaml"),
        (["linucb", "--set", "tune.space.linucb.alpa={low: 1, high: 2}"], "'linucb.alpha'?"),
        (["linucb", "--set", "tune="], "there is nothing to search for 'linucb'"),
        (["linucb", "--set", "tune=5"], "tune must hold keys and values"),
        (["linucb", "--set", "tune.users=1"], "tune.users is 1"),
        (["linucb", "--set", "train.env_steps=0"], "train.env_steps is 0"),
        (["linucb", "--set", "linucb.alpa=1"], "did you mean 'alpha'?"),
        (["linucb", "--seed", "-1"], "seed is -1"),
        (["q_learning"], "there is nothing to search for 'q_learning'"),
        (["--resume", "nowhere"], "nowhere is not the folder of a search: it is no folder"),
        (["--resume", "nowhere", "--seed", "1"], "so --seed has no place"),
    ],
)
def test_mistakes_end_in_one_sentence_before_anything_starts(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in refused(*arguments)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a search for three trials, none of them played."""
    return create_search(tiny(), 3, tmp_path / "search")


def test_a_folder_is_continued_as_it_began(folder: Path) -> None:
    assert "is a search for 'linucb', not for 'ppo'" in refused("ppo", "--resume", str(folder))
    said = refused("--resume", str(folder), "--trials", "2")
    assert "is a search of 3 trials; give as many or more" in said
    assert "is there already" in refused("linucb", "--out", str(folder))


def test_more_trials_than_can_be_written_down_is_one_sentence(folder: Path) -> None:
    (folder / ".search.json.partial").mkdir()
    said = refused("--resume", str(folder), "--trials", "4")
    assert said.startswith(f"cannot write to {folder}")


def test_two_searches_do_not_share_a_folder(folder: Path) -> None:
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert f"another search runs in {folder}" in refused("--resume", str(folder))


@pytest.mark.parametrize("name", ["search.json", "tune.yaml", f"{TRIALS}/0000.json"])
def test_a_damaged_folder_is_one_sentence(folder: Path, name: str) -> None:
    (folder / name).write_text("{[")
    said = refused("--resume", str(folder))
    assert str(folder) in said


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = refused("linucb", "--out", str(tmp_path / "file" / "search"))
    assert said.startswith("cannot write the folder") and said.endswith("choose another --out")


def test_where_no_trial_finished_it_says_why(folder: Path) -> None:
    trials = Trials(folder)
    for number in range(3):
        trials.put(Trial(number, None, {}, "failed", (), f"reason {number}"))
    result = CliRunner().invoke(app, ["--resume", str(folder)])
    assert result.exit_code == 1
    assert result.stderr == "none of 3 trials finished; the first: reason 0\n"
    assert not (folder / "best.yaml").exists()


# Trials of seconds, so that a signal meets one in its middle, and settings of which some fail:
# `window` and `discount` together are refused.
SEARCH = {
    **TINY,
    "train.env_steps": 40_000,
    "train.users": 20,
    "train.checkpoint_every": 10_000,
    "tune.space.linucb.window": {"choices": [0, 50]},
    "tune.space.linucb.discount": {"choices": [1.0, 0.9]},
}


_MOST_SECONDS = 900  # on a busy machine


@contextmanager
def tune(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command in a process that does not outlive the test."""
    command = [sys.executable, "-m", "algorithms.tune", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def ended_well(*arguments: str) -> tuple[str, str]:
    """What the command said, on standard output and error."""
    with tune(*arguments) as process:
        text, errors = process.communicate(timeout=_MOST_SECONDS)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    return text, errors


def until(condition, process: subprocess.Popen[str]) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + _MOST_SECONDS
    while not condition():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)


def left(folder: Path) -> list[str]:
    """Trials on disk and how they stand."""
    return [
        json.loads(path.read_text())["status"]
        for path in sorted((folder / TRIALS).glob("[0-9]*.json"))
    ]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_search_is_stopped_continued_and_ends_in_a_config(
    number: signal.Signals, tmp_path: Path
) -> None:
    """About 60 CPU-seconds, most of it importing RLlib."""
    out = tmp_path / "search"
    sets = [part for word in words(SEARCH) for part in ("--set", word)]
    words_of_first = ["linucb", "--trials", "8", "--workers", "2", "--out", str(out), *sets]
    with tune(*words_of_first) as first:
        metrics = out / TRIALS / "0002" / "metrics.csv"
        until(lambda: metrics.exists(), first)
        first.send_signal(number)
        _, errors = first.communicate(timeout=120)
    if number == signal.SIGINT:
        assert first.returncode == 130, errors
        assert errors.splitlines()[-1].endswith(f"python -m algorithms.tune --resume {out}")
        assert "Traceback" not in errors
    before = left(out)
    assert "running" in before and not (out / "best.yaml").exists()

    text, _ = ended_well("--resume", str(out), "--workers", "2")
    trials = Trials.load(out)
    assert [trial.number for trial in trials.done] == list(range(8))
    for trial in trials.done:
        clash = trial.settings.get("linucb.window") and trial.settings["linucb.discount"] < 1
        assert (trial.status == "failed") == bool(clash)
        assert ("forget by one of them" in trial.message) == bool(clash)
    assert trials.all[0].status == "finished"

    result = json.loads((out / "result.json").read_text())
    assert sum(result["trials"].values()) == 8
    assert text.splitlines()[-1].startswith(f"{out}/best.yaml: return {result['return_mean']:.1f} ")
    assert (out / "tune.png").stat().st_size > 10_000
    with (out / "trials.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 8
    run = tmp_path / "run"
    arguments = ["linucb", "--config", str(out / "best.yaml"), "--out", str(run)]
    assert CliRunner().invoke(train.app, arguments).exit_code == 0
    found = json.loads((run / "result.json").read_text())
    # The same run as the trial, and the same reported users.
    assert found["return_mean"] == result["return_mean"]
    assert about(run)["algorithm"] == "linucb"

    # More trials of a search that had ended; what is there stays.
    _, errors = ended_well("--resume", str(out), "--trials", "9")
    assert "8 of 9 trials are kept" in errors
    assert Trials.load(out).numbered[:8] == trials.numbered
