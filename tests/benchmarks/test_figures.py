from __future__ import annotations

import pytest
from typer.testing import CliRunner

from algorithms.config import load_config
from algorithms.policy import baseline
from benchmarks.core import ROOT, benchmarks
from benchmarks.paper import PAPER, label, row
from benchmarks.run import app
from benchmarks.training import summary
from benchmarks.values import BOREDOM
from benchmarks.whole_videos import return_there
from envs.history import History
from envs.interest_evolution import InterestEvolution


def run(seed: int, value: float, cpu: float) -> dict[str, object]:
    return {
        "seed": seed,
        "return_mean": value,
        "return_ci95": [value - 1, value + 1],
        "train_cpu_seconds": cpu,
        "env_steps": 100,
        "eval_users": 50,
        "backend": "google",
    }


def test_the_worst_seed_and_the_dearest_count() -> None:
    found = summary([run(0, 280.0, 50.0), run(1, 276.0, 40.0), run(2, 281.0, 61.0)])
    assert (found["worst_return"], found["most_cpu_seconds"]) == (276.0, 61.0)


@pytest.mark.parametrize(
    ("returns", "cpu", "must", "aim"),
    [
        ((280.0, 281.0), 60.0, True, True),
        ((275.0, 281.0), 60.0, True, False),
        ((274.9, 281.0), 60.0, False, False),
        ((280.0, 281.0), 60.1, False, False),
    ],
)
def test_the_default_run_must_be_good_and_quick(
    returns: tuple[float, ...], cpu: float, must: bool, aim: bool
) -> None:
    goals = benchmarks()["slateq"].rows[0]
    found = summary([run(seed, value, cpu) for seed, value in enumerate(returns)])
    assert goals.must is not None and goals.must.met(found) is must
    assert goals.aim is not None and goals.aim.met(found) is aim


def paper_run(value: float, half: float) -> dict[str, object]:
    numbers = {"return": value, "whole": value - 1, "users": 5000, "quality": -0.5}
    return {**numbers, "ci95": [value - half, value + half]}


def test_standard_errors_of_the_papers_rows() -> None:
    # Users: 0.3 a run, so 0.3 / sqrt(3) of the mean. Seeds: deviation 3, so 3 / sqrt(3).
    found = row("ql_ot_os", [paper_run(value, 0.588) for value in (171.6, 174.6, 177.6)])
    assert found["standard_error"] == 1.73
    assert (found["return"], found["apart"]) == (174.6, 0)
    assert (found["whole_videos"], found["whole_apart"]) == (173.6, -0.6)  # -1 / hypot(1.73, 0.3)
    # Equal seeds: the users' spread is left. The paper's: 0.3 over as many users as ours.
    found = row("ql_ot_os", [paper_run(175.6, 0.588)] * 3)
    assert found["standard_error"] == 0.17  # 0.3 / sqrt(3)
    assert found["apart"] == 2.9  # 1 / sqrt(0.03 + 0.09)


TRAINED = [name for name in PAPER if not name.startswith(("random", "full_slate"))]


@pytest.mark.parametrize("name", TRAINED)
def test_the_papers_configs_are_the_papers(name: str) -> None:
    config = load_config("slateq", ROOT / "configs" / "paper" / f"{name}.yaml")
    assert (config.train.env_steps, config.evaluate.users, config.history) == (300_000, 5000, ())
    assert config.settings["no_click_value"] == "zero"
    assert config.settings["learning"] == "replay"
    assert config.settings["target"] == ("sarsa" if name.startswith("sarsa") else "q_learning")
    assert config.settings["gamma"] == (0.0 if name.startswith("myop") else 1.0)
    served = {"ts": "top_k", "gs": "greedy", "os": "exact"}[name.removesuffix("_20")[-2:]]
    assert config.settings["act_optimiser"] == served


def test_full_slate_q_is_the_papers() -> None:
    config = load_config("dqn", ROOT / "configs" / "paper" / "full_slate_20.yaml")
    assert (config.train.env_steps, config.evaluate.users, config.history) == (300_000, 5000, ())
    assert (config.settings["actions"], config.settings["learning"]) == ("slates", "replay")
    assert (config.env.arguments["num_candidates"], config.env.arguments["slate_size"]) == (20, 3)


def test_boredom_is_measured_on_the_world_of_its_config() -> None:
    config = load_config("dqn", ROOT / "configs" / "dqn_boredom.yaml")
    assert config.env.arguments == {**BOREDOM, "num_candidates": 3}


@pytest.mark.parametrize(("name", "steps"), [("slateq_5m", 5_000_000), ("slateq_no_quality", None)])
def test_configs_of_the_other_runs_load(name: str, steps: int | None) -> None:
    config = load_config("slateq", ROOT / "configs" / f"{name}.yaml")
    expected = load_config("slateq").train.env_steps if steps is None else steps
    assert config.train.env_steps == expected
    assert config.env.arguments.get("show_quality", True) is (name != "slateq_no_quality")


def test_labels_are_the_papers() -> None:
    names = ("random", "ql_ot_os", "sarsa_ts_20")
    assert [label(name) for name in names] == ["Random", "QL-OT-OS", "SARSA-TS, 20 candidates"]


def test_every_benchmark_is_listed() -> None:
    found = CliRunner().invoke(app, ["--list"])
    assert [line.split()[0] for line in found.stdout.splitlines()] == list(benchmarks())


def test_an_unknown_benchmark_ends_with_the_nearest() -> None:
    found = CliRunner().invoke(app, ["--only", "memroy"])
    assert found.exit_code == 2
    assert "did you mean 'memory'?" in found.output


def test_whole_videos_shorten_every_session() -> None:
    world = InterestEvolution()
    policy = baseline("random", world.spec, History(world.spec, ()), 3)
    # Users who may begin a video that they have no time for watch 160.6 minutes (20,000 users);
    # without its beginning, 2 minutes on average of what is left, a session of 200 loses about 1.6.
    assert 157.5 < return_there(policy, 10, 1000, 0).mean < 160.0
