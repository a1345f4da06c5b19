"""`python -m serve.simulate URL`: simulated users as HTTP clients of an endpoint."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from algorithms.command import FAILED, INTERRUPTED, fail, mistakes
from algorithms.evaluate import DEFAULT_SEED

if TYPE_CHECKING:
    from algorithms.environment import World
    from algorithms.evaluation import Estimate
    from algorithms.policy import Policy
    from serve.simulating.play import Played

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

API_KEY = "RECSIM_SERVE_API_KEY"
TIMEOUT_SECONDS = 60.0


@app.command()
def main(
    url: Annotated[str, typer.Argument(metavar="URL", help="As `serve.run` printed it.")],
    users: Annotated[int, typer.Option(help="Fresh users, one session each.")] = 2000,
    seed: Annotated[int, typer.Option(help="Of the users' luck.")] = DEFAULT_SEED,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="env.KEY=VALUE", help="The world; else that of --against's training."
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="RUN|BASELINE", help="Compare with this policy played without the endpoint."
        ),
    ] = None,
    batch: Annotated[int, typer.Option(help="Users in one request; 1 asks for each alone.")] = 50,
    clients: Annotated[int, typer.Option(help="Requests in flight at a time.")] = 4,
    together: Annotated[int, typer.Option(help="Users side by side.")] = 500,
    api_key_file: Annotated[
        Path | None, typer.Option(help="Key of the endpoint; or set RECSIM_SERVE_API_KEY.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead.")] = False,
) -> None:
    """Report the return and the sessions that users had through the endpoint.

    With --against, status 1 says that the difference is not within its interval.
    """
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    with mistakes():
        from algorithms.evaluate import check_numbers, prepare

        check_numbers(users, seed, 0)
        check_sizes(batch, clients, together)
        policy, world = prepare(against or "random", None, overrides or [])
        key = read_key(api_key_file)
        try:
            played = asyncio.run(_run(url, key, world, users, seed, batch, clients, together))
        except KeyboardInterrupt:
            fail("Stopped; what was answered is in the endpoint's log", INTERRUPTED)
        found = report(played, url, world, users, seed)
        if against is not None:
            found |= {"against": against, **compare(played, policy, world, users, seed)}
    print(json.dumps(found, allow_nan=False) if as_json else as_text(found))
    if against is not None and not found["agrees"]:
        raise typer.Exit(FAILED)


def check_sizes(batch: int, clients: int, together: int) -> None:
    """Refuse sizes that make no sense."""
    for flag, value in (("--batch", batch), ("--clients", clients), ("--together", together)):
        if value < 1:
            raise ValueError(f"{flag} is {value}; it must be at least 1")


def read_key(file: Path | None) -> str | None:
    """The endpoint's API key, if it has one.

    Raises:
        ValueError: the file cannot be read.
    """
    if file is None:
        return os.environ.get(API_KEY) or None
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ValueError(f"cannot read the API key {file}: {reason}") from None


async def _run(
    url: str,
    key: str | None,
    world: World,
    users: int,
    seed: int,
    batch: int,
    clients: int,
    together: int,
) -> Played:
    import httpx

    from serve.simulating.client import Endpoint
    from serve.simulating.play import play

    if not url.startswith(("http://", "https://")):
        raise ValueError(f"'{url}' is no URL; write it as serve.run printed it, with http://")
    headers = {} if key is None else {"X-API-Key": key}
    async with httpx.AsyncClient(
        base_url=url, headers=headers, timeout=TIMEOUT_SECONDS, trust_env=False
    ) as http:
        return await play(
            Endpoint(http, clients, batch), world, users, seed, together, _progress(users)
        )


def report(played: Played, url: str, world: World, users: int, seed: int) -> dict[str, Any]:
    """What users met, as plain data; laid out as that of `algorithms.evaluate`."""
    return {
        "policy": url,
        "environment": world["name"],
        "backend": played.result.backend,
        "users": users,
        "seed": seed,
        "acting": f"{played.answers:,} slates over HTTP",
        "answers": played.answers,
        **_plain(played.result.summary()),
        "arms": played.by_arm(),
    }


def compare(played: Played, policy: Policy, world: World, users: int, seed: int) -> dict[str, Any]:
    """The same users with a policy that is played here, exploring as an endpoint lets it."""
    from algorithms.evaluation import evaluate_policy

    here = evaluate_policy(policy, world, users, seed, explore=True)
    difference = played.result.minus(here)
    gap = difference["return"]
    # One user has no interval: only the same return agrees.
    low, high = (gap.mean, gap.mean) if users < 2 else (gap.low, gap.high)
    return {
        "other": _plain(here.summary()),
        "difference": _plain(difference),
        "agrees": bool(low <= 0 <= high),
    }


def _plain(summary: dict[str, Estimate]) -> dict[str, Any]:
    return {name: estimate.to_json() for name, estimate in summary.items()}


def as_text(found: dict[str, Any]) -> str:
    """A line for every number, and whether the two ways agree."""
    from algorithms.evaluate import as_text as numbers

    lines = [numbers(found)]
    for arm, part in found["arms"].items():
        value, interval = part["return"]["mean"], part["return"]["ci95"]
        span = "" if interval is None else f"  [{interval[0]:.4g}, {interval[1]:.4g}]"
        lines.append(f"arm {arm}: {part['sessions']:,} sessions, return {value:.4g}{span}")
    if "agrees" in found:
        lines.append("agrees" if found["agrees"] else "differs by more than its interval")
    return "\n".join(lines)


def _progress(users: int) -> Any:
    def tick(done: int) -> None:
        if sys.stderr.isatty():
            end = "\n" if done == users else ""
            print(f"\r{done:,} of {users:,} users", end=end, file=sys.stderr)

    return tick


if __name__ == "__main__":
    sys.exit(app())
