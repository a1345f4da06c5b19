"""`python -m serve.deploy RUN`: make a policy live without a failed request."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from algorithms.command import FAILED, fail, mistakes

if TYPE_CHECKING:
    from serve.live import ArmEntry, Pointer

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

ALIVE_SECONDS = 10.0
"""A replica that has not touched its report for so long is dead, or hangs."""


@app.command()
def main(
    target: Annotated[
        str | None,
        typer.Argument(metavar="RUN|BASELINE", help="Run folder, policy folder or baseline."),
    ] = None,
    state: Annotated[Path, typer.Option(help="Folder of the endpoint.")] = Path("serving"),
    share: Annotated[
        float | None,
        typer.Option(help="Of the traffic, for an arm beside the others; all, if not given."),
    ] = None,
    arm: Annotated[str | None, typer.Option(help="Name of that arm; 'canary'.")] = None,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Return to what was live before.")
    ] = False,
    wait: Annotated[float, typer.Option(help="Seconds for running replicas to take it.")] = 30.0,
) -> None:
    """Check a policy, then swap it in; the running replicas notice by themselves."""
    with mistakes():
        check_flags(target, share, arm, rollback)
        since = time.time()
        pointer = deploy(state, target, share, arm or "canary", rollback)
        taken, faults = await_replicas(state, pointer.generation, wait, since)
        arms = ", ".join(f"{one.name} {one.policy.rpartition('/')[2]}" for one in pointer.arms)
    if faults:
        fail(f"deployment {pointer.generation} is not everywhere: {faults[0]}", FAILED)
    print(f"deployment {pointer.generation} is live: {arms}; {taken} replicas have it")


def check_flags(target: str | None, share: float | None, arm: str | None, rollback: bool) -> None:
    """Refuse flags that mean nothing together.

    Raises:
        ValueError: says which.
    """
    if rollback and (target is not None or share is not None):
        raise ValueError("--rollback takes no policy and no --share; it returns to the one before")
    if not rollback and target is None:
        raise ValueError("name a run folder, a policy folder or a baseline; or --rollback")
    if share is not None and not 0 < share < 1:
        raise ValueError(f"--share is {share}; it lies between 0 and 1; leave it out for all")
    if arm is not None and share is None:
        raise ValueError("--arm names an arm beside the others; give its --share too")


def deploy(
    state: Path, target: str | None, share: float | None, arm: str, rollback: bool
) -> Pointer:
    """Point the endpoint to a policy.

    Raises:
        DeployError, LogError: the policy cannot be used, or there is no endpoint.
    """
    from serve.live import ArmEntry, DeployError, read_pointer
    from serve.state import MAIN, admit, deploying, point, read_serving_header

    header = read_serving_header(state)
    folder = "" if target is None else admit(state, target, header)
    with deploying(state):
        before = read_pointer(state)
        if rollback:
            if before is None or not before.previous:
                raise DeployError(f"{state} has no deployment to return to")
            return point(state, before.previous)
        if share is None:
            return point(state, (ArmEntry(MAIN, folder, 1.0),))
        others = () if before is None else before.arms
        return point(state, beside(others, ArmEntry(arm, folder, share)))


def beside(others: tuple[ArmEntry, ...], added: ArmEntry) -> tuple[ArmEntry, ...]:
    """Arms with another one, whose weight is its share of all traffic.

    It comes last, so that a larger share later takes units from the others and gives
    none back. An arm of its name is replaced.
    """
    kept = [arm for arm in others if arm.name != added.name]
    if not kept:
        return (replace(added, weight=1.0),)
    total = sum(arm.weight for arm in kept)
    rest = 1 - added.weight
    return (*(replace(arm, weight=arm.weight / total * rest) for arm in kept), added)


def await_replicas(
    state: Path, generation: int, seconds: float, since: float
) -> tuple[int, list[str]]:
    """Wait until all running replicas have a deployment.

    Args:
        state: folder of the endpoint.
        generation: number of the deployment.
        seconds: to wait at most.
        since: when it was asked for; what replicas said before is of others.

    Returns:
        How many have, and why others have not.
    """
    deadline = time.monotonic() + seconds
    while True:
        reports = _reports(state)
        behind = [found for found in reports if found["generation"] != generation]
        faults = [
            str(found["error"]) for found in behind if found["error"] and found["time"] >= since
        ]
        if not behind or faults or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    if behind and not faults:
        faults = [f"{len(behind)} replicas have not taken it in {seconds:g} s; look at their logs"]
    return len(reports) - len(behind), faults


def _reports(state: Path) -> list[dict[str, Any]]:
    from serve.state import REPORTS

    found = []
    for path in (state / REPORTS).glob("*.json"):
        try:
            if time.time() - path.stat().st_mtime < ALIVE_SECONDS:
                found.append(json.loads(path.read_bytes()))
        except OSError:
            continue
    return found


if __name__ == "__main__":
    app()
