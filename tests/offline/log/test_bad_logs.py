"""Each fault ends in one sentence with file and line, and loses nothing else."""

from __future__ import annotations

import gzip
import json
import logging
import resource
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from offline.log import (
    COLUMNS,
    LogError,
    LogWriter,
    Pseudonyms,
    Rows,
    concatenate,
    open_log,
    write_catalogue,
)
from offline.log.json_encode import encode
from offline.log.parquet import table_of
from tests.offline.log.made import HEADER, make_rows

ROWS = make_rows(4, 3)
Row = dict[str, Any]


@pytest.fixture
def lines(tmp_path: Path) -> list[Row]:
    HEADER.write(tmp_path)
    return [json.loads(line) for line in encode(ROWS)]


def put(folder: Path, lines: list[Row]) -> Path:
    file = folder / "part.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def read(folder: Path) -> Rows:
    return concatenate(list(open_log(folder).batches()))


CHANGES: dict[str, tuple[Callable[[Row], Any], str]] = {
    "a reward as a string": (
        lambda row: row.update(reward="1.5"),
        "'reward' is \"1.5\"; it must be a number",
    ),
    "no reward": (lambda row: row.pop("reward"), "has no 'reward'"),
    "a null reward": (lambda row: row.update(reward=None), "'reward' is null; it must be given"),
    "NaN": (lambda row: row.update(reward=float("nan")), "'reward' is nan; numbers must be finite"),
    "NaN in a list": (
        lambda row: row["user"].__setitem__(1, float("nan")),
        "'user[1]' is nan; numbers must be finite",
    ),
    "a string in a list": (
        lambda row: row["candidates"].__setitem__(7, "x"),
        "'candidates[7]' is \"x\"; it must be a number",
    ),
    "too large a number": (
        lambda row: row.update(reward=1e39),
        "'reward' holds inf; numbers must be finite",
    ),
    "too few features": (
        lambda row: row["candidates"].pop(),
        "'candidates' has 19 entries; there must be 20",
    ),
    "no slate": (lambda row: row.update(slate=3), "has no list 'slate'"),
    "a half position": (
        lambda row: row.update(slate=[0.5, 1]),
        "'slate[0]' is 0.5; it must be a whole number",
    ),
    "a mask of 2": (
        lambda row: row.update(mask=[2, 1, 1, 1, 1]),
        "'mask[0]' is 2; it must be 0 or 1",
    ),
    "a whole flag": (
        lambda row: row.update(terminated=1),
        "'terminated' is 1; it must be true or false",
    ),
    "an id that is a number": (
        lambda row: row.update(session_id=7),
        "'session_id' is 7; it must be a string",
    ),
    "an unknown catalogue": (
        lambda row: row.update(candidates=None, catalogue="v9"),
        "candidates are null, and there is no catalogue",
    ),
    "a propensity of 0": (
        lambda row: row.update(log_propensity=-1e300, slot_log_propensities=[-1e300, 0]),
        "'log_propensity' is -inf: a propensity of 0 for what was shown",
    ),
    "a propensity above 1": (
        lambda row: row.update(slot_log_propensities=[0.5, -1.0]),
        "'slot_log_propensities' is 0.5: a propensity above 1",
    ),
    "a missing propensity": (
        lambda row: row.update(log_propensity=None),
        "'log_propensity' is missing, but the source is not 'none'",
    ),
    "propensities that don't add up": (
        lambda row: row.update(log_propensity=-1.0, slot_log_propensities=[-1.0, -1.0]),
        "'log_propensity' is -1, but its slots add up to -2",
    ),
    "an unknown source": (
        lambda row: row.update(propensity_source="guessed"),
        "'propensity_source' is 'guessed'; allowed are: exact, estimated, none",
    ),
    "a slate item that is no candidate": (
        lambda row: row.update(slate=[0, 9]),
        "the slate [0, 9] shows what is not among the eligible candidates",
    ),
    "a slate item that is not eligible": (
        lambda row: row.update(slate=[0, 1], mask=[1, 0, 1, 1, 1]),
        "the slate [0, 1] shows what is not among the eligible candidates",
    ),
    "an item twice": (
        lambda row: row.update(slate=[1, 1]),
        "the slate [1, 1] shows a candidate twice",
    ),
    "a position below 0": (
        lambda row: row.update(slate=[-1, 1]),
        "the slate [-1, 1] holds a position below 0",
    ),
    "an empty slate": (
        lambda row: row.update(
            slate=[], slate_ids=[], slot_log_propensities=[], greedy=None, response=[]
        ),
        "the slate [-1, -1] holds a position below 0",
    ),
    "another item than pinned": (
        lambda row: row.update(slate=[0, 1], pinned=[-1, 2]),
        "slots are pinned to [-1, 2], but [0, 1] is shown",
    ),
    "an epsilon above 1": (lambda row: row.update(epsilon=2), "'epsilon' is 2.0; from 0 to 1"),
    "a negative temperature": (
        lambda row: row.update(temperature=-1),
        "'temperature' is -1.0; it must not be negative",
    ),
    "a negative step": (lambda row: row.update(step=-1), "'step' is -1; steps count from 0"),
    "two ends": (
        lambda row: row.update(terminated=True, truncated=True),
        "the session is both terminated and truncated",
    ),
    "an epsilon alone missing": (
        lambda row: row.update(epsilon=None),
        "'epsilon' is null, but 'log_weights' is not; give the whole distribution or nothing",
    ),
    "log-weights alone missing": (
        lambda row: row.update(log_weights=None),
        "'log_weights' is null, but 'epsilon' is not",
    ),
    "a temperature alone": (
        lambda row: row.update(log_weights=None, epsilon=None),
        "'log_weights' is null, but 'temperature' is not",
    ),
    "a greedy position that is no candidate": (
        lambda row: row.update(greedy=[0, 5]),
        "'greedy' is [0, 5]: not among the eligible candidates",
    ),
    "a greedy position that is not eligible": (
        lambda row: row.update(slate=[0, 1], greedy=[0, 2], mask=[1, 1, 0, 1, 1]),
        "'greedy' is [0, 2]: not among the eligible candidates",
    ),
    "a greedy position twice": (
        lambda row: row.update(greedy=[3, 3]),
        "'greedy' is [3, 3]: a candidate twice",
    ),
    "greedy positions for some slots": (
        lambda row: row.update(greedy=[3, -1]),
        "'greedy' is [3, -1]: a position below 0",
    ),
    "features here and in a catalogue": (
        lambda row: row.update(catalogue="v1"),
        "features are given, and catalogue 'v1' is named too; leave one of them out",
    ),
    "no session": (lambda row: row.update(session_id=""), "'session_id' is empty"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_fault_is_one_sentence_with_file_and_line(
    tmp_path: Path, lines: list[Row], case: str
) -> None:
    change, message = CHANGES[case]
    change(lines[4])
    file = put(tmp_path, lines)
    with pytest.raises(LogError) as error:
        read(tmp_path)
    assert str(error.value).startswith(f"{file}:5: {message}")
    pieces = list(open_log(tmp_path).pieces())
    assert [len(piece.rows) for piece in pieces] == [11]
    assert pieces[0].lines.tolist() == [1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12]


@pytest.mark.parametrize("junk", [b"{", b"[1]", b"nonsense", b'{"reward":1}', b"\xff\xfe"])
def test_lines_that_are_no_rows(tmp_path: Path, lines: list[Row], junk: bytes) -> None:
    whole = encode(ROWS)
    (tmp_path / "part.jsonl").write_bytes(b"".join([*whole[:2], junk + b"\n", *whole[2:]]))
    with pytest.raises(LogError, match=r"part\.jsonl:3: (is|has) no"):
        read(tmp_path)


def test_ids_that_are_not_the_candidates_are_found_when_both_are_read(
    tmp_path: Path, lines: list[Row]
) -> None:
    lines[2]["slate_ids"][0] = "other"
    put(tmp_path, lines)
    assert len(read(tmp_path)) == 12
    names = ("slate", "slate_ids", "candidate_ids")
    with pytest.raises(LogError, match=r"part\.jsonl:3: the slate's ids \['other', "):
        list(open_log(tmp_path).batches(columns=names))


@pytest.mark.parametrize("place", [2, 4])
@pytest.mark.parametrize("format", ["json", "parquet"])
def test_an_empty_id_of_a_candidate_is_found_when_ids_are_read(
    tmp_path: Path, format: str, place: int
) -> None:
    HEADER.write(tmp_path)
    if format == "json":
        lines = [json.loads(line) for line in encode(ROWS)]
        lines[3]["candidate_ids"][place] = ""
        put(tmp_path, lines)
    else:
        ids = table_of(ROWS).column("candidate_ids").to_pylist()
        ids[3][place] = ""
        replace_column(tmp_path, "candidate_ids", ids)
    (piece,) = open_log(tmp_path).pieces(tuple(COLUMNS))
    assert [(f.line, f.message) for f in piece.faults] == [
        (4, "'candidate_ids' holds an empty id; each item needs one")
    ]
    assert piece.lines.tolist() == [1, 2, 3, *range(5, 13)]


def replace_column(folder: Path, name: str, values: list[Any]) -> None:
    """Write all rows as Parquet, with other values in a column."""
    table = table_of(ROWS)
    place = table.schema.names.index(name)
    field = pa.field(name, table.schema.field(name).type)
    changed = table.set_column(place, field, pa.array(values, field.type))
    pq.write_table(changed, folder / "part.parquet")


def test_parquet_rows_with_features_and_a_catalogue_are_faults(tmp_path: Path) -> None:
    HEADER.write(tmp_path)
    replace_column(tmp_path, "catalogue", [""] * 6 + ["v1"] + [""] * 5)
    with pytest.raises(LogError, match=r"part\.parquet:7: features are given, and catalogue 'v1'"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"catalogue": np.array(["v1"] * 12, object)},
            "in row 0, features are given, and catalogue 'v1' is named too",
        ),
        (
            {"candidate_ids": np.where(np.arange(5) == 2, "", ROWS["candidate_ids"])},
            "in row 0, 'candidate_ids' holds an empty id",
        ),
        (
            {"candidate_ids": np.where(np.arange(5) == 4, "", ROWS["candidate_ids"])},
            "in row 0, 'candidate_ids' holds an empty id",
        ),
    ],
)
def test_rows_whose_copies_would_lose_something_are_not_written(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(LogError, match=f"rows cannot be written: {message}"):
        with LogWriter(tmp_path, HEADER) as writer:
            writer.write(ROWS.replace(**changes))


def test_a_whole_last_line_with_a_fault_is_not_torn(tmp_path: Path, lines: list[Row]) -> None:
    lines[11]["reward"] = "1"
    file = put(tmp_path, lines)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(LogError, match=r"part\.jsonl:12: 'reward' is \"1\"; it must be a number"):
        read(tmp_path)


@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_gzip_file_that_breaks_off_between_lines_is_told(
    tmp_path: Path, lines: list[Row], caplog: pytest.LogCaptureFixture, end: bytes
) -> None:
    whole = b"".join(encode(ROWS)).removesuffix(b"\n") + end
    # Flushed, so that all of it can be read, but without the end of the stream.
    packer = zlib.compressobj(wbits=31)
    (tmp_path / "part.jsonl.gz").write_bytes(
        packer.compress(whole) + packer.flush(zlib.Z_SYNC_FLUSH)
    )
    with caplog.at_level(logging.WARNING):
        assert len(read(tmp_path)) == 12
    assert (
        "part.jsonl.gz: the file breaks off; what came after its last line is lost" in caplog.text
    )


@pytest.mark.parametrize("compress", [False, True])
def test_a_torn_last_line_is_reported_and_skipped(
    tmp_path: Path, lines: list[Row], caplog: pytest.LogCaptureFixture, compress: bool
) -> None:
    data = put(tmp_path, lines).read_bytes()
    (tmp_path / "part.jsonl").write_bytes(data[:-30])
    if compress:
        (tmp_path / "part.jsonl.gz").write_bytes(gzip.compress(data)[:-40])
        (tmp_path / "part.jsonl").unlink()
    with caplog.at_level(logging.WARNING):
        found = read(tmp_path)
    assert (found["reward"] == ROWS["reward"][: len(found)]).all()
    assert len(found) == 11 or (compress and len(found) >= 8)
    assert f":{len(found) + 1}: the last line is torn, and is left out" in caplog.text


def test_a_last_line_without_its_break_counts(tmp_path: Path, lines: list[Row]) -> None:
    file = put(tmp_path, lines)
    file.write_bytes(b"\n" + file.read_bytes()[:-1])
    assert len(read(tmp_path)) == 12
    assert next(open_log(tmp_path).pieces()).lines.tolist() == list(range(2, 13))


def test_a_damaged_gzip_file_is_named(tmp_path: Path, lines: list[Row]) -> None:
    (tmp_path / "part.jsonl.gz").write_bytes(b"no gzip at all")
    with pytest.raises(LogError, match=r"part\.jsonl\.gz: cannot be read on \(Not a gzipped file"):
        read(tmp_path)


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(LogError, match=r"holds no log: there is no log\.json and no shard"):
        open_log(tmp_path)
    with pytest.raises(LogError, match="is no folder, file or pattern that matches anything"):
        open_log(tmp_path / "absent-*")
    put(tmp_path, [])
    with pytest.raises(LogError, match=r"is not part of a log: there is no log\.json beside"):
        open_log(tmp_path)
    (tmp_path / "part.jsonl").unlink()
    HEADER.write(tmp_path)
    with pytest.raises(LogError, match=r"is empty: it has a log\.json, but no shards"):
        open_log(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"log\.json is no header of a log: it names no schema_version"),
        ('{"schema_version": 9}', r"is of schema version 9, but this installation reads 1"),
        ('{"schema_version": 1}', r"log\.json is damaged \(KeyError\('features'\)\)"),
    ],
)
def test_bad_headers(tmp_path: Path, lines: list[Row], content: str, message: str) -> None:
    put(tmp_path, lines)
    (tmp_path / "log.json").write_text(content)
    with pytest.raises(LogError, match=message):
        open_log(tmp_path)


