"""`python -m serve.demo RUN|BASELINE`: an endpoint, and pages to try it in a browser."""

from __future__ import annotations

import importlib.util
import logging
import signal
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from algorithms.command import FAILED, fail, mistakes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serve.demonstrating.context import Context
    from serve.demonstrating.processes import Child

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

START_SECONDS = 180.0
NEEDED = ("streamlit", "httpx")


@app.command()
def main(
    target: Annotated[
        str, typer.Argument(metavar="RUN|BASELINE", help="Run folder, policy folder or baseline.")
    ],
    port: Annotated[int, typer.Option(help="Port of the endpoint; 0: a free one.")] = 8000,
    page_port: Annotated[int, typer.Option(help="Port of the pages; 0: a free one.")] = 8501,
    ope: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Result of `offline.evaluate --json`, or its picture; may be given again.",
        ),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(help="Folder of the endpoint, kept; else one that is removed at the end."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of the endpoint.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, or env.KEY the world."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the simulated users' luck.")] = 0,
) -> None:
    """Serve a policy on loopback, and pages on which to be its user."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    for name in NEEDED:
        if importlib.util.find_spec(name) is None:
            fail(f"the demo needs {name}; install it with: pip install 'rllib-recsim[demo]'")
    with ExitStack() as stack:
        with mistakes():
            from serve.demonstrating.results import check_files

            ports = chosen_ports(port, page_port)
            if seed < 0:
                raise ValueError(f"--seed is {seed}; it must be at least 0")
            check_files(ope or [])
            if state is None:
                made = stack.enter_context(tempfile.TemporaryDirectory(prefix="recsim-demo-"))
                state = Path(made) / "serving"
            context = prepare(target, ports[0], state, config, overrides or [], seed, ope or [])
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="recsim-demo-")))
        context.write(folder / "context.json")
        run(context, ports, folder / "context.json", config, overrides or [])


def chosen_ports(port: int, page_port: int) -> tuple[int, int]:
    """Ports of the endpoint and of the pages, both free.

    Raises:
        PortError: one is taken, or both are the same.
    """
    from serve.cluster import LOOPBACK, PortError, free_port

    first = free_port(LOOPBACK, port)
    try:
        second = free_port(LOOPBACK, page_port)
    except PortError as error:
        raise PortError(
            str(error)
            .replace("another --port or --host", "another --page-port")
            .replace("--port is", "--page-port is")
        ) from None
    while page_port == 0 and second == first:
        second = free_port(LOOPBACK, 0)
    if first == second:
        raise PortError(f"--port and --page-port are both {first}; choose two ports")
    return first, second


def prepare(
    target: str,
    port: int,
    state: Path,
    config: Path | None,
    overrides: list[str],
    seed: int,
    ope: list[str],
) -> Context:
    """What the pages need to know.

    Raises:
        ValueError: there is no such policy, or it does not fit the world or the settings.
    """
    from serve.demonstrating.context import Context
    from serve.settings import load_settings

    own = [text for text in overrides if not text.startswith("env.")]
    settings = load_settings(config, own)
    world = world_of(target, [text for text in overrides if text.startswith("env.")])
    return Context(
        url=f"http://127.0.0.1:{port}",
        target=target,
        state=str(state.resolve()),
        world=world,
        seed=seed,
        catalogue=settings.catalogue is not None,
        api_key_file=settings.api_key_file,
        ope=[str(Path(file).resolve()) for file in ope],
    )


def world_of(target: str, overrides: list[str]) -> dict[str, Any] | None:
    """The simulated users of a policy, who remember what it remembers; `None` for own data.

    Raises:
        ValueError: there is no such policy or world, or they do not fit.
    """
    from algorithms.evaluate import load
    from algorithms.evaluate import prepare as trained_in
    from algorithms.evaluation import check_fit
    from envs.registry import make_simulator

    found = load(target)
    if found is not None and "world" not in found.info and not overrides:
        return None
    policy, world = trained_in(target, None, overrides)
    simulator = make_simulator(num_users=1, **world)
    check_fit(policy, simulator)
    history = simulator.history if found is None else policy.history
    return {**world, "history": history.to_json()}


def run(
    context: Context, ports: tuple[int, int], file: Path, config: Path | None, overrides: list[str]
) -> None:
    """Start both, say where the pages are, and stop both at Ctrl-C."""
    from serve.demonstrating.context import VARIABLE
    from serve.demonstrating.processes import Child, stop_all, wait_for
    from serve.run import Stop

    stop = Stop()
    signal.signal(signal.SIGHUP, signal.getsignal(signal.SIGTERM))
    url = f"http://127.0.0.1:{ports[1]}"
    words = ["serve.run", context.target, "--port", str(ports[0]), "--state", context.state]
    words += [] if config is None else ["--config", str(config)]
    # A trained policy brings its features; a baseline has them of the world.
    serving = [text for text in overrides if not text.startswith("env.") or _is_baseline(context)]
    words += [word for text in serving for word in ("--set", text)]
    children: list[Child] = []
    try:
        children.append(Child("endpoint", words))
        pages = ["serve.demonstrating.server", str(ports[1])]
        children.append(Child("pages", pages, {VARIABLE: str(file)}))
        ended = wait_for(
            lambda: is_ready(children, url), children, lambda: stop.asked, START_SECONDS
        )
        if ended is None and not stop.asked:
            print(f"{url} shows {context.target}; endpoint {context.url}; Ctrl-C stops", flush=True)
            ended = wait_for(lambda: False, children, lambda: stop.asked, float("inf"))
    except TimeoutError:
        fail(f"the demo did not start within {START_SECONDS:.0f} s; try again", FAILED)
    finally:
        stop_all(children)
    if ended is not None and not stop.asked:
        _ended(ended)
    print("Stopped.", flush=True)


def _is_baseline(context: Context) -> bool:
    from algorithms.registry import baseline_names

    return context.target in baseline_names()


def is_ready(children: Sequence[Child], url: str) -> bool:
    """Whether the endpoint has printed its line and the pages answer."""
    from serve.demonstrating.processes import answers

    return bool(children[0].lines) and answers(f"{url}/_stcore/health")


def _ended(child: Child) -> None:
    """One of the two has ended by itself; it has said why, unless it was killed."""
    status = child.status or 0
    if status not in (1, 2):
        fail(f"the {child.name} ended with status {status}; start the demo again", FAILED)
    raise typer.Exit(status)


if __name__ == "__main__":
    app()
