"""The command: refusals before anything starts, and a whole comparison on Ray."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from algorithms.compare import app
from algorithms.comparison.plan import load_comparison
from algorithms.comparison.runs import Ended, perform


def test_an_unknown_algorithm_ends_before_anything_starts(write, tmp_path: Path) -> None:
    out = tmp_path / "out"
    file = write(entries=[{"algorithm": "slatq"}])
    result = CliRunner().invoke(app, [str(file), "--out", str(out)])
    assert result.exit_code == 2
    assert result.stderr == f"{file}: unknown algorithm 'slatq'; did you mean 'slateq'?\n"
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "0"], "--workers is 0; it must be at least 1"),
        (["--set", "sedes=[1]"], "unknown key 'sedes'; did you mean 'seeds'?"),
    ],
)
def test_flags_are_checked(write, arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, [str(write()), *arguments])
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [str(tmp_path / "nowhere.yaml")])
    assert result.exit_code == 2
    assert "cannot read the config" in result.stderr


def test_two_comparisons_do_not_share_a_folder(write, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with (out / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = CliRunner().invoke(app, [str(write()), "--out", str(out)])
    assert result.exit_code == 2
    assert f"another comparison runs in {out}" in result.stderr


def refused(file: Path, out: Path) -> str:
    result = CliRunner().invoke(app, [str(file), "--out", str(out)])
    assert result.exit_code == 2, result.output
    assert len(result.stderr.splitlines()) == 1, result.stderr
    return result.stderr


@pytest.mark.parametrize(
    ("taken", "reason"),
    [("", "Not a directory"), ("runs", "File exists"), (".lock/folder", "Is a directory")],
)
def test_a_folder_that_cannot_be_written_is_one_sentence(
    write, tmp_path: Path, taken: str, reason: str
) -> None:
    out = tmp_path / "out"
    path = out / taken
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("something else")
    assert refused(write(), out) == f"cannot write to {out}: {reason}; choose another --out\n"


@pytest.fixture
def played(write, tmp_path: Path) -> tuple[Path, Path]:
    """The file of a comparison of one baseline, and its folder with that run finished."""
    file, out = write(entries=[{"algorithm": "random"}]), tmp_path / "out"
    (job,) = load_comparison(file).jobs
    assert perform(job, out / "runs", tmp_path / "stop") == Ended("finished")
    return file, out


@pytest.mark.parametrize("name", ["evaluation.npz", "result.json"])
def test_a_damaged_run_is_one_sentence(played: tuple[Path, Path], name: str) -> None:
    file, out = played
    path = out / "runs" / "random-interest_evolution" / name
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"[]", b"{}", b""):
        path.write_bytes(damaged)
        said = refused(file, out)
        assert str(path) in said
        assert said.endswith("; remove that run's folder to run it anew\n")
    path.write_bytes(whole)
    assert CliRunner().invoke(app, [str(file), "--out", str(out)]).exit_code == 0


@pytest.mark.parametrize("name", ["compare.json", "compare.png"])
def test_results_that_cannot_be_written_are_one_sentence(
    played: tuple[Path, Path], name: str
) -> None:
    file, out = played
    (out / name).mkdir()
    said = refused(file, out)
    assert said.startswith(f"cannot write compare.json and compare.png to {out}: Is a directory;")
    assert "the runs are kept" in said


def compare(file: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "algorithms.compare", str(file), "--out", str(out)]
    return subprocess.Popen(
        [*command, "--workers", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_a_comparison_is_stopped_continued_and_kept(write, tmp_path: Path) -> None:
    """About 60 CPU-seconds, most of it importing RLlib in each run's process."""
    out, file = tmp_path / "out", write(set={**_LONG})
    stopped = compare(file, out)
    metrics = out / "runs" / "slateq-interest_evolution-0" / "metrics.csv"
    try:
        deadline = time.monotonic() + 300
        while not metrics.exists():
            assert time.monotonic() < deadline and stopped.poll() is None
            time.sleep(0.1)
    finally:
        stopped.send_signal(signal.SIGINT)
        _, errors = stopped.communicate(timeout=120)
    assert stopped.returncode == 130, errors
    assert errors.splitlines()[-1] == f"Stopped; the same command with --out {out} continues."
    assert list((out / "runs" / "slateq-interest_evolution-0" / "checkpoints").iterdir())
    continued = compare(file, out)
    text, errors = continued.communicate(timeout=240)
    assert continued.returncode == 0, errors
    assert "random-interest_evolution is finished" in errors
    assert text.splitlines()[-1] == f"{out}: compare.json, compare.png and 3 runs"
    objects = json.loads((out / "compare.json").read_text())
    assert {each["algorithm"]: each["seeds"] for each in objects} == {
        "slateq": [0, 1],
        "random": [],
    }
    before = os.stat(out / "runs" / "slateq-interest_evolution-0" / "result.json").st_mtime_ns
    kept = CliRunner().invoke(app, [str(file), "--out", str(out)])
    assert kept.exit_code == 0
    assert kept.stdout == text
    after = os.stat(out / "runs" / "slateq-interest_evolution-0" / "result.json").st_mtime_ns
    assert after == before


_LONG = {
    "train.env_steps": 200_000,
    "train.users": 64,
    "train.fragment": 16,
    "train.evaluate_every": None,
}