def test_mixed_schema_versions(tmp_path: Path, lines: list[Row]) -> None:
    put(tmp_path, lines)
    (tmp_path / "older").mkdir()
    (tmp_path / "older" / "log.json").write_text('{"schema_version": 0}')
    put(tmp_path / "older", lines)
    with pytest.raises(LogError, match=r"older/log\.json is of schema version 0"):
        open_log(tmp_path)


def test_an_unfinished_shard_is_named(
    tmp_path: Path, lines: list[Row], caplog: pytest.LogCaptureFixture
) -> None:
    file = put(tmp_path, lines)
    (tmp_path / ".part-2.jsonl.partial").write_bytes(file.read_bytes())
    with caplog.at_level(logging.WARNING):
        assert len(read(tmp_path)) == 12
    assert ".part-2.jsonl.partial was never finished and is left out" in caplog.text


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("reward", pa.array(["1"] * 12), "the column 'reward' is string; it must be float"),
        ("reward", pa.array([1.0] * 12), "the column 'reward' is double; it must be float"),
        ("reward", None, "there is no column 'reward'"),
    ],
)
def test_parquet_with_other_columns(
    tmp_path: Path, column: str, values: pa.Array | None, message: str
) -> None:
    HEADER.write(tmp_path)
    table = table_of(ROWS)
    place = table.schema.names.index(column)
    changed = table.remove_column(place)
    if values is not None:
        changed = table.set_column(place, column, values)
    pq.write_table(changed, tmp_path / "part.parquet")
    with pytest.raises(LogError, match=message):
        read(tmp_path)


