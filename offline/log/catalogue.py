"""Features of items that are written once, where rows name their candidates by id.

A catalogue is a file beside the log's header, a JSON object an item, named after
a hash of what it holds: a changed catalogue is another version.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from offline.log.files import write_whole
from offline.log.rows import Array
from offline.log.schema import LogError

Features = NDArray[np.float32]


class Unknown(KeyError):
    """A catalogue or an item that there is not; the message says which."""


def write_catalogue(folder: Path, ids: Sequence[str], features: Features) -> str:
    """Put a catalogue into the folder of a log.

    Args:
        folder: of the log.
        ids: of the items, all different.
        features: of each, (items, D).

    Returns:
        Its version, which rows name.

    Raises:
        LogError: an id twice, a feature that is not finite, or the disk is full.
    """
    if len(set(ids)) != len(ids) or len(ids) != len(features) or "" in ids:
        raise LogError(
            f"a catalogue of {len(features)} items needs as many different ids, none of them "
            f"empty; got {len(ids)}, {len(set(ids))} of them different"
        )
    if not np.isfinite(features).all():
        item = ids[int((~np.isfinite(features)).any(axis=1).argmax())]
        raise LogError(f"item '{item}' of the catalogue has a feature that is not finite")
    lines = [
        orjson.dumps({"id": key, "features": row}, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n"
        for key, row in zip(ids, np.ascontiguousarray(features, np.float32), strict=True)
    ]
    version = hashlib.sha256(b"".join(lines)).hexdigest()[:12]
    write_whole(_path(folder, version), b"".join(lines))
    return version


def _path(folder: Path, version: str) -> Path:
    return folder / f"catalogue-{version}.jsonl"


class Catalogues:
    """The catalogues of a log, read when they are first needed."""

    def __init__(self, folder: Path, width: int) -> None:
        """Those in a folder, whose items have `width` (D) features."""
        self._folder, self._width = folder, width
        self._read: dict[str, tuple[dict[str, int], Features]] = {}

    @property
    def exist(self) -> bool:
        """Whether there is any."""
        return any(self._folder.glob("catalogue-*.jsonl"))

    def features(self, version: str, ids: Sequence[Sequence[str]]) -> Features:
        """Features of rows of items, (rows, N, D); all rows have N of them.

        Raises:
            Unknown: there is no such catalogue, or no such item in it.
        """
        index, table = self._catalogue(version)
        try:
            flat = np.fromiter(map(index.__getitem__, chain.from_iterable(ids)), np.int64)
        except KeyError as error:
            raise Unknown(f"item {error} is not in catalogue '{version}'") from None
        return table[flat].reshape(len(ids), -1, self._width)

    def fill_in(
        self, candidates: Features, ids: Sequence[Sequence[str] | None], versions: Array
    ) -> Features:
        """Put features where only ids were written.

        Args:
            candidates: features of all rows, (rows, N, D).
            ids: of the candidates, for the rows to fill in; `None` for the others.
            versions: of the catalogue, (rows,).

        Raises:
            Unknown: as in `features`.
        """
        everywhere = [row for row in ids if row is not None]
        alike = len({*versions.tolist()}) == 1 and len({*map(len, everywhere)}) == 1
        if alike and len(everywhere) == len(ids):
            return self.features(str(versions[0]), everywhere)
        wanted: dict[tuple[str, int], list[int]] = {}
        for number, (row, version) in enumerate(zip(ids, versions.tolist(), strict=True)):
            if row is not None:
                wanted.setdefault((version, len(row)), []).append(number)
        for (version, size), numbers in wanted.items():
            chosen = [ids[number] or () for number in numbers]
            candidates[numbers, :size] = self.features(version, chosen)
        return candidates

    def _catalogue(self, version: str) -> tuple[dict[str, int], Features]:
        if version not in self._read:
            path = _path(self._folder, version)
            try:
                lines = path.read_bytes().splitlines()
            except OSError:
                raise Unknown(f"candidates are null, and there is no catalogue {path}") from None
            try:
                items = [orjson.loads(line) for line in lines]
                table = np.array([item["features"] for item in items], np.float32)
                index = {item["id"]: number for number, item in enumerate(items)}
                table = table.reshape(len(items), self._width)
            except (ValueError, KeyError, TypeError) as error:
                raise LogError(f"the catalogue {path} is damaged ({error})") from None
            self._read[version] = index, table
        return self._read[version]
