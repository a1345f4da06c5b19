"""Reads a log as a stream of columns; memory does not grow with the log."""

from __future__ import annotations

import glob
import gzip
import logging
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from offline.log import parquet, sessions
from offline.log.catalogue import Catalogues
from offline.log.json_decode import decode
from offline.log.json_faults import is_json
from offline.log.rows import Array, Decoded, Rows, concatenate
from offline.log.schema import HEADER, Header, LogError, check_agreement, chosen, read_header
from offline.log.validate import faults

logger = logging.getLogger(__name__)

PATTERNS = ("*.jsonl", "*.jsonl.gz", "*.parquet")
_CHUNK = 2**21
_PIECE = 4096


class Fault(NamedTuple):
    """Something that is wrong with a log.

    Attributes:
        file: where.
        line: of a JSON file, or row of a Parquet file, from 1; 0 for the whole file.
        message: what.
    """

    file: Path
    line: int
    message: str

    def __str__(self) -> str:
        """`file:line: message`."""
        where = f"{self.file}:{self.line}" if self.line else f"{self.file}"
        return f"{where}: {self.message}"


class Piece(NamedTuple):
    """Consecutive lines of a file.

    Attributes:
        file: which.
        rows: the good ones.
        lines: numbers of their lines, from 1, (rows,).
        faults: what is wrong with the others, in order.
        torn: said of a last line that was not finished and is left out, or of a
            compressed file that breaks off between lines.
    """

    file: Path
    rows: Rows
    lines: Array
    faults: list[Fault]
    torn: Fault | None = None


@dataclass(frozen=True)
class Log:
    """A log that can be read; see `open_log`.

    Attributes:
        header: what all its rows have in common.
        shards: files and the folders of their headers, in the order of reading.
    """

    header: Header
    shards: tuple[tuple[Path, Path], ...]

    def batches(self, rows: int = 8192, columns: Sequence[str] | None = None) -> Iterator[Rows]:
        """Rows in the order of the files, so many at a time.

        Args:
            rows: in a batch; fewer in the last one.
            columns: to read; `schema.LEARNING` if not given.

        Raises:
            LogError: a fault, with file and line. A line torn at the end of a file is only
                warned of.
        """
        waiting: list[Rows] = []
        count = 0
        for piece in self.pieces(columns):
            if piece.torn is not None:
                logger.warning("%s.", piece.torn)
            if piece.faults:
                raise LogError(f"{piece.faults[0]}; `python -m offline.check` lists all faults")
            part = piece.rows
            while count + len(part) >= rows:
                taken = rows - count
                yield concatenate([*waiting, part.take(slice(taken))])
                part, waiting, count = part.take(slice(taken, None)), [], 0
            if len(part):
                waiting.append(part)
                count += len(part)
        if waiting:
            yield concatenate(waiting)

    def sessions(self, rows: int = 8192, columns: Sequence[str] | None = None) -> Iterator[Rows]:
        """Whole sessions, each in consecutive rows in the order of its steps.

        A session that has not ended is held back to the end of the log. So memory grows
        with the number of sessions that are open at a time.

        Args:
            rows: in a batch, at least.
            columns: as in `batches`; session, step and end are always read.
        """
        names = {*chosen(columns), *sessions.NEEDED}
        return sessions.whole(self.batches(rows, tuple(names)), rows)

    def pieces(self, columns: Sequence[str] | None = None) -> Iterator[Piece]:
        """Lines as they lie in the files, with their faults."""
        names = chosen(columns)
        catalogues: dict[Path, Catalogues] = {}
        for file, folder in self.shards:
            if folder not in catalogues:
                catalogues[folder] = Catalogues(folder, self.header.spec.candidate_size)
            if file.suffix == ".parquet":
                pieces = _parquet_pieces(file, self.header, names, catalogues[folder])
            else:
                pieces = _json_pieces(file, self.header, names, catalogues[folder])
            yield from pieces


def open_log(source: str | Path | Sequence[str | Path]) -> Log:
    """A log to read.

    Args:
        source: a folder with shards (JSON lines, gzipped or not, or Parquet) anywhere in it,
            a pattern such as `logs/2026-*`, a file, or several of these.

    Raises:
        LogError: there is nothing to read, or the headers differ.
    """
    sources = [source] if isinstance(source, str | Path) else source
    files = sorted({file for one in sources for file in _files(str(one))})
    shards = tuple((file, _folder(file)) for file in files)
    headers = {folder / HEADER: read_header(folder / HEADER) for _, folder in shards}
    check_agreement(headers)
    return Log(next(iter(headers.values())), shards)


