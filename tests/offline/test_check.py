"""Whatever is wrong with a log is found, told by file and line, and left out of a clean copy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from offline.check import app
from offline.forget import app as forget
from offline.log import COLUMNS, LogWriter, Pseudonyms, Rows, concatenate, open_log, write_catalogue
from offline.log.json_encode import encode
from offline.log.schema import Header
from tests.offline.log.made import HEADER, HISTORY, SPEC, equal, make_rows

ROWS = make_rows(4, 3)  # sessions s0-0 to s0-3, lines 1 to 12
Row = dict[str, Any]


def put(folder: Path, change: Callable[[list[Row]], Any] = lambda lines: None) -> Path:
    """A log of one file, changed line by line."""
    HEADER.write(folder)
    lines = [json.loads(line) for line in encode(ROWS)]
    change(lines)
    file = folder / "part.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def check(*words: object) -> tuple[int, dict[str, Any]]:
    found = CliRunner().invoke(app, [*map(str, words), "--json"])
    return found.exit_code, json.loads(found.stdout)


def read(folder: Path) -> Rows:
    return concatenate(list(open_log(folder).batches(columns=tuple(COLUMNS))))


def test_a_good_log_is_described(tmp_path: Path) -> None:
    reward = np.tile(np.array([1.0, 2.0, 6.0], np.float32), 4)
    reward[9:] = [2.0, 6.0, 4.0]  # of a session without an end, so not in the return
    arm = np.repeat(np.array(["a", "b"], object), 6)
    source = np.array(["exact"] * 9 + ["none"] * 3, object)
    log_propensity = ROWS["log_propensity"].copy()
    log_propensity[0] = log_propensity[9:] = 0.0
    slots = ROWS["slot_log_propensities"].copy()
    slots[0] = slots[9:] = 0.0
    rows = ROWS.replace(
        reward=reward,
        arm=arm,
        propensity_source=source,
        log_propensity=np.where(source == "none", np.nan, log_propensity).astype(np.float32),
        slot_log_propensities=np.where((source == "none")[:, None], np.nan, slots).astype(
            np.float32
        ),
        terminated=ROWS["terminated"] & (np.arange(12) != 11),
        time=np.arange(12.0),
    )
    with LogWriter(tmp_path, HEADER) as writer:
        writer.write(rows)
    status, found = check(tmp_path)
    assert status == 0 and found["faults"] == [] and found["torn"] == []
    assert (found["rows"], found["sessions"], found["open_sessions"]) == (12, 4, 1)
    assert found["time"] == [0.0, 11.0]
    assert found["policies"] == [
        {"policy": "random", "version": "0", "arm": "a", "rows": 6},
        {"policy": "random", "version": "0", "arm": "b", "rows": 6},
    ]
    assert found["propensities"]["source"] == {"exact": 0.75, "none": 0.25}
    assert found["propensities"]["certain"] == pytest.approx(1 / 12)
    assert found["propensities"]["with_distribution"] == 1.0
    # Sums over three times 1, 2, 6 and 2, 6, 4: 39, and of squares 179.
    assert found["reward"] == {
        "mean": 3.25,
        "std": pytest.approx((179 / 12 - 3.25**2) ** 0.5),
        "min": 1.0,
        "max": 6.0,
    }
    assert found["return"] == {"mean": 9.0, "std": 0.0, "min": 9.0, "max": 9.0}
    assert found["session_length"]["mean"] == 3.0
    assert found["slates"]["slots"] == {"2": 12}
    assert found["slates"]["candidates"]["mean"] == 5.0
    text = CliRunner().invoke(app, [str(tmp_path)]).stdout
    assert text.startswith(f"{tmp_path}: 12 rows, 4 sessions\n  1 sessions have no end\n")
    assert text.endswith("\n0 faults\n")


CASES: dict[str, tuple[Callable[[list[Row]], Any], list[tuple[int, str]], dict[str, int]]] = {
    "a row written twice": (
        lambda lines: lines.insert(2, lines[1]),
        [(3, "a second row for step 1 of its session; the other is {file}:2")],
        {"s0-0": 3, "s0-1": 3, "s0-2": 3, "s0-3": 3},
    ),
    "a missing row": (
        lambda lines: lines.pop(4),
        [(5, "step 2 of its session, but step 1 is missing")],
        {"s0-0": 3, "s0-1": 1, "s0-2": 3, "s0-3": 3},
    ),
    "a missing beginning": (
        lambda lines: lines.pop(3),
        [(4, "step 1 of its session, but step 0 is missing")],
        {"s0-0": 3, "s0-2": 3, "s0-3": 3},
    ),
    "a session that goes on": (
        lambda lines: lines[6].update(terminated=True),
        [(8, "its session goes on after its end, {file}:7")],
        {"s0-0": 3, "s0-1": 3, "s0-2": 1, "s0-3": 3},
    ),
    "an impression id twice": (
        lambda lines: lines[10].update(impression_id="s0-0-0"),
        [(11, "its impression_id is that of {file}:1")],
        {"s0-0": 3, "s0-1": 3, "s0-2": 3, "s0-3": 1},
    ),
    "a row that cannot be read": (
        lambda lines: lines[4].update(reward="1"),
        [
            (5, "'reward' is \"1\"; it must be a number"),
            (6, "step 2 of its session, but step 1 is missing"),
        ],
        {"s0-0": 3, "s0-1": 1, "s0-2": 3, "s0-3": 3},
    ),
    "ids that are not the candidates'": (
        lambda lines: lines[2].update(slate_ids=["x", "y"]),
        [(3, "the slate's ids ['x', 'y'] are not those")],
        {"s0-0": 2, "s0-1": 3, "s0-2": 3, "s0-3": 3},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_faults_are_found_and_fixed(tmp_path: Path, case: str) -> None:
    change, expected, left = CASES[case]
    file = put(tmp_path / "log", change)
    before = file.read_bytes()
    status, found = check(tmp_path / "log", "--fix", tmp_path / "fixed")
    assert status == 1
    assert [fault["line"] for fault in found["faults"]] == [line for line, _ in expected]
    for fault, (_, message) in zip(found["faults"], expected, strict=True):
        assert fault["file"] == str(file)
        assert fault["message"].startswith(message.format(file=file))
    assert file.read_bytes() == before
    clean = read(tmp_path / "fixed")
    assert found["fixed"]["rows"] == len(clean) == sum(left.values())
    assert {n: (clean["session_id"] == n).sum() for n in dict.fromkeys(clean["session_id"])} == left
    assert check(tmp_path / "fixed")[0] == 0
    whole = {name for name, count in left.items() if count == 3}
    same = np.isin(clean["session_id"], list(whole))
    assert equal(clean.take(same), ROWS.take(np.isin(ROWS["session_id"], list(whole))))
    text = CliRunner().invoke(app, [str(tmp_path / "log")])
    assert text.exit_code == 1 and text.stdout.endswith(f"\n{len(expected)} faults\n")
    assert f"\n{file}:{expected[0][0]}: " in text.stdout


def test_a_cut_session_is_truncated(tmp_path: Path) -> None:
    put(tmp_path / "log", lambda lines: lines.pop(4))
    check(tmp_path / "log", "--fix", tmp_path / "fixed")
    clean = read(tmp_path / "fixed")
    assert clean["truncated"].tolist() == [name == "s0-1" for name in clean["session_id"]]
    assert clean["terminated"].sum() == 3


def test_rows_of_a_session_may_lie_in_any_order_and_file(tmp_path: Path) -> None:
    file = put(tmp_path, lambda lines: lines.reverse())
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[::2]))
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "part.jsonl").write_bytes(b"".join(lines[1::2]))
    status, found = check(tmp_path)
    assert status == 0 and found["sessions"] == 4 and found["rows"] == 12


def test_a_torn_line_is_told_but_no_fault(tmp_path: Path) -> None:
    file = put(tmp_path)
    file.write_bytes(file.read_bytes()[:-20])
    status, found = check(tmp_path)
    assert status == 0 and found["rows"] == 11 and found["open_sessions"] == 1
    assert found["torn"][0]["line"] == 12 and "is torn" in found["torn"][0]["message"]


def test_logs_that_cannot_be_opened(tmp_path: Path) -> None:
    status, found = check(tmp_path, "--fix", tmp_path / "fixed")
    assert status == 1 and found["rows"] == 0 and not (tmp_path / "fixed").exists()
    assert found["faults"][0]["message"].endswith("there is no log.json and no shard")
    put(tmp_path / "a")
    (tmp_path / "b").mkdir()
    put(tmp_path / "b")
    (tmp_path / "b" / "log.json").write_text('{"schema_version": 7}')
    status, found = check(tmp_path)
    assert status == 1 and "is of schema version 7" in found["faults"][0]["message"]


def test_a_copy_goes_into_a_new_folder_elsewhere(tmp_path: Path) -> None:
    put(tmp_path / "log")
    inside = CliRunner().invoke(app, [str(tmp_path / "log"), "--fix", str(tmp_path / "log" / "x")])
    assert inside.exit_code == 2 and "lies within the log" in inside.stderr
    used = CliRunner().invoke(app, [str(tmp_path / "log"), "--fix", str(tmp_path)])
    assert used.exit_code == 2 and "is there already" in used.stderr
    # The report is there all the same.
    assert used.stdout.startswith(f"{tmp_path / 'log'}: 12 rows, 4 sessions\n")
    assert used.stdout.endswith("\n0 faults\n")
    status, found = check(tmp_path / "log", "--fix", tmp_path)
    assert status == 2 and found["rows"] == 12 and "fixed" not in found
    new = CliRunner().invoke(app, [str(tmp_path / "log"), "--fix", str(tmp_path / "new")])
    assert new.exit_code == 0
    assert new.stdout.endswith(f"\n0 faults\n{tmp_path / 'new'}: 12 rows without faults\n")


@pytest.mark.parametrize(
    ("method", "verb", "where"), [("read_bytes", "read", "log"), ("write_bytes", "write", "new")]
)
def test_a_catalogue_that_cannot_be_copied_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, verb: str, where: str
) -> None:
    put(tmp_path / "log")
    write_catalogue(tmp_path / "log", ["a"], np.zeros((1, 4), np.float32))
    (catalogue,) = (tmp_path / "log").glob("catalogue-*")

    def failing(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, method, failing)
    found = CliRunner().invoke(app, [str(tmp_path / "log"), "--fix", str(tmp_path / "new")])
    assert found.exit_code == 2
    path = tmp_path / where / catalogue.name
    assert found.stderr == f"cannot {verb} {path}: Input/output error\n"
    assert not list((tmp_path / "new").glob("*catalogue*"))


@pytest.mark.parametrize("format", ["json", "parquet"])
def test_a_user_is_forgotten(tmp_path: Path, format: str) -> None:
    with LogWriter(tmp_path / "log", HEADER, format=format) as writer:
        writer.write(ROWS)
    words = [str(tmp_path / "log"), "--user", "u2", "--out", str(tmp_path / "copy")]
    found = CliRunner().invoke(forget, words)
    assert found.exit_code == 0
    expected = f"{tmp_path / 'copy'}: 3 rows of user 'u2' left out, 9 rows written\n"
    assert found.stdout == expected
    assert equal(read(tmp_path / "copy"), ROWS.take(ROWS["user_id"] != "u2"))
    assert [p.suffix for p in (tmp_path / "copy").glob("part*")] == [
        ".jsonl" if format == "json" else ".parquet"
    ]
    words = [str(tmp_path / "copy"), "--user", "u2", "--out", str(tmp_path / "more")]
    found = CliRunner().invoke(forget, words)
    assert found.exit_code == 2 and "has no rows of that user among its 9" in found.stderr


def test_nobody_is_forgotten_in_a_log_with_faults(tmp_path: Path) -> None:
    put(tmp_path / "log", lambda lines: lines[0].update(reward="1"))
    words = [str(tmp_path / "log"), "--user", "u2", "--out", str(tmp_path / "copy")]
    found = CliRunner().invoke(forget, words)
    assert found.exit_code == 2
    assert "part.jsonl:1: 'reward' is \"1\"; it must be a number" in found.stderr
    assert not (tmp_path / "copy").exists()


def test_a_user_with_a_pseudonym_is_forgotten(tmp_path: Path) -> None:
    key = Pseudonyms(b"0123456789abcdef")
    header = Header(SPEC, HISTORY, "watch_time", "simulated", pseudonyms=key.mark)
    with LogWriter(tmp_path / "log", header, pseudonyms=key) as writer:
        writer.write(ROWS)
    (tmp_path / "key").write_text("0123456789abcdef\n")
    (tmp_path / "other").write_text("another key of 16")
    words = [str(tmp_path / "log"), "--user", "u2", "--out", str(tmp_path / "copy")]
    found = CliRunner().invoke(forget, words)
    assert found.exit_code == 2 and "ids of this log are hashed; give their key" in found.stderr
    found = CliRunner().invoke(forget, [*words, "--key-file", str(tmp_path / "other")])
    assert found.exit_code == 2 and "this is not the key" in found.stderr
    found = CliRunner().invoke(forget, [*words, "--key-file", str(tmp_path / "key")])
    assert found.exit_code == 0
    assert set(read(tmp_path / "copy")["user_id"]) == {key.of(f"u{n}") for n in (0, 1, 3)}
    assert open_log(tmp_path / "copy").header == header


def test_a_copy_keeps_its_catalogue(tmp_path: Path) -> None:
    names = ["a", "b", "c", "d", "e"]
    features = np.arange(20, dtype=np.float32).reshape(5, 4)
    version = write_catalogue(tmp_path / "log", names, features)
    ids = np.array([names] * 12, object)
    rows = ROWS.replace(
        candidates=np.full((12, 5, 4), np.nan, np.float32),
        candidate_ids=ids,
        slate_ids=np.take_along_axis(ids, ROWS["slate"], axis=1),
        catalogue=np.full(12, version, object),
    )
    with LogWriter(tmp_path / "log", HEADER) as writer:
        writer.write(rows)
    status, found = check(tmp_path / "log", "--fix", tmp_path / "copy")
    assert status == 0 and found["fixed"]["rows"] == 12
    original, copied = (sorted((tmp_path / name).iterdir()) for name in ("log", "copy"))
    assert [file.name[:9] for file in original] == ["catalogue", "log.json", "part-0000"]
    for file, twin in zip(original, copied, strict=True):
        assert twin.read_bytes() == file.read_bytes()
