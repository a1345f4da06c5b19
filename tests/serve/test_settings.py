from __future__ import annotations

from pathlib import Path

import pytest

from algorithms.layers import ConfigError
from serve.replica import api_key
from serve.safe import load_safe
from serve.settings import SafeSection, Settings, load_settings


def test_a_file_is_laid_over_the_defaults_and_flags_over_that(tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text("session_gap_s: null\nlimits: {max_epsilon: 0.1, max_slate: 5}\n")
    found = load_settings(file, ["limits.max_slate=6"], {"replicas": {"number": 3}})
    assert found.session_gap_s is None
    assert (found.limits.max_epsilon, found.limits.max_slate) == (0.1, 6)
    assert (found.replicas.number, found.log.rotate_mb) == (3, 256)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("sesion_gap_s: 3", "unknown key 'sesion_gap_s'; did you mean 'session_gap_s'?"),
        ("log: {rotate: 3}", "unknown key 'log.rotate'; did you mean"),
        ("assign_by: item", "assign_by is item; it must be 'session' or 'user'"),
        ("limits: {max_epsilon: 2}", "limits.max_epsilon is 2; it must be less than or equal to 1"),
        ("replicas: {number: 3, most: 2}", "replicas.most is 2 and replicas.number 3"),
    ],
)
def test_mistakes_are_told_in_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as told:
        load_settings(file)
    assert sentence in str(told.value)
    assert "\n" not in str(told.value)


def test_counts_of_the_safe_policy(tmp_path: Path) -> None:
    file = tmp_path / "counts.csv"
    file.write_text("id,count\n007,3\nb,10\n")
    found = load_safe(SafeSection(kind="popular", counts=str(file)))
    assert found.counts == {"007": 3.0, "b": 10.0}
    for text, sentence in (
        ("id,count\na,-1\n", "counts 'a' -1.0; from 0"),
        ("id,count\na,nan\n", "counts 'a' nan; from 0"),
        ("id,count\na,many\n", "must be a CSV file with columns id and count"),
        ("name,count\na,1\n", "must be a CSV file with columns id and count"),
    ):
        file.write_text(text)
        with pytest.raises(ConfigError, match=sentence):
            load_safe(SafeSection(kind="popular", counts=str(file)))
    with pytest.raises(ConfigError, match=r"cannot read safe.counts"):
        load_safe(SafeSection(kind="popular", counts=str(tmp_path / "nothing")))


def test_the_api_key_comes_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RECSIM_SERVE_API_KEY", raising=False)
    assert api_key(Settings()) is None
    monkeypatch.setenv("RECSIM_SERVE_API_KEY", "from outside")
    assert api_key(Settings()) == "from outside"
    file = tmp_path / "key"
    file.write_text("from a file\n")
    assert api_key(Settings(api_key_file=str(file))) == "from a file"
    file.write_text("\n")
    with pytest.raises(ConfigError, match="holds no key of plain letters"):
        api_key(Settings(api_key_file=str(file)))


def test_ray_serve_builds_the_application_from_its_arguments(tmp_path: Path) -> None:
    from serve.app import BuildArguments, build

    file = tmp_path / "serve.yaml"
    file.write_text("replicas: {number: 2, most: 5}\n")
    state = tmp_path / "serving"
    arguments = BuildArguments(policy="random", state=str(state), config=str(file))
    made = build(arguments)
    deployment = made._bound_deployment
    assert deployment.name == "endpoint"
    scaling = deployment._deployment_config.autoscaling_config
    assert (scaling.min_replicas, scaling.max_replicas) == (2, 5)
    assert (state / "live.json").exists()
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        BuildArguments.model_validate({"polcy": "random"})
