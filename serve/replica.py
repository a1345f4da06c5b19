"""One process that answers: its policies, its part of the log, and what it watches."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from algorithms.layers import ConfigError
from offline.log.files import write_whole
from offline.log.pseudonyms import VARIABLE, Pseudonyms
from offline.log.schema import Header, LogError
from serve.catalogue import Items, load_items
from serve.engine import Engine
from serve.journal import Journal
from serve.keys import Keys
from serve.live import POINTER, DeployError, load_live, read_pointer
from serve.metrics import Metrics
from serve.safe import load_safe
from serve.scaling import Places
from serve.settings import Settings, load_settings
from serve.state import KEYS, LOG, REPORTS, read_serving_header
from serve.watching.access import FOLDER as ACCESS
from serve.watching.access import AccessLog
from serve.watching.reference import REFERENCE, ReferenceFault, load_reference
from serve.watching.scraping import ADDRESSES

if TYPE_CHECKING:
    from fastapi import FastAPI

logger = logging.getLogger(__name__)

API_KEY = "RECSIM_SERVE_API_KEY"
"""Of the environment, where the key may stand that clients send."""


def api_key(settings: Settings) -> str | None:
    """The key that clients must send, or `None`.

    Raises:
        ConfigError: the file cannot be read, or is empty.
    """
    if settings.api_key_file is None:
        return os.environ.get(API_KEY) or None
    try:
        found = Path(settings.api_key_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigError(f"cannot read api_key_file {settings.api_key_file}: {reason}") from None
    if not found.isascii() or not found:
        raise ConfigError(f"api_key_file {settings.api_key_file} holds no key of plain letters")
    return found


def mark(path: Path) -> tuple[int, int, int] | None:
    """Changes whenever a file is replaced or written; `None` where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


