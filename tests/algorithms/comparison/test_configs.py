"""The comparisons that we ship: each loads, and all runs of it can be built."""

from __future__ import annotations

from pathlib import Path

import pytest

from algorithms.comparison.plan import load_comparison
from algorithms.registry import algorithm_names

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