def test_parquet_rows_with_faults_are_told_by_number(tmp_path: Path) -> None:
    HEADER.write(tmp_path)
    table = table_of(ROWS)

    def change(name: str, edit: Callable[[list[Any]], None]) -> None:
        nonlocal table
        values = table.column(name).to_pylist()
        edit(values)
        field = pa.field(name, table.schema.field(name).type)
        table = table.set_column(
            table.schema.names.index(name), field, pa.array(values, field.type)
        )

    change("user", lambda rows: rows.__setitem__(2, [1.0]))
    change("reward", lambda rows: rows.__setitem__(4, None))
    change("reward", lambda rows: rows.__setitem__(6, float("nan")))
    change("log_propensity", lambda rows: rows.__setitem__(8, -np.inf))
    pq.write_table(table, tmp_path / "part.parquet")
    (piece,) = open_log(tmp_path).pieces()
    assert [(fault.line, fault.message) for fault in piece.faults] == [
        (3, "'user' has 1 entries; there must be 3"),
        (5, "'reward' is null; it must be given"),
        (7, "'reward' holds nan; numbers must be finite, or all be missing"),
        (9, "'log_propensity' is -inf: a propensity of 0 for what was shown"),
    ]
    assert piece.lines.tolist() == [1, 2, 4, 6, 8, 10, 11, 12]
    (tmp_path / "part.parquet").write_bytes(b"nothing")
    with pytest.raises(LogError, match=r"part\.parquet: cannot be read as Parquet"):
        read(tmp_path)