class Replica:
    """A state folder being served.

    Attributes:
        engine: answers.
        places: counts the requests that are held.
    """

    def __init__(self, state: Path, settings: Settings, metrics: Metrics | None = None) -> None:
        """Load everything; nothing is served yet.

        Raises:
            ConfigError, DeployError, KeyFault, LogError: something cannot be used.
        """
        self._state, self._settings = state, settings
        self._watched: list[tuple[Path, Callable[[], None]]] = [
            (state / POINTER, self._deploy),
            (state / REFERENCE, self._refer),
        ]
        if settings.catalogue is not None:
            self._watched.append((Path(settings.catalogue.path), self._replace_catalogue))
        # Before anything is read, so that what is replaced meanwhile is read again.
        self._marks = {path: mark(path) for path, _ in self._watched}
        self.places = Places()
        self._header: Header = read_serving_header(state)
        self._keys, self._api_key = Keys.find(state / KEYS), api_key(settings)
        self._catalogue = self._read_catalogue()
        self._name = os.urandom(4).hex()
        self._journal = Journal(state / LOG, self._name, settings.log)
        self.engine = Engine(
            self._header,
            self._keys,
            settings,
            self._journal,
            safe=load_safe(settings.safe),
            metrics=metrics,
            catalogue=self._catalogue,
            pseudonyms=self._pseudonyms(),
        )
        self._access = AccessLog(
            state / ACCESS, self._name, settings.watching.access_log, self.engine.metrics
        )
        self.engine.metrics.sample("recsim_generation", of=self._generation)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._load()
        self._refer()
        self._report()

    def app(self) -> FastAPI:
        """The endpoint; it watches for deployments while it serves."""
        from serve.ingress import make_app

        return make_app(
            self.engine,
            self._keys,
            api_key=self._api_key,
            start=self.start,
            stop=self.stop,
            access=self._access,
            places=self.places,
        )

    def start(self) -> None:
        """Watch in the background."""
        if self._thread is None:
            self._tell_addresses()
            self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop watching, and end the shards of the log."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._flush()
        self._access.close()
        self._journal.close()
        with contextlib.suppress(OSError):
            self._report_file.unlink()

    def _watch(self) -> None:
        while not self._stop.wait(self._settings.watch_seconds):
            for path, changed in self._watched:
                found = mark(path)
                if found != self._marks[path]:
                    self._marks[path] = found
                    changed()
            with contextlib.suppress(OSError):
                os.utime(self._report_file)
            self._flush()

    def _flush(self) -> None:
        """Hand on the figures, and what is to stand in the access log."""
        for hand_on in (self.engine.watch.flush, self._access.flush, self.engine.metrics.flush):
            try:
                hand_on()
            except Exception:  # watching goes on, whatever the exporter does
                logger.exception("The figures cannot be handed on.")

    def _generation(self) -> float | None:
        return None if self.engine.live is None else float(self.engine.live.generation)

    def _tell_addresses(self) -> None:
        """Say where the figures are; nothing is said without Ray."""
        found = [{"url": url} for url in self.engine.metrics.addresses()]
        if not found:
            return
        try:
            write_whole(self._state / ADDRESSES, (json.dumps(found) + "\n").encode())
        except LogError as fault:
            logger.error("%s.", fault)

    def _refer(self) -> None:
        """Take a new reference; drift is not measured without one, or with one that misfits."""
        path = self._state / REFERENCE
        found = None
        if path.exists():
            try:
                found = load_reference(path, self._header.spec)
            except ReferenceFault as error:
                logger.error("Drift is not measured: %s.", error)
        self.engine.watch.refer(found)

    def _load(self) -> None:
        pointer = read_pointer(self._state)
        if pointer is None:
            raise DeployError(f"{self._state} has no live policy; deploy one")
        self.engine.live = load_live(self._state, self._header, pointer)

    def _deploy(self) -> None:
        """Take the new policies, or keep the old ones and say why."""
        try:
            self._load()
        except Exception as error:
            # Whatever is wrong with the new ones, the old ones answer.
            self.engine.metrics.add("recsim_deployments", "refused")
            logger.error("The deployment was not taken: %s", error)
            self._report(" ".join(str(error).split()))
            return
        self.engine.metrics.add("recsim_deployments", "taken")
        self._report()

    @property
    def _report_file(self) -> Path:
        return self._state / REPORTS / f"{self._name}.json"

    def _report(self, error: str = "") -> None:
        """Say which deployment is live here; `serve.deploy` waits for that."""
        assert self.engine.live is not None
        found = {"generation": self.engine.live.generation, "error": error, "time": time.time()}
        try:
            write_whole(self._report_file, json.dumps(found).encode())
        except LogError as fault:
            logger.error("%s.", fault)

    def _pseudonyms(self) -> Pseudonyms | None:
        """What user ids are hashed with, as the log's header says."""
        found = Pseudonyms.find(None)
        if (None if found is None else found.mark) != self._header.pseudonyms:
            raise ConfigError(
                f"{VARIABLE} is not that of the log in {self._state / LOG}, in which user ids are "
                f"{'not ' if self._header.pseudonyms is None else ''}hashed; set the same, or use "
                "another state folder"
            )
        return found

    def _read_catalogue(self) -> Items | None:
        chosen = self._settings.catalogue
        if chosen is None:
            return None
        return Items(load_items(Path(chosen.path), self._header.spec, self._state / LOG), chosen)

    def _replace_catalogue(self) -> None:
        """Take the new items, or keep the old ones and say why."""
        assert self._settings.catalogue is not None
        assert self._catalogue is not None
        path = Path(self._settings.catalogue.path)
        try:
            self._catalogue.table = load_items(path, self._header.spec, self._state / LOG)
        except Exception as error:  # whatever is wrong with the file, the old items stay
            logger.error("The catalogue was not replaced: %s", error)


def plain() -> FastAPI:
    """The endpoint without Ray: `uvicorn --factory serve.replica:plain`.

    The environment's `RECSIM_SERVE_STATE` names a state folder that is ready, and
    `RECSIM_SERVE_CONFIG` a file of settings, if there is one.
    """
    torch.set_num_threads(1)  # a replica is one of several processes, and its work is small
    settings = load_settings(os.environ.get("RECSIM_SERVE_CONFIG") or None)
    return Replica(Path(os.environ.get("RECSIM_SERVE_STATE", "serving")), settings).app()
