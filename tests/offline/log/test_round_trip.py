"""What is written is read back, bit by bit."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.history import History
from offline.log import COLUMNS, LEARNING, LogError, LogWriter, Rows, concatenate, open_log
from offline.log.catalogue import write_catalogue
from offline.log.json_encode import encode
from offline.log.schema import Header
from tests.offline.log.made import HEADER, HISTORY, SPEC, equal, make_rows

FORMATS = ("json", "parquet")


def write(folder: Path, rows: Rows, format: str = "json", **options: object) -> Path:
    with LogWriter(folder, HEADER, format=format, **options) as writer:
        writer.write(rows)
    return folder


def read(source: object, columns: tuple[str, ...] = tuple(COLUMNS), rows: int = 8192) -> Rows:
    return concatenate(list(open_log(source).batches(rows, columns)))  # type: ignore[arg-type]


@pytest.mark.parametrize("format", FORMATS)
def test_every_column_comes_back(tmp_path: Path, format: str) -> None:
    rows = make_rows(50, 4)
    assert equal(read(write(tmp_path, rows, format)), rows)


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=50, deadline=None)
@given(bits=st.lists(st.integers(0, 2**32 - 1), min_size=6, max_size=6))
def test_any_float32_comes_back_bit_by_bit(
    tmp_path_factory: pytest.TempPathFactory, format: str, bits: list[int]
) -> None:
    numbers = np.array(bits, np.uint32).view(np.float32)
    numbers = np.where(np.isfinite(numbers), numbers, np.float32(-0.0))
    rows = make_rows(1, 1).replace(
        user=numbers[None, :3], history=numbers[None, 3:5], reward=numbers[5:]
    )
    found = read(write(tmp_path_factory.mktemp("log"), rows, format))
    for name in ("user", "history", "reward"):
        assert found[name].tobytes() == rows[name].tobytes()


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_said_comes_back_as_nothing(tmp_path: Path, format: str) -> None:
    rows = make_rows(2, 3)
    silent = np.array([True, False, True, False, True, False])
    for name, column in COLUMNS.items():
        if column.fill is not None and name != "candidates":
            values = rows[name].astype(column.dtype).copy()
            values[silent] = column.fill
            rows = rows.replace(**{name: values})
    source = np.where(silent, "none", "exact").astype(object)
    assert equal(
        read(write(tmp_path, rows.replace(propensity_source=source), format)),
        rows.replace(propensity_source=source),
    )


@pytest.mark.parametrize("format", FORMATS)
def test_rows_with_fewer_candidates_and_slots_are_padded(tmp_path: Path, format: str) -> None:
    small, large = make_rows(2, 2, 3, 1, seed=1), make_rows(2, 2, 6, 2, seed=2)
    small = small.replace(
        log_weights=np.full((4, 3), np.nan, np.float32),
        epsilon=np.full(4, np.nan),
        temperature=np.full(4, np.nan),
    )
    mixed = concatenate([small, large])
    assert mixed["mask"][0].tolist() == [True, True, True, False, False, False]
    assert mixed["slate"][0, 1] == -1 and mixed["candidates"][0, 3:].sum() == 0.0
    write(tmp_path, mixed.take(np.array([0, 4, 1, 5, 2, 6, 3, 7])), format)
    assert equal(read(tmp_path), mixed.take(np.array([0, 4, 1, 5, 2, 6, 3, 7])))


def test_a_json_row_is_compact_and_literal() -> None:
    rows = make_rows(1, 1, 2, 1).replace(
        user=np.array([[0.1, 1.0, -0.0]], np.float32), reward=np.array([1e-10], np.float32)
    )
    row = encode(rows)[0]
    assert b'"user":[0.1,1,-0.0],' in row and b'"reward":1e-10,' in row
    assert b'"mask":null,"pinned":null,' in row and row.endswith(b"}\n")
    assert list(json.loads(row)) == list(COLUMNS)


@pytest.mark.parametrize("format", FORMATS)
def test_features_of_a_catalogue_are_looked_up(tmp_path: Path, format: str) -> None:
    rows = make_rows(3, 2, 4, 2)
    names = ["a", "b", "c", "d", "e"]
    features = np.arange(20, dtype=np.float32).reshape(5, 4)
    version = write_catalogue(tmp_path, names, features)
    index = np.array([[0, 1, 2, 3], [4, 3, 2, 1]] * 3)
    ids = np.array(names, object)[index]
    rows = rows.replace(
        candidates=np.full((6, 4, 4), np.nan, np.float32),
        candidate_ids=ids,
        slate_ids=np.take_along_axis(ids, rows["slate"], axis=1),
        catalogue=np.array([version] * 6, object),
    )
    write(tmp_path, rows, format)
    assert (read(tmp_path, LEARNING)["candidates"] == features[index]).all()
    inline = make_rows(1, 2, 4, 2, seed=9)
    with LogWriter(tmp_path, HEADER, name="more", format=format) as writer:
        writer.write(concatenate([inline, rows]))
    found = read(tmp_path / f"more-00000.{'jsonl' if format == 'json' else format}")
    assert (found["candidates"][:2] == inline["candidates"]).all()
    assert (found["candidates"][2:] == features[index]).all()


def test_sources_of_many_kinds(tmp_path: Path) -> None:
    rows = make_rows(6, 2)
    for number, format in enumerate(("json", "parquet", "json")):
        part = rows.take(slice(4 * number, 4 * number + 4))
        write(tmp_path / "log" / f"day-{number}", part, format)
    zipped = tmp_path / "log" / "day-2" / "part-00000.jsonl"
    zipped.with_suffix(".jsonl.gz").write_bytes(gzip.compress(zipped.read_bytes()))
    zipped.unlink()
    assert equal(read(tmp_path / "log"), rows)
    assert equal(read(str(tmp_path / "log" / "day-*")), rows)
    assert equal(read(str(tmp_path / "log" / "*" / "part-*")), rows)
    days = [tmp_path / "log" / f"day-{number}" for number in (1, 0, 2)]
    assert equal(read(days), rows)
    assert equal(read(tmp_path / "log" / "day-1" / "part-00000.parquet"), rows.take(slice(4, 8)))


@pytest.mark.parametrize("format", FORMATS)
def test_batches_have_the_size_asked_for(tmp_path: Path, format: str) -> None:
    rows = make_rows(25, 4)
    with LogWriter(tmp_path, HEADER, format=format, shard_bytes=10_000) as writer:
        for start in range(0, 100, 10):
            writer.write(rows.take(slice(start, start + 10)))
    assert len(list(tmp_path.glob("part-*"))) > 2
    batches = list(open_log(tmp_path).batches(37, ("reward", "slate")))
    assert [len(batch) for batch in batches] == [37, 37, 26]
    assert set(batches[0].columns) == {"reward", "slate"}
    assert (concatenate(batches)["reward"] == rows["reward"]).all()
    with pytest.raises(LogError, match="'user' was not read"):
        batches[0]["user"]
    with pytest.raises(LogError, match="no column 'rewards'"):
        next(open_log(tmp_path).batches(37, ("rewards",)))


def test_tensors_share_memory(tmp_path: Path) -> None:
    batch = read(write(tmp_path, make_rows()), LEARNING)
    tensors = batch.tensors()
    assert "session_id" not in tensors and tensors["candidates"].shape == (12, 5, 4)
    tensors["reward"][0] = 7.0
    assert batch["reward"][0] == 7.0


def test_the_header_comes_back(tmp_path: Path) -> None:
    header = Header(SPEC, HISTORY, "watch_time", "simulated", {"name": "somewhere"}, "abc")
    header.write(tmp_path)
    (tmp_path / "part.jsonl").write_bytes(b"".join(encode(make_rows())))
    assert open_log(tmp_path).header == header
    assert Header(SPEC, None).widths["H"] == 0
    other = Header(SPEC, History(SPEC, ()), "watch_time", "simulated")
    with pytest.raises(LogError, match="differ in 'history'"):
        other.write(tmp_path)