def test_impossible_rows_are_not_written(tmp_path: Path) -> None:
    rows = ROWS.replace(reward=np.where(np.arange(12) == 3, np.nan, ROWS["reward"]))
    with LogWriter(tmp_path, HEADER) as writer:
        with pytest.raises(LogError, match="in row 3, 'reward' holds nan"):
            writer.write(rows)
        with pytest.raises(LogError, match="lack the column 'arm'"):
            writer.write(Rows({k: v for k, v in ROWS.columns.items() if k != "arm"}))
        writer.write(ROWS)
    assert len(read(tmp_path)) == 12
    with pytest.raises(LogError, match="format is 'csv'; allowed are: json, parquet"):
        LogWriter(tmp_path, HEADER, format="csv")


@pytest.fixture
def small_disk() -> Iterator[Callable[[int], None]]:
    """Lets files grow no further than so many bytes, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("format", ["json", "parquet"])
def test_without_space_what_was_written_stays_readable(
    tmp_path: Path, small_disk: Callable[[int], None], format: str
) -> None:
    whole = make_rows(100, 4)
    with LogWriter(tmp_path, HEADER, format=format, name="a") as writer:
        writer.write(ROWS)
    small_disk(60_000)
    with pytest.raises(LogError, match=r"cannot go on writing to .*: File too large; the rows"):
        with LogWriter(tmp_path, HEADER, format=format, name="b") as writer:
            for start in range(0, 400, 40):
                writer.write(whole.take(slice(start, start + 40)))
    found = read(tmp_path)
    assert (found["reward"][:12] == ROWS["reward"]).all()
    kept = len(found) - 12
    assert (found["reward"][12:] == whole["reward"][:kept]).all()
    # Lines up to the torn one; a Parquet file without its footer is lost.
    assert kept > 40 if format == "json" else kept == 0
    assert not list(tmp_path.glob(".*"))


def test_a_file_that_cannot_be_rescued_is_one_sentence_too(
    tmp_path: Path, small_disk: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise OSError(5, "Input/output error")

    small_disk(5_000)  # more than the header, less than the rows
    monkeypatch.setattr("offline.log.write.os.truncate", failing)
    with pytest.raises(LogError, match=r"cannot go on writing to .*: File too large"):
        with LogWriter(tmp_path, HEADER) as writer:
            writer.write(ROWS)


def test_a_catalogue_is_written_whole_or_not_at_all(
    tmp_path: Path, small_disk: Callable[[int], None]
) -> None:
    small_disk(1_000)
    ids = [f"item-{number}" for number in range(100)]
    with pytest.raises(LogError, match=r"^cannot write .*catalogue-\w+\.jsonl: File too large$"):
        write_catalogue(tmp_path, ids, np.zeros((100, 4), np.float32))
    assert not list(tmp_path.iterdir())


def test_a_second_writer_of_a_name_is_refused(tmp_path: Path) -> None:
    with LogWriter(tmp_path, HEADER, name="a") as writer:
        writer.write(ROWS)
    with pytest.raises(LogError, match=r"a-00000\.jsonl is there already; give each writer"):
        with LogWriter(tmp_path, HEADER, name="a") as writer:
            writer.write(ROWS.take(slice(1)))
    assert (read(tmp_path)["reward"] == ROWS["reward"]).all()
    with LogWriter(tmp_path, HEADER, name="b") as writer:
        writer.write(ROWS)
    assert len(read(tmp_path)) == 24


def test_ids_can_be_hashed_with_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = Pseudonyms(b"0123456789abcdef")
    with LogWriter(tmp_path, HEADER, pseudonyms=key) as writer:
        writer.write(ROWS)
    assert b'"u0"' not in (tmp_path / "part-00000.jsonl").read_bytes()
    found = concatenate(list(open_log(tmp_path).batches(columns=("user_id", "session_id"))))
    assert found["user_id"][0] == key.of("u0") and len(key.of("u0")) == 32
    assert len(set(found["session_id"])) == 4 and key.of("") == ""
    assert key.of("u0") != Pseudonyms(b"0123456789abcdeF").of("u0")
    (tmp_path / "key").write_bytes(b"0123456789abcdef\n")
    from_file = Pseudonyms.find(tmp_path / "key")
    assert from_file is not None and from_file.mark == key.mark
    monkeypatch.setenv("RECSIM_LOG_KEY", "0123456789abcdef")
    from_environment = Pseudonyms.find(None)
    assert from_environment is not None and from_environment.mark == key.mark
    with pytest.raises(LogError, match="has 5 bytes; give at least 16"):
        Pseudonyms(b"short")
    with pytest.raises(LogError, match=r"cannot read the key .*absent: No such file"):
        Pseudonyms.find(tmp_path / "absent")
