"""Runs side by side on Ray: a process each, and one that dies loses no other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import typer
from rich.console import Console

from algorithms.compare import conclude
from algorithms.comparison import execute
from algorithms.comparison.execute import ComparisonProgress, run_all
from algorithms.comparison.plan import Job, load_comparison
from algorithms.comparison.runs import Ended, perform


class Stop:
    """Asks to stop from some moment on, or never."""

    def __init__(self, asked: bool = False) -> None:
        self.asked = asked

    def check(self) -> None:
        pass


def one_dies(job: Job, folder: Path, stop: Path) -> Ended:
    if job.seed == 1:
        os._exit(7)
    return Ended("finished", str(os.getpid()))


def progress(folder: Path, total: int) -> ComparisonProgress:
    return ComparisonProgress(folder, total, 0, Console(file=(folder / "said").open("w")))


def test_a_process_that_dies_loses_no_other_run(
    cluster: None, write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute, "perform", one_dies)
    jobs = load_comparison(write()).jobs
    with progress(tmp_path, len(jobs)) as shown:
        found = run_all(jobs, tmp_path, 2, Stop(), shown)
    assert [found[job.name].status for job in jobs] == ["finished", "failed", "finished"]
    assert found[jobs[1].name].message.startswith("its process has ended")
    # Each has a process of its own, so that its CPU-seconds are its own.
    assert found[jobs[0].name].message != found[jobs[2].name].message
    said = (tmp_path / "said").read_text()
    assert f"{jobs[0].name} is finished, " in said
    assert f"{jobs[1].name} failed: its process has ended" in said


def test_once_asked_to_stop_nothing_starts(cluster: None, write, tmp_path: Path) -> None:
    jobs = load_comparison(write()).jobs
    with progress(tmp_path, len(jobs)) as shown:
        assert run_all(jobs, tmp_path, 2, Stop(asked=True), shown) == {}


def test_a_failed_run_is_named_after_the_table(
    write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    comparison = load_comparison(write())
    random = comparison.jobs[-1]
    assert perform(random, tmp_path / "runs", tmp_path / "stop") == Ended("finished")
    with pytest.raises(typer.Exit) as ended:
        conclude(comparison, tmp_path, {"slateq-0": Ended("failed", "no luck")})
    assert ended.value.exit_code == 1
    said = capsys.readouterr()
    assert "random" in said.out
    assert said.out.splitlines()[-1] == "slateq-0 failed: no luck"
    assert said.err == "1 of 3 runs failed; see above\n"
    assert (tmp_path / "compare.json").exists()
    assert (tmp_path / "compare.png").exists()
