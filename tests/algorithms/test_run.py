import errno
import json
from pathlib import Path

import pytest

from algorithms.config import load_config
from algorithms.run import Run, RunError, checksums, create_run, damage, read_run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return create_run(load_config("slateq", None, ["train.keep_checkpoints=2"]), tmp_path / "run")


def save(run: Run, steps: int) -> Path:
    def write(folder: Path) -> None:
        (folder / "rllib").mkdir()
        (folder / "rllib" / "weights").write_text(f"weights of {steps}")

    return run.save_step(steps, write, {"env_steps": steps}).path


def test_a_run_is_read_back(run: Run) -> None:
    assert read_run(run.path) == run


def test_a_folder_in_use_is_refused(run: Run) -> None:
    with pytest.raises(RunError, match="is there already"):
        create_run(run.config, run.path)


def test_an_empty_folder_may_be_used_and_nothing_else_is_left(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    create_run(load_config("slateq"), tmp_path / "empty")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_runs_of_one_second_get_different_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda form: "20260101-000000")
    config = load_config("slateq")
    names = [create_run(config).path.name for _ in range(2)]
    assert names == [
        "slateq-interest_evolution-20260101-000000",
        "slateq-interest_evolution-20260101-000000-2",
    ]


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write the run folder"):
        create_run(load_config("slateq"), tmp_path / "file" / "run")


def test_a_full_disk_is_noticed_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("algorithms.run.MINIMUM_FREE", 2**80)
    with pytest.raises(RunError, match="MB left"):
        create_run(load_config("slateq"), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_the_last_checkpoints_are_kept(run: Run) -> None:
    for steps in (100, 200, 1000):
        save(run, steps)
    assert sorted(p.name for p in run.checkpoints.iterdir()) == [
        "step-000000000200",
        "step-000000001000",
    ]
    assert run.latest().state == {"env_steps": 1000}


def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    save(run, 100)
    (save(run, 200) / "rllib" / "weights").write_text("torn")
    assert run.latest().state == {"env_steps": 100}
    assert "rllib/weights has changed" in caplog.text


@pytest.mark.parametrize("name", ["rllib/weights", "checksums.json", "state.json"])
def test_a_missing_file_is_damage(run: Run, name: str) -> None:
    path = save(run, 100)
    assert damage(path) is None
    (path / name).unlink()
    assert name.rpartition("/")[2] in str(damage(path))


def test_only_damaged_checkpoints_end_in_a_sentence(run: Run) -> None:
    (save(run, 100) / "rllib" / "weights").write_text("torn")
    with pytest.raises(RunError, match=r"every checkpoint of .* is damaged"):
        run.latest()


def test_no_checkpoint_ends_in_a_sentence(run: Run) -> None:
    with pytest.raises(RunError, match="has no checkpoint yet"):
        run.latest()


def test_a_failing_disk_keeps_the_last_good_checkpoint(run: Run) -> None:
    save(run, 100)

    def fail(folder: Path) -> None:
        (folder / "rllib").mkdir()
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        run.save_step(200, fail, {"env_steps": 200})
    assert [p.name for p in run.checkpoints.iterdir()] == ["step-000000000100"]
    assert run.latest().state == {"env_steps": 100}


def test_saving_a_name_again_replaces_it(run: Run) -> None:
    for content in ("old", "new"):
        run.save("best", lambda folder, text=content: (folder / "x").write_text(text), {})  # type: ignore[misc]
    assert (run.checkpoints / "best" / "x").read_text() == "new"
    assert list(checksums(run.checkpoints / "best")) == ["state.json", "x"]


def test_results_are_whole_or_absent(run: Run) -> None:
    assert run.result() is None
    with pytest.raises(ValueError, match="JSON compliant"):
        run.write_result({"return_mean": float("nan")})
    assert run.result() is None
    run.write_result({"return_mean": 1.0})
    assert run.result() == {"return_mean": 1.0}


def test_a_damaged_result_is_one_sentence(run: Run) -> None:
    (run.path / "result.json").write_text('{"return_mean": 1')
    with pytest.raises(RunError, match=r"result\.json is damaged; remove it"):
        run.result()


def test_no_run_folder(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a run folder: it is no folder"):
        read_run(tmp_path / "absent")
    with pytest.raises(RunError, match=r"is not a run folder: it has no readable run\.json"):
        read_run(tmp_path)


def test_a_newer_version_is_refused(run: Run) -> None:
    about = run.path / "run.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), "format": 99}))
    with pytest.raises(RunError, match=r"version 99, newer than .* upgrade"):
        read_run(run.path)


def test_a_config_edited_wrongly_is_one_sentence(run: Run) -> None:
    file = run.path / "config.yaml"
    file.write_text(file.read_text() + "\nsed: 3\n")
    with pytest.raises(RunError, match="unknown key 'sed'; did you mean 'seed'"):
        read_run(run.path)
