"""`python -m benchmarks.serve.cycle OUT`: does a cycle climb, with nothing but HTTP between?

Users of interest evolution ask an endpoint that begins with `random`; after so many
sessions comes a pass of `serve.cycle`, and so on. It may be stopped and goes on where
it was, and prints what the users earned in each cycle.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import numpy as np
import psutil
import typer

from algorithms.evaluation import Estimate

WORLD: dict[str, Any] = {"name": "interest_evolution", "backend": "torch"}
CHUNK = 500
"""Users that play side by side, after which the benchmark can be stopped."""

STATE = "RECSIM_SERVE_STATE"
START_SECONDS = 120.0
AHEAD_SECONDS = 3600
"""Later than the session gap: when a pass begins, all users have left."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    out: Annotated[Path, typer.Argument(help="Folder; one that is there goes on.")],
    cycles: Annotated[int, typer.Option(help="Cycles of users and a pass.")] = 5,
    sessions: Annotated[int, typer.Option(help="Users a cycle.")] = 20_000,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="A setting of the cycle.")
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Serve by uvicorn, without Ray: on a busy machine.")
    ] = False,
) -> None:
    """Play, and print a line of JSON for each cycle, and a table at the end."""
    out.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with served(out / "serving", plain) as (url, server):
        for number in range(1, cycles + 1):
            done = out / f"cycle-{number}.json"
            if not done.exists():
                found = one(out, url, server, number, sessions, overrides or [])
                partial = done.with_suffix(".partial")
                partial.write_text(json.dumps(found))
                os.replace(partial, done)
            print(done.read_text(), flush=True)
    rows = [json.loads((out / f"cycle-{n}.json").read_text()) for n in range(1, cycles + 1)]
    print(table(rows))
    draw(rows, out / "curve.png")


def one(
    out: Path, url: str, server: psutil.Process, number: int, sessions: int, overrides: list[str]
) -> dict[str, Any]:
    """A cycle: users, then a pass."""
    began, spent = time.monotonic(), _cpu(server)
    parts = []
    for first in range(0, sessions, CHUNK):
        path = out / f"users-{number}-{first}.npz"
        if not path.exists():
            seed = number * 1_000_000 + first
            returns, lengths, arms = play(url, min(CHUNK, sessions - first), seed)
            partial = path.with_suffix(".partial.npz")
            np.savez(partial, returns=returns, lengths=lengths, arms=arms)
            os.replace(partial, path)
            done = f"cycle {number}: {first + len(returns):,} of {sessions:,} sessions"
            print(f"{done}, return {returns.mean():.1f}", file=sys.stderr, flush=True)
        parts.append(np.load(path))
    played = _cpu(server) - spent
    report, cpu = a_pass(out / "serving", overrides)
    columns = {key: np.concatenate([part[key] for part in parts]) for key in parts[0].files}
    return {
        "cycle": number,
        "sessions": len(columns["returns"]),
        "slates": int(columns["lengths"].sum()),
        "return": Estimate.of(columns["returns"]).to_json(),
        "arms": {
            str(arm): {
                "sessions": int((columns["arms"] == arm).sum()),
                "return": Estimate.of(columns["returns"][columns["arms"] == arm]).to_json(),
            }
            for arm in np.unique(columns["arms"])
        },
        "did": report["did"],
        "play_cpu_seconds": played,
        "pass_cpu_seconds": cpu,
        "wall_seconds": time.monotonic() - began,
    }


def play(url: str, users: int, seed: int) -> tuple[Any, Any, Any]:
    """Returns, lengths and arms of fresh users, (users,) each."""
    from serve.simulating.client import Endpoint
    from serve.simulating.play import play as played

    async def run() -> Any:
        async with httpx.AsyncClient(base_url=url, timeout=120, trust_env=False) as http:
            return await played(Endpoint(http, 4, 100), WORLD, users, seed, users)

    found = asyncio.run(run())
    return found.result.returns, found.result.lengths, np.array(found.arms)


def a_pass(state: Path, overrides: list[str]) -> tuple[dict[str, Any], float]:
    """A pass by its command, and the CPU-seconds that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "serve.cycle", str(state), "--json"]
    command += ["--until", str(time.time() + AHEAD_SECONDS)]
    command += [word for text in overrides for word in ("--set", text)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    from serve.cycling.reporting import headline

    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    report["did"] = headline(report)
    print(f"{report['did']}; {report['decision']['why']}", file=sys.stderr, flush=True)
    return report, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@contextmanager
def served(state: Path, plain: bool) -> Iterator[tuple[str, psutil.Process]]:
    """An endpoint by its command: of `random` at first, later of what is live."""
    process, url = (by_uvicorn if plain else by_ray)(state)
    try:
        yield url, psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def by_ray(state: Path) -> tuple[subprocess.Popen[str], str]:
    """`serve.run`, once it answers."""
    command = [sys.executable, "-m", "serve.run", "--state", str(state), "--port", "0"]
    if not (state / "live.json").exists():
        command += ["random", "--set", f"env.name={WORLD['name']}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.match(r"http://\S+", line)
    if found is None:
        raise RuntimeError(f"serve.run did not start: {line}")
    return process, found[0]


def by_uvicorn(state: Path) -> tuple[subprocess.Popen[str], str]:
    """One replica without Ray, once it answers."""
    from serve.state import prepare

    if not (state / "live.json").exists():
        prepare(state, "random", WORLD)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "--factory", "serve.replica:plain"]
    command += ["--port", str(port), "--log-level", "warning", "--no-access-log"]
    process = subprocess.Popen(command, env={**os.environ, STATE: str(state)}, text=True)
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/readyz", trust_env=False).status_code == 200:
                return process, url
        except httpx.HTTPError:
            time.sleep(0.2)
    process.kill()
    raise RuntimeError("uvicorn did not start")


def _cpu(server: psutil.Process) -> float:
    """CPU-seconds of the endpoint's processes and of this one, which plays the users."""
    total = 0.0
    for process in (psutil.Process(), server, *server.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def table(rows: list[dict[str, Any]]) -> str:
    """Cycles as Markdown."""
    lines = [
        "| cycle | return of its users | by arm | what the pass then did |",
        "| --- | --- | --- | --- |",
    ]
    for row in rows:
        low, high = row["return"]["ci95"]
        arms = ", ".join(
            f"{arm} {part['return']['mean']:.1f} ({part['sessions']:,})"
            for arm, part in row["arms"].items()
        )
        mean = f"{row['return']['mean']:.1f} [{low:.1f}, {high:.1f}]"
        lines.append(f"| {row['cycle']} | {mean} | {arms} | {row['did']} |")
    return "\n".join(lines)


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """The curve of returns."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.5), layout="constrained")
    numbers = [row["cycle"] for row in rows]
    means = [row["return"]["mean"] for row in rows]
    halves = [(row["return"]["ci95"][1] - row["return"]["ci95"][0]) / 2 for row in rows]
    axes.errorbar(numbers, means, halves, marker="o", capsize=3, label="all users", color="#0b5394")
    for arm, marker in (("main", "s"), ("canary", "^")):
        there = [row for row in rows if arm in row["arms"]]
        values = [row["arms"][arm]["return"]["mean"] for row in there]
        axes.plot([row["cycle"] for row in there], values, marker, alpha=0.5, label=arm)
    axes.set_xticks(numbers)
    counts = sorted({row["sessions"] for row in rows})
    axes.set_xlabel(f"cycle of {' or '.join(f'{count:,}' for count in counts)} sessions")
    axes.set_ylabel("return a session, minutes watched")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    app()
