from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from offline.log.schema import Header
from serve.journal import Journal, Shards, recent_shape, write_header
from serve.settings import LogSection
from tests.serve.conftest import Clock


def shards(folder: Path, clock: Clock, **options: object) -> Shards:
    settings = LogSection(rotate_mb=30 / 2**20, rotate_seconds=60, sync_seconds=60)
    return Shards(folder, "impressions", "ab", settings, clock=clock, **options)  # type: ignore[arg-type]


def test_a_line_is_there_as_soon_as_it_is_written(tmp_path: Path, clock: Clock) -> None:
    log = shards(tmp_path, clock)
    assert log.append(b"one\n")
    (file,) = tmp_path.iterdir()
    assert file.name == "impressions-20231114T221320Z-ab-00000.jsonl"
    assert file.read_bytes() == b"one\n"  # neither closed nor flushed by us
    log.close()


def test_shards_rotate_by_size_and_time(tmp_path: Path, clock: Clock) -> None:
    log = shards(tmp_path, clock)
    for _ in range(3):
        log.append(b"fifteen bytes.\n")  # 30 bytes fill a shard
    clock.now += 61
    log.append(b"late\n")
    log.close()
    texts = [path.read_bytes() for path in sorted(tmp_path.iterdir())]
    assert texts == [b"fifteen bytes.\n" * 2, b"fifteen bytes.\n", b"late\n"]
    assert log.health.written == 4


class Disk:
    """Takes so many bytes, then is full."""

    def __init__(self, room: int) -> None:
        self.room = room

    def __call__(self, file: int, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = os.write(file, data[: self.room])
        self.room -= taken
        return taken


def test_a_full_disk_loses_whole_lines_and_says_so(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    disk = Disk(room=8)
    log = shards(tmp_path, clock, write=disk)
    assert log.append(b"first\n")
    assert not log.append(b"second\n")  # 2 bytes of it fit
    assert not log.append(b"third\n")
    disk.room = 100
    assert log.append(b"fourth\n")
    log.close()
    (file,) = tmp_path.iterdir()
    assert file.read_bytes() == b"first\nfourth\n"
    assert (log.health.written, log.health.lost, log.health.failing) == (2, 2, False)
    said = [record.message for record in caplog.records]
    assert len(said) == 2
    assert "No space left on device. Answers go on, but are not logged" in said[0]
    assert "2 lines were lost" in said[1]


def test_a_write_in_two_parts_is_one_line(tmp_path: Path, clock: Clock) -> None:
    def slow(file: int, data: bytes) -> int:
        return os.write(file, data[:4])

    log = shards(tmp_path, clock, write=slow)
    assert log.append(b"a long line\n")
    log.close()
    assert next(tmp_path.iterdir()).read_bytes() == b"a long line\n"


def test_a_folder_that_is_gone_stops_nothing(tmp_path: Path, clock: Clock) -> None:
    log = shards(tmp_path / "gone", clock)
    assert not log.append(b"one\n")
    (tmp_path / "gone").mkdir()
    assert log.append(b"two\n")
    log.close()


def test_two_replicas_never_share_a_shard(tmp_path: Path, clock: Clock) -> None:
    one, two = shards(tmp_path, clock), shards(tmp_path, clock)
    assert one.append(b"one\n")
    assert not two.append(b"two\n")  # the same name: refused, not mixed


def test_the_header_says_what_rows_mean(tmp_path: Path, header: Header) -> None:
    write_header(tmp_path, header)
    found = json.loads((tmp_path / "serving.json").read_text())
    assert found["serving_version"] == 1
    assert found["clock"] == "unix"
    assert found["features"] == header.spec.to_json()


def test_a_journal_syncs_and_ends_both_kinds(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "ab", LogSection(sync_seconds=0.01))
    assert journal.impressions.append(b"{}\n")
    assert journal.feedback.append(b"{}\n")
    journal.close()
    assert len(list(tmp_path.glob("impressions-*"))) == 1
    assert len(list(tmp_path.glob("feedback-*"))) == 1


def test_what_clients_ask_for_is_read_from_the_last_whole_lines(tmp_path: Path) -> None:
    def lines(slots: int, count: int) -> str:
        row = {"slate": list(range(slots)), "candidate_ids": ["a"] * 8}
        return (json.dumps(row) + "\n") * count

    assert recent_shape(tmp_path) is None
    first, second = (tmp_path / f"impressions-{name}.jsonl" for name in "ab")
    first.write_text(lines(1, 150) + lines(3, 60) + lines(2, 40))
    assert recent_shape(tmp_path) == (3, 8)  # most of the last 100
    second.write_text(lines(5, 1)[:20])
    os.utime(first, (1, 1))
    assert recent_shape(tmp_path) == (3, 8)  # the newest has half a line
    second.write_text(lines(5, 1) + lines(1, 1)[:20])
    assert recent_shape(tmp_path) == (5, 8)
