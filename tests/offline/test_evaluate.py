"""The command, from end to end: logs against the truth, and what users get wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from algorithms.core.agent import Exploration
from algorithms.evaluation import evaluate_policy
from algorithms.policy import Policy, baseline
from algorithms.slateq import SlateQAgent, SlateQSettings
from envs.history import History, Term
from envs.registry import make_simulator
from offline.evaluate import app
from offline.log import LogWriter, Rows
from offline.record import app as record
from tests.offline.judge.made import HEADER, made

LTS = {"name": "modified_long_term_satisfaction"}
SLATES = {"name": "boredom", "time_budget": 1}
SOFT = ["click_maximiser", "--temperature", "2", "--epsilon", "0.2"]
EXPLORATION = Exploration(0.2, 2.0)


def recorded(folder: Path, world: dict[str, Any], *words: str, users: int = 2000) -> Path:
    settings = [f"env.{name}={value}" for name, value in world.items()]
    flags = [word for setting in settings for word in ("--set", setting)]
    found = CliRunner().invoke(
        record, [*words, *flags, "--users", str(users), "--out", str(folder)]
    )
    assert found.exit_code == 0, found.output
    return folder


def evaluate(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def numbers(*words: object) -> dict[str, Any]:
    found = evaluate(*words, "--json")
    assert found.exit_code == 0, found.output
    data: dict[str, Any] = json.loads(found.stdout)
    return data


def truth(world: dict[str, Any], exploration: Exploration, users: int) -> np.ndarray:
    """Returns of fresh users, whom the log does not know."""
    simulator = make_simulator(num_users=1, **world)
    policy = baseline("click_maximiser", simulator.spec, simulator.history, simulator.slate_size)
    policy.exploration = exploration
    return evaluate_policy(policy, world, users, 777, explore=True).returns


@pytest.fixture(scope="module")
def lts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded(tmp_path_factory.mktemp("logs") / "lts", LTS, "random")


@pytest.fixture(scope="module")
def slates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded(tmp_path_factory.mktemp("logs") / "slates", SLATES, "random")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded(tmp_path_factory.mktemp("logs") / "small", LTS, "random", users=20)


def test_sessions_are_judged_as_they_turn_out(lts: Path) -> None:
    # What was logged earned 97 to 100, this policy earns about 93.
    true = truth(LTS, EXPLORATION, 10_000)
    error = true.std() / 100
    found = numbers(*SOFT, "--data", lts, "--against", "logged")
    assert found["recommended"] in ("sdr", "wdr", "wpdis")
    low, high = found["estimates"][found["recommended"]]["interval"]
    assert low - error < true.mean() < high + error
    assert high - low < 3 and found["logged"]["interval"][0] > high
    for name in ("pdis", "wis", "wpdis", "sdr", "wdr"):
        assert abs(found["estimates"][name]["value"] - true.mean()) < 2.5, name
    assert found["verdict"].startswith("'click_maximiser' is worse than what was logged")
    assert found["diagnostics"]["effective_sample_size"] > 1000


def test_slates_are_judged_as_they_turn_out(slates: Path) -> None:
    # Logged 0.85; at temperature 1 of the appeal 0.92.
    true = truth(SLATES, Exploration(0.0, 1.0), 10_000)
    error = 2 * true.std() / 100
    words = ["--data", slates, "--against", "random", "--estimators", "dr,dm,iips"]
    found = numbers("click_maximiser", "--temperature", 1, *words)
    low, high = found["estimates"]["dr"]["interval"]
    assert low - error < true.mean() < high + error
    assert found["logged"]["interval"][1] < true.mean() and high - low < 0.1
    assert found["verdict"].startswith("'click_maximiser' is better than 'random'")
    # Users who take one item of a slate break what this one assumes, and that is said.
    assert found["estimates"]["iips"]["interval"][0] > high
    assert any(warning.startswith("iips") for warning in found["warnings"])


def test_a_policy_is_judged_by_its_own_log_as_logged(tmp_path: Path) -> None:
    folder = recorded(tmp_path / "log", LTS, *SOFT, users=50)
    found = numbers(*SOFT, "--data", folder)
    logged = found["logged"]["value"]
    for name in ("pdis", "wis", "wpdis"):
        assert found["estimates"][name]["value"] == pytest.approx(logged, rel=1e-4)
    assert found["diagnostics"]["effective_sample_size"] == pytest.approx(50, rel=1e-4)
    assert found["diagnostics"]["calibration"]["error"] < 0.05
    assert found["diagnostics"]["mean_weight"] == pytest.approx(1, abs=1e-4)


def test_a_trained_policy_with_a_history_of_its_own(tmp_path: Path) -> None:
    simulator = make_simulator(num_users=1, **SLATES)
    spec, size = simulator.spec, simulator.slate_size
    settings = SlateQSettings(hidden=(4,)).model_dump()
    own = History(spec, (Term("click"), Term("no_click", keep=0.5)))
    Policy(
        SlateQAgent(spec, own, size, settings),
        exploration=Exploration(0.9),
        info={"world": {**SLATES, "backend": "torch"}},
    ).save(tmp_path / "policy")
    folder = recorded(tmp_path / "log", SLATES, str(tmp_path / "policy"), users=40)
    same = numbers(tmp_path / "policy", "--data", folder, "--estimators", "ips")
    assert same["acting"] == "epsilon 0.9, temperature 0"
    assert same["estimates"]["ips"]["value"] == pytest.approx(same["logged"]["value"], rel=1e-4)
    other = recorded(tmp_path / "other", SLATES, "random", users=40)
    found = numbers(tmp_path / "policy", "--data", other, "--estimators", "ips,snips")
    assert 20 < found["diagnostics"]["effective_sample_size"] < 40


def test_arms_of_an_experiment(tmp_path: Path) -> None:
    folder = recorded(tmp_path / "log", LTS, "random", *SOFT, users=60)
    found = numbers(*SOFT, "--data", folder)
    assert [arm["sessions"] for arm in found["arms"]] == [60, 60]
    one = numbers(*SOFT, "--data", folder, "--arm", "click_maximiser")
    assert [arm["arm"] for arm in one["arms"]] == ["click_maximiser"] and one["sessions"] == 60
    assert one["diagnostics"]["effective_sample_size"] == pytest.approx(60, rel=1e-4)
    # Both arms: each row by its own propensity, so the arm that is the policy counts in full.
    assert 60 < found["diagnostics"]["effective_sample_size"] < 120


def test_the_discount_and_the_seedless_bootstrap(lts: Path) -> None:
    words = [*SOFT, "--data", lts, "--estimators", "pdis"]
    whole, first = numbers(*words), numbers(*words, "--discount", 0.1)
    assert first["estimates"]["pdis"]["value"] < whole["estimates"]["pdis"]["value"] / 4
    resampled = numbers(*words, "--interval", "bootstrap", "--confidence", 0.5)
    low, high = resampled["estimates"]["pdis"]["interval"]
    wide = whole["estimates"]["pdis"]["interval"]
    assert wide[0] < low < high < wide[1]
    assert numbers(*words, "--interval", "bootstrap", "--confidence", 0.5) == resampled


def test_the_table(slates: Path, tmp_path: Path) -> None:
    picture = tmp_path / "intervals.png"
    words = ["--data", slates, "--against", "logged", "--estimators", "dm,dr,sips"]
    found = evaluate(*SOFT, *words, "--plot", picture)
    assert found.exit_code == 0, found.output
    text = found.stdout
    assert text.splitlines()[0].startswith("click_maximiser (epsilon 0.2, temperature 2) by ")
    assert "minus logged" in text and "doubly robust: model, corrected by weights" in text
    assert "effective sample size" in text and "dm: no interval, since" in text
    assert text.splitlines()[-2].startswith("recommended: dr, 0.8")
    assert text.splitlines()[-1].startswith("'click_maximiser' is better than what was logged")
    assert picture.read_bytes()[:4] == b"\x89PNG"
    assert "\x1b" not in text


def written(folder: Path, rows: Rows) -> Path:
    with LogWriter(folder, HEADER) as writer:
        writer.write(rows)
    return folder


def refused(found: Result, *words: str) -> None:
    assert found.exit_code == 2 and not found.stdout, found.output
    assert len(found.stderr.strip().splitlines()) == 1, found.stderr
    for word in words:
        assert word in found.stderr, found.stderr


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--estimators", "sdrr"], ["unknown estimator 'sdrr'; did you mean 'sdr'?"]),
        (["--estimators", ""], ["unknown estimator ''"]),
        (["--estimators", "ips,dr"], ["'ips' judges sessions of one step"]),
        (["--interval", "normal"], ["the interval is 'normal'; allowed are"]),
        (["--interval", "bernstein"], ["needs --bounds LOW HIGH"]),
        (["--bounds", "0", "1"], ["'bernstein', and it alone"]),
        (["--confidence", "95"], ["the confidence is 95.0; it lies between 0 and 1"]),
        (["--discount", "0"], ["the discount is 0.0; it lies above 0"]),
        (["--epsilon", "1.5"], ["always explores in its own way"]),
        (["--temperature", "-1"], ["leave --epsilon and --temperature out"]),
        (["--arm", "b"], ["the log has no arm 'b'; its arms are: ''"]),
        (["--against", "populer"], ["'populer' is neither a run folder nor a baseline"]),
        (["--plot", "/nowhere/p.png"], ["cannot write the picture to /nowhere/p.png"]),
    ],
)
def test_flags_that_cannot_be(small: Path, flags: list[str], words: list[str]) -> None:
    refused(evaluate("random", "--data", small, *flags), *words)


def test_estimates_are_not_lost_with_the_picture(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(evaluate("random", "--data", small, "--plot", tmp_path), "it is a folder")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("offline.judge.report.os.replace", full)
    found = evaluate("random", "--data", small, "--json", "--plot", tmp_path / "p.png")
    assert found.exit_code == 2 and json.loads(found.stdout)["sessions"] == 20
    assert "p.png: No space left on device; choose another --plot" in found.stderr
    assert not list(tmp_path.iterdir())


def test_policies_that_cannot_be_judged(small: Path, tmp_path: Path) -> None:
    refused(evaluate("nobody", "--data", small), "'nobody' is neither a run folder nor a baseline")
    softened = ["click_maximiser", "--data", small]
    refused(evaluate(*softened, "--epsilon", 1.5), "epsilon is 1.5; it is a probability")
    refused(evaluate(*softened, "--temperature", -1), "temperature is -1")
    simulator = make_simulator("boredom", 1)
    settings = SlateQSettings(hidden=(4,)).model_dump()
    agent = SlateQAgent(simulator.spec, simulator.history, 3, settings)
    Policy(agent).save(tmp_path / "policy")
    refused(evaluate(tmp_path / "policy", "--data", small), "expects the user features", "log has")


def test_slates_of_another_size(slates: Path, tmp_path: Path) -> None:
    simulator = make_simulator(num_users=1, **SLATES)
    settings = SlateQSettings(hidden=(4,)).model_dump()
    agent = SlateQAgent(simulator.spec, simulator.history, 2, settings)
    Policy(agent).save(tmp_path / "policy")
    refused(
        evaluate(tmp_path / "policy", "--data", slates),
        "shows slates of 2, but the log has slates of 3",
    )


def test_logs_that_cannot_be_judged_by(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(evaluate("random", "--data", tmp_path / "empty"), "holds no log")
    refused(evaluate("random", "--data", tmp_path / "none"), "is no folder, file or pattern")
    rows = made([1, 1], [[2], [1]])
    nan = np.full(2, np.nan, np.float32)
    unknown = rows.replace(
        propensity_source=np.full(2, "none", object),
        log_propensity=nan,
        slot_log_propensities=nan[:, None],
    )
    refused(
        evaluate("random", "--data", written(tmp_path / "unknown", unknown)),
        "2 of 2 rows were logged without propensities; estimate them with",
        "python -m offline.propensity",
    )
    sure = np.zeros((2, 1), np.float32)
    certain = made([1, 1], [[2], [1]], slot_log_propensities=sure)
    refused(
        evaluate("random", "--data", written(tmp_path / "certain", certain)),
        "every slate of this log was shown with certainty",
    )
    twice = made([2], [[2], [1]]).replace(step=np.array([0, 0]))
    refused(evaluate("random", "--data", written(tmp_path / "twice", twice)), "two rows for step 0")
    never = made([1], [[2]]).replace(terminated=np.zeros(1, np.bool_))
    refused(
        evaluate("random", "--data", written(tmp_path / "never", never)),
        "the log has no session that ended",
    )


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"reward":0', '"reward":"much"', ["part", ".jsonl:2", "reward"]),
        ('"reward":0', '"reward":NaN', ["part", ".jsonl:2"]),
        ('"slate":[1]', '"slate":[7]', [".jsonl:2", "slate [7]"]),
        ('"log_propensity":-1.', '"log_propensity":0.5', [".jsonl:2", "a propensity above 1"]),
    ],
)
def test_rows_that_cannot_be(tmp_path: Path, old: str, new: str, words: list[str]) -> None:
    folder = written(tmp_path / "log", made([1, 1], [[2], [1]]))
    (shard,) = folder.glob("*.jsonl")
    first, second = shard.read_text().splitlines()
    assert old in second
    head, _, rest = second.partition(old)
    cut = rest.find(",")
    shard.write_text(f"{first}\n{head}{new}{rest[cut:]}\n")
    refused(evaluate("random", "--data", folder), *words)


def test_a_stopped_judgement(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("offline.judge.judging.judge", stop)
    found = evaluate("random", "--data", small)
    assert found.exit_code == 130 and found.stderr == "Stopped; nothing was written\n"