def _files(source: str) -> list[Path]:
    matches = [Path(name) for name in glob.glob(source, recursive=True)]
    if not matches:
        raise LogError(f"'{source}' is no folder, file or pattern that matches anything")
    found: list[Path] = []
    for path in sorted(matches):
        if path.is_dir():
            found += _shards(path)
        elif path.name != HEADER and not path.name.startswith("catalogue-"):
            found.append(path)
    if not found:
        if any((path / HEADER).exists() for path in matches):
            raise LogError(f"the log in {source} is empty: it has a {HEADER}, but no shards")
        raise LogError(f"{source} holds no log: there is no {HEADER} and no shard")
    return found


def _shards(folder: Path) -> list[Path]:
    found = []
    for path in sorted(folder.rglob("*")):
        if path.name.endswith(".partial") and path.suffixes[:1] == [".jsonl"]:
            logger.warning(
                "%s was never finished and is left out; rename it to read the rows in it.", path
            )
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and any(path.match(pattern) for pattern in PATTERNS):
            found.append(path)
    return [path for path in found if not path.name.startswith("catalogue-")]


def _folder(file: Path) -> Path:
    """The nearest folder with a header."""
    for folder in file.resolve().parents:
        if (folder / HEADER).exists():
            return folder
    raise LogError(f"{file} is not part of a log: there is no {HEADER} beside or above it")


def _json_pieces(
    file: Path, header: Header, names: Sequence[str], catalogues: Catalogues
) -> Iterator[Piece]:
    first, rest, is_cut = 1, b"", False
    for data in _bytes(file):
        if data is None:
            is_cut = True
            break
        if isinstance(data, Fault):
            yield Piece(file, decode([], header, names, catalogues).rows, no_lines(), [data])
            return
        *lines, rest = (rest + data).split(b"\n")
        if lines:
            yield _piece(file, lines, first, header, names, catalogues)
            first += len(lines)
    if not rest.strip() and not is_cut:
        return
    piece = _piece(file, [rest.strip()], first, header, names, catalogues)
    if piece.faults and not is_json(rest):
        torn = Fault(file, first, "the last line is torn, and is left out")
        piece = piece._replace(faults=[], torn=torn)
    elif is_cut:
        torn = Fault(file, 0, "the file breaks off; what came after its last line is lost")
        piece = piece._replace(torn=torn)
    yield piece


def no_lines() -> Array:
    """Of a piece without rows."""
    return np.zeros(0, np.int64)


def _bytes(file: Path) -> Iterator[bytes | Fault | None]:
    """What a file holds, in chunks, up to where it is damaged; `None` where it breaks off."""
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb", 0) as stream:
            read = stream.read1 if isinstance(stream, gzip.GzipFile) else stream.read
            while data := read(_CHUNK):
                yield data
    except EOFError:
        yield None  # a compressed file that was cut off
    except (OSError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        yield Fault(file, 0, f"cannot be read on ({reason}); use another copy")


def _piece(
    file: Path,
    lines: list[bytes],
    first: int,
    header: Header,
    names: Sequence[str],
    catalogues: Catalogues,
) -> Piece:
    numbers = np.arange(first, first + len(lines))
    if b"" in lines:
        kept = [number for number, line in enumerate(lines) if line.strip()]
        lines, numbers = [lines[number] for number in kept], numbers[kept]
    return _checked(file, decode(lines, header, names, catalogues), numbers)


def _parquet_pieces(
    file: Path, header: Header, names: Sequence[str], catalogues: Catalogues
) -> Iterator[Piece]:
    first = 1
    try:
        for decoded in parquet.read_file(file, header, names, catalogues, _PIECE):
            count = len(decoded.kept) + len(decoded.faults)
            yield _checked(file, decoded, np.arange(first, first + count))
            first += count
    except LogError as error:
        message = str(error).removeprefix(f"{file}: ")
        nothing = decode([], header, names, catalogues).rows
        yield Piece(file, nothing, no_lines(), [Fault(file, 0, message)])


def _checked(file: Path, decoded: Decoded, numbers: Array) -> Piece:
    """Take rows with impossible values out."""
    rows, lines = decoded.rows, numbers[decoded.kept]
    found = [(int(numbers[number]), message) for number, message in decoded.faults]
    if len(rows) and (impossible := faults(rows)):
        found += [(int(lines[number]), message) for number, message in impossible]
        good = np.ones(len(rows), np.bool_)
        good[[number for number, _ in impossible]] = False
        rows, lines = rows.take(good), lines[good]
    return Piece(file, rows, lines, [Fault(file, *fault) for fault in sorted(found)])
