"""`python -m serve.run RUN|BASELINE`: answer HTTP until Ctrl-C or SIGTERM."""

from __future__ import annotations

import json
import logging
import signal
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from algorithms.command import FAILED, fail, mistakes, sentence

if TYPE_CHECKING:
    from serve.cluster import Cluster
    from serve.live import Pointer
    from serve.settings import Settings

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

READY_SECONDS = 120.0


@app.command()
def main(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN|BASELINE]",
            help="Run folder, policy folder or baseline; what is live in the state folder if "
            "not given.",
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option(help="Address to answer on; others than loopback are open to your network."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to answer on; 0: a free one.")] = 8000,
    state: Annotated[
        Path, typer.Option(help="Folder of keys, live policies and the raw log.")
    ] = Path("serving"),
    config: Annotated[Path | None, typer.Option(help="YAML file of settings.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a setting, or env.KEY the world of a baseline.",
        ),
    ] = None,
    replicas: Annotated[int | None, typer.Option(help="Processes that answer.")] = None,
) -> None:
    """Serve a policy on this machine, logging what it does."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    stop = Stop()
    with mistakes():
        from algorithms.cluster import quiet
        from serve.cluster import Cluster, StartError, free_port
        from serve.settings import load_settings
        from serve.state import claim

        changes = {} if replicas is None else {"replicas": {"number": replicas}}
        world = [text for text in overrides or [] if text.startswith("env.")]
        own = [text for text in overrides or [] if not text.startswith("env.")]
        settings = load_settings(config, own, changes)
        check_files(settings)
        chosen = free_port(host, port)
        held = claim(state) if state.is_dir() else None
        pointer = chosen_pointer(state, target, world, settings)
        held = held or claim(state)
        check_catalogue(state, settings)
        quiet()
        cluster = Cluster(host, chosen, settings)
    url = f"http://{f'[{host}]' if ':' in host else host}:{chosen}"
    try:
        with cluster:
            stop.take()  # Ray has put a handler of its own, which does not drain
            start(cluster, url, state, settings, stop)
            names = ", ".join(arm.policy.rpartition("/")[2] for arm in pointer.arms)
            print(f"{url} serves {names}; state and log in {state}; Ctrl-C stops", flush=True)
            stop.wait()
    except StartError as error:
        fail(str(error), FAILED)
    if held is not None:
        held.close()
    print("Stopped.", flush=True)


def start(cluster: Cluster, url: str, state: Path, settings: Settings, stop: Stop) -> None:
    """Deploy the endpoint, and wait until it answers.

    Raises:
        StartError: it does not.
    """
    from serve.app import application
    from serve.cluster import LOOPBACK, StartError

    local = url.startswith(f"http://{LOOPBACK}:")
    try:
        cluster.run(application(state.resolve(), settings, local=local))
    except RuntimeError as error:
        raise StartError(f"the endpoint could not be started: {sentence(error)}") from None
    if not await_ready(url, stop):
        raise StartError(
            f"the endpoint at {url} is not ready after {READY_SECONDS:.0f} s; its logs are in "
            "/tmp/ray/session_latest/logs/serve"
        )


class Stop:
    """Set by Ctrl-C or SIGTERM."""

    def __init__(self) -> None:
        """Nothing is set."""
        self._event = threading.Event()
        self.take()

    def take(self) -> None:
        """Take the signals; a second one is not waited for."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._set)

    def _set(self, number: int, frame: FrameType | None) -> None:
        if self._event.is_set():
            raise KeyboardInterrupt
        self._event.set()

    @property
    def asked(self) -> bool:
        """Whether it was set."""
        return self._event.is_set()

    def wait(self) -> None:
        """Until it is set."""
        self._event.wait()


def chosen_pointer(
    state: Path, target: str | None, world: list[str], settings: Settings
) -> Pointer:
    """What to serve: a policy alone, a config's arms, or what is live in the folder.

    Raises:
        ValueError: there is no such policy, or nothing is live.
    """
    from serve.live import DeployError, read_pointer
    from serve.state import asked_for, configure, prepare

    expected = world_of(world) if world else None
    arms = asked_for(settings, target)
    if target is not None:
        return prepare(state, target, expected)
    if arms:
        return configure(state, arms, expected)
    found = read_pointer(state)
    if found is None:
        raise DeployError(
            f"nothing is live in {state}; name a run folder, a policy folder or a baseline, or "
            "arms in a config"
        )
    return found


def check_files(settings: Any) -> None:
    """Read now what replicas will read, so that a mistake ends in a sentence.

    Raises:
        ConfigError: a file cannot be used.
    """
    from serve.replica import api_key
    from serve.safe import load_safe

    api_key(settings)
    load_safe(settings.safe)


def check_catalogue(state: Path, settings: Settings) -> None:
    """The same for the items on the server, once their features are known.

    Raises:
        ConfigError: the file cannot be used.
    """
    from serve.catalogue import load_items
    from serve.state import LOG, read_serving_header

    if settings.catalogue is not None:
        path = Path(settings.catalogue.path)
        load_items(path, read_serving_header(state).spec, state / LOG)


def world_of(overrides: list[str]) -> dict[str, Any]:
    """The world of a baseline, by `env.KEY=VALUE`.

    Raises:
        ValueError: there is no such world, or it does not take that.
    """
    from algorithms.environment import world_of as checked
    from algorithms.layers import override_layer

    layers = [("defaults", {"env": {"name": "interest_evolution"}})]
    return dict(checked([*layers, *map(override_layer, overrides)]))


def await_ready(url: str, stop: Stop) -> bool:
    """Whether it became ready in time; the proxy learns its routes a moment after."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and not stop.asked:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:
                if json.load(answer) == {"status": "ready"}:
                    return True
        except (OSError, ValueError, urllib.error.URLError):
            pass
        time.sleep(0.2)
    return stop.asked


if __name__ == "__main__":
    app()
