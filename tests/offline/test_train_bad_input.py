"""Every mistake ends in one sentence on standard error and status 2, and leaves no folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from algorithms.config import load_config
from algorithms.run import create_run
from offline.learning.data import held_out
from offline.log import LogWriter, Rows
from offline.train import app
from tests.offline.log.made import HEADER, make_rows


def sentence(*arguments: object, status: int = 2) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == status, result.output
    assert result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if " updates, " not in line]
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in lines[0]
    return lines[0]


def write(folder: Path, rows: Rows) -> Path:
    with LogWriter(folder, HEADER) as writer:
        writer.write(rows)
    return folder


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write(tmp_path / "log", make_rows(sessions=40))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name an offline learner to train"),
        (["bcc"], "unknown offline learner 'bcc'; did you mean 'bc'?"),
        (["bc", "--set", "trian.epochs=3"], "unknown key 'trian'; did you mean 'train'?"),
        (["bc", "--set", "bc.hiden=[8]"], "unknown key 'bc.hiden'; did you mean 'hidden'?"),
        (["bc", "--set", "bc.beta=1"], "unknown key 'bc.beta'"),
        (["bc", "--set", "train.epochs=0"], "train.epochs is 0"),
        (["bc", "--set", "train.epochs=null"], "both null; limit one of them"),
        (["bc", "--set", "train.holdout=1"], "train.holdout is 1"),
        (["bc", "--set", "train.holdout=0"], "set train.select to last"),
        (["bc", "--set", "algorithm=marwil"], "but the command says 'bc'"),
        (["bc", "--workers", "-1"], "--workers: workers is -1"),
        (["bc", "--seed", "-1"], "--seed: seed is -1"),
        (["bc", "--config", "absent.yaml"], "cannot read the config absent.yaml"),
        (["bc", "--init", "absent"], "holds no policy"),
        (["bc", "--set", "history=[{what: nothing}]"], "names 'nothing', which is none of"),
        (["bc", "--set", "slate_size=0"], "slate_size is 0"),
        (["bc", "--set", "bc.hidden=[100000000000]"], "lower bc.hidden or bc.item_hidden"),
        (["bc", "--set", "train.memory_gb=1e6"], "that train.memory_gb asks for; lower it"),
        (["marwil", "--set", "marwil.advantage=two_step"], "marwil.advantage is two_step"),
    ],
)
def test_flags(arguments: list[str], message: str, log: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert message in sentence(*arguments, "--data", log, "--out", out)
    assert not out.exists()


def test_no_log_is_named(tmp_path: Path) -> None:
    assert "give its folder with --data" in sentence("bc", "--out", tmp_path / "run")


def test_folders_without_a_log(tmp_path: Path) -> None:
    out = ("--out", tmp_path / "run")
    assert "no folder, file or pattern" in sentence("bc", "--data", tmp_path / "absent", *out)
    (tmp_path / "empty").mkdir()
    assert "holds no log" in sentence("bc", "--data", tmp_path / "empty", *out)
    HEADER.write(tmp_path / "log")
    assert "is empty" in sentence("bc", "--data", tmp_path / "log", *out)
    (tmp_path / "log" / "part-0.jsonl").touch()
    assert "has no rows" in sentence("bc", "--data", tmp_path / "log", *out)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slate": [0, 0]}, "shows a candidate twice"),
        ({"slate": []}, "holds a position below 0"),
        ({"slate": [0, 99]}, "not among the eligible candidates"),
        ({"user": [1.0, None, 3.0]}, "user"),
        ({"reward": "1"}, "reward"),
        ({"reward": 1e99}, "'reward' holds inf"),
    ],
)
def test_rows_that_cannot_be(
    change: dict[str, object], message: str, log: Path, tmp_path: Path
) -> None:
    file = next(log.glob("*.jsonl"))
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    # Far into the log, so that it has begun to be read.
    lines[70] |= change
    if "slate" in change:
        for name in ("slate_ids", "response", "slot_log_propensities", "greedy", "pinned"):
            width = len(lines[70][name] or []) // 2
            lines[70][name] = lines[70][name] and lines[70][name][: width * len(change["slate"])]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = sentence("bc", "--data", log, "--out", tmp_path / "run")
    assert f"{file}:71: " in found and message in found
    assert not (tmp_path / "run").exists()


def test_a_session_that_misses_a_step(tmp_path: Path) -> None:
    rows = make_rows(sessions=5)
    kept = np.ones(len(rows), np.bool_)
    kept[4] = False
    found = sentence("bc", "--data", write(tmp_path / "log", rows.take(kept)))
    assert "no row for step 1" in found


def test_two_logs_whose_sessions_share_their_ids(log: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other", make_rows(sessions=40))
    found = sentence("bc", "--data", log, "--data", other, "--out", tmp_path / "run")
    assert "two rows for step 0" in found and "record one anew with another --seed" in found


def test_sessions_without_an_end_have_no_return(tmp_path: Path) -> None:
    rows = make_rows(sessions=5).replace(terminated=np.zeros(15, np.bool_))
    data = ("--data", write(tmp_path / "log", rows))
    found = sentence("marwil", *data, "--out", tmp_path / "run", "--set", "train.holdout=0")
    assert "no session to learn from" in found and not (tmp_path / "run").exists()


def test_weights_of_something_else(log: Path, tmp_path: Path) -> None:
    small = ("--set", "train.updates=1", "--set", "bc.hidden=[8]")
    begun = CliRunner().invoke(
        app, ["bc", "--data", str(log), "--out", f"{tmp_path}/first", *small]
    )
    assert begun.exit_code == 0, begun.output
    flags = ("--data", log, "--init", tmp_path / "first")
    assert "does not fit: it is a policy of bc, not of marwil" in sentence("marwil", *flags)
    assert "does not fit: Error(s) in loading state_dict" in sentence("bc", *flags)
    terms = "history=[{what: watch_time}]"
    assert "has other history terms" in sentence("bc", *flags, *small, "--set", terms)


def test_what_cannot_be_resumed(log: Path, tmp_path: Path) -> None:
    assert "is not a run folder" in sentence("--resume", tmp_path / "absent")
    online = create_run(load_config("slateq"), tmp_path / "online")
    assert "is a run of `algorithms.train`, not of `offline.train`" in sentence(
        "--resume", online.path
    )
    run = tmp_path / "run"
    small = ["--set", "train.updates=1", "--set", "bc.hidden=[8]"]
    begun = CliRunner().invoke(app, ["bc", "--data", str(log), "--out", str(run), *small])
    assert begun.exit_code == 0, begun.output
    assert "--resume continues a run as it began, so --data has no place" in sentence(
        "--resume", run, "--data", log
    )
    assert "is a run of 'bc', not of 'marwil'" in sentence("marwil", "--resume", run)
    assert "is there already" in sentence("bc", "--data", log, "--out", run)


def test_an_offline_run_is_none_of_online_training(log: Path, tmp_path: Path) -> None:
    from algorithms.train import app as online

    run = tmp_path / "run"
    small = ["--set", "train.updates=1", "--set", "bc.hidden=[8]"]
    assert (
        CliRunner().invoke(app, ["bc", "--data", str(log), "--out", str(run), *small]).exit_code
        == 0
    )
    result = CliRunner().invoke(online, ["--resume", str(run)])
    assert result.exit_code == 2
    assert "is a run of `offline.train`, not of `algorithms.train`" in result.stderr


def test_a_disk_that_is_full_keeps_what_was_saved(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from algorithms.run import RunFolder

    saves = RunFolder.save_step

    def full(self: RunFolder, steps: int, *rest: object) -> object:
        if steps > 2:
            raise OSError(28, "No space left on device")
        return saves(self, steps, *rest)

    monkeypatch.setattr(RunFolder, "save_step", full)
    flags = (
        "--set",
        "train.updates=9",
        "--set",
        "train.checkpoint_every=2",
        "--set",
        "bc.hidden=[8]",
    )
    found = sentence("bc", "--data", log, "--out", tmp_path / "run", *flags, status=1)
    assert "No space left on device; 2 updates are saved, continue with" in found


def test_numbers_that_explode(log: Path, tmp_path: Path) -> None:
    flags = ("--set", "bc.lr=1e38", "--set", "bc.layer_norm=false", "--set", "bc.hidden=[]")
    found = sentence("bc", "--data", log, "--out", tmp_path / "run", *flags, status=1)
    assert "lower lr or grad_clip" in found
    # Nothing had been saved, so that nothing is in the way of the next try.
    assert f"nothing had been saved, and {tmp_path / 'run'} is removed; start again" in found
    assert not (tmp_path / "run").exists()


def test_a_world_that_cannot_be_played_is_told_before_training(log: Path, tmp_path: Path) -> None:
    header = json.loads((log / "log.json").read_text())
    out = tmp_path / "run"
    for world, reason in (
        ({"name": "interest_evolution"}, "the policy could not play the world of"),
        ({"name": "nowhere"}, "nowhere"),
    ):
        (log / "log.json").write_text(json.dumps({**header, "world": world}))
        assert reason in sentence("bc", "--data", log, "--out", out)
        assert not out.exists()


def test_numbers_that_explode_only_where_they_are_held_out(tmp_path: Path) -> None:
    rows = make_rows(sessions=60)
    candidates = rows["candidates"].copy()
    candidates[held_out(rows["session_id"], 0.05)] = 3e38
    log = write(tmp_path / "log", rows.replace(candidates=candidates))
    large = ("--set", "bc.lr=1", "--set", "bc.warmup_updates=0")
    flags = ("--out", tmp_path / "run", "--set", "train.updates=3", *large)
    found = sentence("bc", "--data", log, *flags, status=1)
    assert found.startswith("'held_out/loss' is ") and "after 3 updates; lower lr" in found


def test_ctrl_c_before_anything_was_learned_leaves_no_folder(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*given: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("offline.learning.loop.Feed", stopped)
    found = sentence("bc", "--data", log, "--out", tmp_path / "run", status=130)
    assert (
        found == f"Stopped; nothing had been saved, and {tmp_path / 'run'} is removed; start again"
    )
    assert not (tmp_path / "run").exists()
