"""The comparisons that we ship: each loads, and all runs of it can be built."""

from __future__ import annotations

from pathlib import Path

import pytest

from algorithms.comparison.plan import load_comparison
from algorithms.config import load_config
from algorithms.registry import algorithm_names
from benchmarks.regret import CONTENDERS

FOLDER = Path(__file__).parents[3] / "configs" / "compare"
FILES = sorted(FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_comparison_passes_its_checks(file: Path) -> None:
    comparison = load_comparison(file)
    assert comparison.jobs
    assert not comparison.warnings
    assert comparison.file.title


def test_every_algorithm_is_compared_somewhere() -> None:
    compared = {job.algorithm for file in FILES for job in load_comparison(file).jobs}
    assert set(algorithm_names()) <= compared


def test_discounts_differ_in_nothing_else_that_matters() -> None:
    jobs = load_comparison(FOLDER / "gamma.yaml").jobs
    for environment in ("interest_evolution", "modified_long_term_satisfaction"):
        configs = [job.config for job in jobs if job.environment == environment and job.config]
        kept = [
            {key: value for key, value in config.settings.items() if key not in _VARIED}
            for config in configs
        ]
        assert all(each == kept[0] for each in kept)
        assert {config.settings["gamma"] for config in configs} == {0, 0.9, 1}
        assert len({config.train for config in configs}) == 1


_VARIED = ("gamma", "initial_value")


def test_drifting_arms_are_met_by_all_users_in_the_same_round_of_one_session() -> None:
    comparison = load_comparison(FOLDER / "drifting.yaml")
    configs = [job.config for job in comparison.jobs if job.config]
    assert comparison.file.measure == "learning" and configs
    for config in configs:
        assert config.settings["stagger_steps"] == 0
        rounds = config.train.env_steps // config.train.users
        assert rounds == config.env.arguments["session_steps"]


def test_bandits_have_the_settings_that_their_regret_is_measured_with() -> None:
    jobs = load_comparison(FOLDER / "bandits.yaml").jobs
    measured = [each for each in CONTENDERS if each.label in ("LinUCB", "LinTS", "NeuralLinear")]
    assert measured
    for each in measured:
        file = FOLDER.parent / f"{each.config}.yaml"
        wanted = load_config(each.algorithm, file, each.overrides).settings
        chosen = (each.label, each.problem)
        found = next(job.config for job in jobs if (job.label, job.environment) == chosen)
        assert found is not None
        # Ten users a round: as many rows between trainings of the network.
        if "train_every" in wanted:
            assert found.settings["train_every"] * found.train.users == wanted["train_every"]
        assert {**found.settings, "train_every": 0} == {**wanted, "train_every": 0}
