"""Runs of a comparison in this process: kept, continued, failed; and what is made of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot

from algorithms.comparison import runs
from algorithms.comparison.plan import Comparison, load_comparison
from algorithms.comparison.plots import convergence, draw, picture
from algorithms.comparison.report import (
    cumulative_reward,
    gather,
    reward_while_learning,
    to_json,
)
from algorithms.comparison.runs import Ended, StopFile, is_finished, perform
from algorithms.comparison.table import as_text, number
from algorithms.evaluation import EvaluationResult
from algorithms.layers import ConfigError
from algorithms.metrics import read_rows
from algorithms.policy import Policy
from algorithms.training import Interrupted, Training


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Comparison, Path]:
    """A comparison of two seeds and a baseline, all finished."""
    folder = tmp_path_factory.mktemp("finished")
    path = folder / "small.yaml"
    path.write_text(
        "seeds: [0, 1]\n"
        "environments: [interest_evolution]\n"
        "against: random\n"
        "published_by: a paper\n"
        "evaluate: {users: 20, backend: torch}\n"
        "set: {train.env_steps: 2048, train.users: 16, train.fragment: 16,\n"
        "      train.evaluate_every: null, train.checkpoint_every: 512}\n"
        "entries:\n"
        "  - {algorithm: slateq, label: SlateQ, published: 174.5,\n"
        "     set: {slateq.hidden: [8], slateq.stagger_steps: 4, slateq.epsilon: 0.5}}\n"
        "  - algorithm: random\n"
    )
    comparison = load_comparison(path)
    for job in comparison.jobs:
        ended = perform(job, folder / "runs", folder / "stop")
        assert ended == Ended("finished")
    return comparison, folder


def test_a_run_is_a_run_folder(finished) -> None:
    comparison, folder = finished
    for job in comparison.jobs:
        assert is_finished(job, folder / "runs")
        policy = Policy.load(folder / "runs" / job.name)
        assert policy.algorithm == job.algorithm
        assert policy.info["world"]["name"] == "interest_evolution"


def test_every_policy_meets_the_same_users(write, tmp_path: Path) -> None:
    entries = [{"algorithm": "random"}, {"algorithm": "random", "label": "another"}]

    def returns(seed: int) -> list[list[float]]:
        comparison = load_comparison(write(entries=entries), [f"evaluate.seed={seed}"])
        folder = tmp_path / str(seed)
        for job in comparison.jobs:
            assert perform(job, folder, tmp_path / "stop") == Ended("finished")
        return [line.returns[0].tolist() for line in gather(comparison, folder)]

    first, second = returns(1)
    assert first == second
    other, _ = returns(2)
    assert other != first


def test_another_run_in_the_folder_is_not_overwritten(finished, tmp_path: Path) -> None:
    comparison, folder = finished
    changed = load_comparison(folder / "small.yaml", ["set.train.users=8"])
    with pytest.raises(ConfigError, match=r"was run with train\.users 16, now 8; choose another"):
        is_finished(changed.jobs[0], folder / "runs")
    fewer = load_comparison(folder / "small.yaml", ["evaluate.users=9"])
    with pytest.raises(ConfigError, match=r"was run with evaluate\.users 20, now 9"):
        is_finished(fewer.jobs[-1], folder / "runs")
    foreign = tmp_path / comparison.jobs[-1].name / "thesis.tex"
    foreign.parent.mkdir()
    foreign.touch()
    with pytest.raises(ConfigError, match="is no run of 'random'"):
        is_finished(comparison.jobs[-1], tmp_path)


def test_a_file_in_place_of_a_run_is_a_sentence(finished, tmp_path: Path) -> None:
    comparison, _ = finished
    for job in comparison.jobs:
        (tmp_path / job.name).touch()
        with pytest.raises(ValueError, match=r"Not a directory; choose another|it is no folder"):
            is_finished(job, tmp_path)


@pytest.mark.parametrize("left", [[], [".baseline.json.partial"]])
def test_a_baseline_that_had_hardly_begun_begins_anew(
    finished, tmp_path: Path, left: list[str]
) -> None:
    comparison, _ = finished
    job = comparison.jobs[-1]
    (tmp_path / job.name).mkdir()
    for name in left:
        (tmp_path / job.name / name).touch()
    assert not is_finished(job, tmp_path)
    assert perform(job, tmp_path, tmp_path / "stop") == Ended("finished")
    assert is_finished(job, tmp_path)


@pytest.mark.parametrize("kind", [Policy, EvaluationResult])
def test_a_baseline_that_failed_is_run_again(
    finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type
) -> None:
    comparison, _ = finished
    job = comparison.jobs[-1]

    def full(*_: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(kind, "save", full)
        assert perform(job, tmp_path, tmp_path / "stop").status == "failed"
    assert not is_finished(job, tmp_path)
    assert perform(job, tmp_path, tmp_path / "stop") == Ended("finished")
    assert is_finished(job, tmp_path)


def test_a_stopped_run_continues_from_its_checkpoint(
    finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparison, folder = finished
    job, stop = comparison.jobs[0], tmp_path / "stop"
    begun: list[int] = []
    init = Training.__init__

    def noting(self: Training, *arguments: object) -> None:
        init(self, *arguments)  # type: ignore[arg-type]
        begun.append(self.algo.env_steps)

    monkeypatch.setattr(Training, "__init__", noting)
    with monkeypatch.context() as patched:
        patched.setattr(runs.Silent, "update", lambda *_: stop.touch())
        patched.setattr(runs, "_LOOK_EVERY", 0.0)
        assert perform(job, tmp_path, stop) == Ended("stopped")
    assert not is_finished(job, tmp_path)
    stop.unlink()
    assert perform(job, tmp_path, stop) == Ended("finished")
    assert begun[0] == 0 < begun[1] < job.budget
    path = Path("policy") / "policy.safetensors"
    whole = folder / "runs" / job.name
    assert (tmp_path / job.name / path).read_bytes() == (whole / path).read_bytes()


def test_a_run_without_a_checkpoint_begins_anew(finished, tmp_path: Path) -> None:
    comparison, _ = finished
    job, stop = comparison.jobs[0], tmp_path / "stop"
    stop.touch()
    stops = StopFile(stop)
    with pytest.raises(Interrupted):
        stops.check()
    from algorithms.run import create_run

    assert job.config is not None
    create_run(job.config, tmp_path / job.name)
    stop.unlink()
    assert not is_finished(job, tmp_path)
    assert perform(job, tmp_path, stop) == Ended("finished")


def test_a_failure_is_a_sentence_and_leaves_its_traceback(
    finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparison, _ = finished

    def fail(*_: object) -> None:
        raise RuntimeError("no\nluck")

    monkeypatch.setattr(runs, "_play", fail)
    job = comparison.jobs[-1]
    ended = perform(job, tmp_path, tmp_path / "stop")
    trace = tmp_path / f"{job.name}.traceback.txt"
    assert ended == Ended("failed", f"no luck (see {trace})")
    assert "RuntimeError" in trace.read_text()


def test_the_objects_say_what_it_came_to(finished) -> None:
    comparison, folder = finished
    lines = gather(comparison, folder / "runs")
    objects = {each["algorithm"]: each for each in to_json(comparison, lines)}
    json.dumps(list(objects.values()), allow_nan=False)
    learned, random = objects["slateq"], objects["random"]
    assert (learned["label"], learned["environment"]) == ("SlateQ", "interest_evolution")
    assert (learned["seeds"], learned["env_steps"], learned["ci95_over"]) == ([0, 1], 2048, "seeds")
    assert learned["train_cpu_seconds"] > 0
    assert learned["return_mean"] == pytest.approx(np.mean(learned["return_by_seed"]))
    assert (random["seeds"], random["env_steps"], random["ci95_over"]) == ([], 0, "users")
    difference = learned["difference"]
    assert difference["against"] == "random"
    assert difference["mean"] == pytest.approx(learned["return_mean"] - random["return_mean"])
    assert "difference" not in random
    assert learned["published"] == {"return_mean": 174.5, "by": "a paper"}


def test_the_table_has_a_line_for_each(finished) -> None:
    comparison, folder = finished
    lines = gather(comparison, folder / "runs")
    rows = as_text(comparison, to_json(comparison, lines)).splitlines()
    assert rows[0] == "interest_evolution: 20 users of the torch backend"
    assert rows[1].split()[:2] == ["algorithm", "return"]
    assert rows[1].endswith("a paper")
    learned = next(row for row in rows if row.startswith("  SlateQ"))
    assert " 2,048 " in learned
    assert learned.endswith("174.5")
    assert "]*" in next(row for row in rows if row.startswith("  random"))
    explanation = " ".join(" ".join(rows).split())
    assert "Student's t over seeds, or of the normal approximation over users (*)" in explanation


def test_runs_that_failed_leave_the_others_on_the_table(finished, tmp_path: Path) -> None:
    comparison, folder = finished
    for job in comparison.jobs[1:]:
        (tmp_path / job.name).symlink_to(folder / "runs" / job.name)
    lines = gather(comparison, tmp_path)
    assert {line.label: line.seeds for line in lines} == {"SlateQ": [1], "random": []}
    learned = next(line for line in lines if line.seeds)
    assert learned.mean_return == learned.evaluations[0].mean_return  # over users: one run


def test_the_picture_is_drawn(finished) -> None:
    comparison, folder = finished
    draw(comparison, gather(comparison, folder / "runs"), folder)
    assert (folder / "compare.png").read_bytes().startswith(b"\x89PNG")


def test_every_panel_has_its_title_and_data(finished) -> None:
    comparison, folder = finished
    lines = gather(comparison, folder / "runs")
    figure = picture(comparison, lines, folder / "runs")
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes}
    pyplot.close(figure)
    assert sorted(panels) == [
        "click rate",
        "cumulative reward of all users",
        "final return, 95 % interval, 2 seeds",
        "mean predicted value",
        "return of the sessions played in training",
        "share of slates that explore",
    ]
    final = panels.pop("final return, 95 % interval, 2 seeds")
    means = [container.lines[0].get_xdata()[0] for container in final.containers]
    assert means == [line.mean_return.mean for line in reversed(lines)]
    for title, axes in panels.items():
        curve = next(line for line in axes.lines if not line.get_label().startswith("_"))
        assert curve.get_label() == "SlateQ", title
        assert len(curve.get_ydata()) > 1, title
        assert np.isfinite(curve.get_ydata()).all(), title
        assert max(curve.get_xdata()) == 2048, title


def test_cumulative_reward_counts_every_step() -> None:
    rows = [{"env_steps": 10.0, "reward_per_step": 2.0}, {"env_steps": 30.0, "reward_per_step": 1}]
    assert cumulative_reward(rows).tolist() == [20.0, 40.0]  # 10 * 2, and 20 * 1 more
    assert reward_while_learning(rows) == pytest.approx(40 / 30)
    assert np.isnan(reward_while_learning([]))


def test_what_was_earned_while_learning_stands_beside_the_return(finished) -> None:
    comparison, folder = finished
    objects = to_json(comparison, gather(comparison, folder / "runs"))
    trained = next(each for each in objects if each["algorithm"] == "slateq")
    earned = [
        reward_while_learning(read_rows(folder / "runs" / name / "metrics.csv"))
        for name in trained["runs"]
    ]
    found = trained["learning_reward"]
    assert found["per_step"] == pytest.approx(sum(earned) / 2)
    low, high = found["ci95"]
    assert low < found["per_step"] < high
    assert number(found["per_step"]) in as_text(comparison, objects)
    assert "learning_reward" not in objects[1 - objects.index(trained)]


def test_lines_may_be_ranked_by_what_was_earned_while_learning(finished, tmp_path: Path) -> None:
    _, folder = finished
    path = tmp_path / "learners.yaml"
    again = "  - {algorithm: slateq, label: again}\nmeasure: learning\n"
    text = (folder / "small.yaml").read_text().replace("against: random", "against: again")
    path.write_text(text + again)
    comparison = load_comparison(path)
    # Runs as they might be: the second learner's, but that it earned 1 and 2 less a step.
    for source, name in (("slateq", "slateq"), ("slateq", "again"), ("random", "random")):
        for place in (folder / "runs").glob(f"{source}-*"):
            goal = tmp_path / "runs" / place.name.replace(source, name)
            shutil.copytree(place, goal, dirs_exist_ok=True)
            if name == "again":
                less = 1 + int(place.name[-1])
                rows = read_rows(place / "metrics.csv")
                lines = [f"{row['env_steps']},{row['reward_per_step'] - less}" for row in rows]
                file = goal / "metrics.csv"
                file.write_text("\n".join(["env_steps,reward_per_step", *lines]) + "\n")
    objects = to_json(comparison, gather(comparison, tmp_path / "runs"))
    assert [each["label"] for each in objects] == ["SlateQ", "again", "random"]
    difference = objects[0]["difference"]
    assert (difference["of"], difference["against"]) == ("learning", "again")
    assert difference["per_seed"] == pytest.approx([1.0, 2.0])
    assert difference["mean"] == pytest.approx(1.5)
    # t of one degree is 12.706, the standard error 0.5.
    assert difference["ci95"] == pytest.approx([1.5 - 6.353, 1.5 + 6.353], abs=1e-3)
    assert "difference" not in objects[2]
    assert "of the rewards while learning, paired by seed" in as_text(comparison, objects)


def test_values_are_told_by_what_the_runs_report() -> None:
    weights, values = [{"learner/theta_norm": 2.0}], [{"learner/value": 3.0}]
    title, read = convergence([[weights]])
    assert (title, read(weights).tolist()) == ("norm of the estimated weights", [2.0])
    title, read = convergence([[weights], [values]])
    assert (title, read(values).tolist()) == ("mean predicted value", [3.0])
    assert np.isnan(read(weights)).all()


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), (0.1234, "0.123"), (12.345, "12.35"), (278.46, "278.5")]
)
def test_numbers_have_the_decimals_that_they_are_worth(value: float | None, text: str) -> None:
    assert number(value) == text
