"""The file of a comparison: what runs it makes, and what it refuses in a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from algorithms.comparison.plan import Job, first_difference, load_comparison
from algorithms.layers import ConfigError

SLATEQ: dict[str, Any] = {"algorithm": "slateq"}
RANDOM: dict[str, Any] = {"algorithm": "random"}


def trained(jobs: tuple[Job, ...]) -> list[Job]:
    return [job for job in jobs if job.config is not None]


def test_each_algorithm_runs_with_each_seed_and_a_baseline_once(write) -> None:
    comparison = load_comparison(write())
    assert [job.name for job in comparison.jobs] == [
        "slateq-interest_evolution-0",
        "slateq-interest_evolution-1",
        "random-interest_evolution",
    ]
    assert [job.seed for job in comparison.jobs] == [0, 1, None]
    assert [job.budget for job in comparison.jobs] == [1024, 1024, 0]


def test_runs_take_one_process_and_the_comparisons_users(write) -> None:
    for job in trained(load_comparison(write()).jobs):
        assert job.config is not None
        assert (job.config.workers, job.config.train.torch_threads) == (0, 1)
        assert (job.config.evaluate.users, job.config.evaluate.backend) == (20, "torch")
        assert job.config.settings["hidden"] == [8]


def test_the_world_is_the_comparisons_and_not_each_algorithms_own(write, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text(
        "env: {name: interest_evolution, num_candidates: 7}\nslateq: {gamma: 0.5}\n"
    )
    world = {"name": "interest_evolution", "slate_size": 2}
    entry = {**SLATEQ, "config": "other.yaml"}
    job = load_comparison(write(environments=[world], entries=[entry], against=None)).jobs[0]
    assert job.config is not None
    assert job.config.settings["gamma"] == 0.5
    assert job.config.env.arguments == {"slate_size": 2}
    assert job.world == {"name": "interest_evolution", "backend": "torch", "device": "cpu"} | {
        "slate_size": 2
    }


def test_an_entry_may_add_arguments_to_the_world(write) -> None:
    entries = [{**SLATEQ, "env": {"show_quality": False}}, RANDOM]
    jobs = load_comparison(write(entries=entries)).jobs
    assert jobs[0].world["show_quality"] is False
    assert "show_quality" not in jobs[-1].world


def test_a_history_stays_with_its_world(write, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text(
        "env: {name: interest_evolution}\nhistory: [{what: click}]\n"
    )
    entry = {**SLATEQ, "config": "other.yaml"}
    comparison = load_comparison(write(entries=[entry], against=None))
    assert comparison.jobs[0].config is not None
    assert [term.what for term in comparison.jobs[0].config.history or ()] == ["click"]
    learned = {"slateq.choice_scores": "learned", "slateq.choice_model": "multinomial_logit"}
    moved = load_comparison(
        write(
            environments=[{"name": "modified_long_term_satisfaction", "slate_size": 1}],
            entries=[{**entry, "set": learned}],
            against=None,
        )
    )
    assert moved.jobs[0].config is not None
    assert moved.jobs[0].config.history is None


def test_the_command_line_overrides_the_file(write) -> None:
    jobs = load_comparison(write(), ["seeds=[7]", "evaluate.users=9"]).jobs
    assert [job.seed for job in jobs] == [7, None]
    assert jobs[0].evaluate.users == 9


def test_entries_of_different_environments_may_share_a_label(write) -> None:
    entries = [
        {**SLATEQ, "label": "same", "environments": ["interest_evolution"]},
        {**RANDOM, "label": "same", "environments": ["boredom"]},
    ]
    worlds = ["interest_evolution", "boredom"]
    jobs = load_comparison(write(entries=entries, environments=worlds, against=None)).jobs
    assert [(job.algorithm, job.environment) for job in jobs[1:]] == [
        ("slateq", "interest_evolution"),
        ("random", "boredom"),
    ]


def test_differences_are_to_the_first_entry_if_nothing_is_said(write) -> None:
    assert load_comparison(write()).against == "random"
    assert load_comparison(write(against=None)).against == "SlateQ"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"entries": [{"algorithm": "slatq"}]}, "unknown algorithm 'slatq'; did you mean 'slateq'"),
        ({"environments": ["interest_evoluton"]}, "did you mean 'interest_evolution'"),
        ({"environments": []}, r"environments is \[\]; name at least one"),
        ({"entries": []}, r"entries is \[\]; name at least one"),
        ({"seeds": []}, r"seeds is \[\]; name at least one"),
        ({"seeds": [1, 1]}, "seeds must be distinct"),
        ({"seed": [1]}, "unknown key 'seed'; did you mean 'seeds'"),
        ({"entries": [{**SLATEQ, "labl": "x"}]}, "unknown key 'entries.0.labl'.*'label'"),
        (
            {"entries": [SLATEQ, SLATEQ]},
            "two entries on interest_evolution share the label 'slateq'",
        ),
        (
            {"entries": [{**SLATEQ, "label": "A b"}, {**RANDOM, "label": "a-b"}]},
            "two entries on interest_evolution share the label",
        ),
        ({"environments": ["interest_evolution"] * 2}, "two environments share the label"),
        ({"against": "randm"}, "against is 'randm'.*did you mean 'random'"),
        (
            {"entries": [{**SLATEQ, "environments": ["boredom_"]}], "against": None},
            "names the environment 'boredom_', which is not compared",
        ),
        ({"entries": [{**RANDOM, "set": {"train.users": 1}}]}, "trains nothing, so 'set'"),
        (
            {"entries": [{**SLATEQ, "set": {"slateq.gama": 1}}], "against": None},
            "unknown key 'slateq.gama'; did you mean 'gamma'",
        ),
        (
            {"entries": [{**SLATEQ, "set": {"seed": 1}}], "against": None},
            "set has the key 'seed', which the comparison decides",
        ),
        (
            {"entries": [{**SLATEQ, "set": {"train.torch_threads": 4}}], "against": None},
            "set has the key 'train.torch_threads', which the comparison decides",
        ),
        (
            {"set": {"train": {"users": 16, "torch_threads": 4}}},
            "set has the key 'train.torch_threads', which the comparison decides",
        ),
        (
            {"set": {"evaluate": {"users": 4}}},
            "set has the key 'evaluate.users', which the comparison decides",
        ),
        (
            {"entries": [{**SLATEQ, "set": {"env.slate_size": 1}}], "against": None},
            "use 'env' of the entry",
        ),
        (
            {"entries": [{**SLATEQ, "config": "nowhere.yaml"}], "against": None},
            "cannot read the config .*nowhere.yaml",
        ),
        (
            {"environments": [{"name": "interest_evolution", "slate_sise": 2}]},
            "unknown key 'env.slate_sise'; did you mean 'slate_size'",
        ),
        (
            {"environments": ["CartPole-v1"]},
            "'SlateQ' on CartPole-v1: this world declares no appeal",
        ),
        (
            {
                "environments": [{"name": "interest_evolution", "num_candidates": 50}],
                "entries": [{"algorithm": "dqn", "set": {"dqn.actions": "slates"}}],
                "against": None,
            },
            "50 candidates make 19,600 slates of 3",
        ),
        (
            {"environments": ["Pendulum-v1"]},
            "'SlateQ' on Pendulum-v1: slateq picks among candidates",
        ),
        (
            {
                "environments": ["CartPole-v1"],
                "entries": [{"algorithm": "click_maximiser"}],
                "against": None,
            },
            "'click_maximiser' on CartPole-v1: click_maximiser needs to know",
        ),
        ({"measure": "learning"}, "measure is 'learning', but 'random', .* learns nothing"),
        ({"measure": "regret"}, "measure is regret; it must be 'return' or 'learning'"),
    ],
)
def test_what_is_wrong_is_one_sentence(write, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_comparison(write(**changes))
    assert "\n" not in str(caught.value)
    assert "small.yaml" in str(caught.value) or "config" in str(caught.value)


def test_the_first_differing_key_is_named() -> None:
    before = {"seed": 1, "train": {"users": 4, "fragment": 2}}
    assert first_difference(before, before) is None
    now = {"seed": 1, "train": {"users": 8, "fragment": 2}}
    assert first_difference(before, now) == "train.users 4, now 8"
    assert first_difference(before, {**before, "new": 3}) == "new nothing, now 3"
    assert first_difference({**before, "old": 3}, before) == "old 3, now nothing"
