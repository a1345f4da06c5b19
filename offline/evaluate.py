"""`python -m offline.evaluate POLICY --data DIR`: what a policy would have earned, from a log."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from algorithms.command import INTERRUPTED, fail, mistakes

if TYPE_CHECKING:
    from offline.judge.judging import Judgement, Request
    from offline.judge.target import Target
    from offline.log import Log

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def main(
    policy: Annotated[
        str, typer.Argument(metavar="POLICY", help="Run folder, policy folder or baseline.")
    ],
    data: Annotated[str, typer.Option(help="Folder of a log, a file, or a pattern.")],
    against: Annotated[
        str | None,
        typer.Option(metavar="POLICY|logged", help="Another policy, or those that logged."),
    ] = None,
    estimators: Annotated[
        str | None, typer.Option(help="Names with commas, or all; those that fit if not given.")
    ] = None,
    epsilon: Annotated[
        float | None, typer.Option(help="Probability of a random item; else as trained.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Of the softmax over log-weights; else as trained.")
    ] = None,
    discount: Annotated[float, typer.Option(help="Of the rewards, step by step.")] = 1.0,
    interval: Annotated[str, typer.Option(help="t, bootstrap or bernstein.")] = "t",
    bounds: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="LOW HIGH", help="Of what a session contributes, for bernstein."),
    ] = None,
    confidence: Annotated[float, typer.Option(help="Of the intervals.")] = 0.95,
    arm: Annotated[str | None, typer.Option(help="Only sessions of this arm.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the intervals into this PNG.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead.")] = False,
) -> None:
    """Estimate a policy's reward a session from a log of others, with intervals.

    Policies act as they explore (--epsilon and --temperature change that, for both), under the
    log's eligibility and pinned slots.
    """
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    with mistakes():
        from offline.judge.estimates import Method
        from offline.judge.judging import Request
        from offline.judge.report import as_json as plain
        from offline.judge.report import can_draw, draw, show
        from offline.log import open_log

        if plot is not None:
            can_draw(plot)
        method = Method(interval, confidence, bounds)  # type: ignore[arg-type]  # checked there
        log = open_log(data)
        names = None if estimators is None else [name.strip() for name in estimators.split(",")]
        exploration = epsilon, temperature
        target, other = prepare(log, policy, against, exploration)
        request = Request(target, other, names, method, discount, arm)
        found = run(log, request)
        if as_json:
            print(json.dumps(plain(request, data, found), allow_nan=False))
        else:
            show(request, data, found)
        if plot is not None:  # last, so that no estimate is lost with the picture
            draw(request, found, plot)


def prepare(
    log: Log, name: str, against: str | None, exploration: tuple[float | None, float | None]
) -> tuple[Target, Target | str | None]:
    """The policy to judge, and what it is compared with.

    Args:
        log: that they must fit.
        name: of the policy.
        against: name of the other one, or `logged`.
        exploration: epsilon and temperature in place of the policies' own. The other policy
            keeps its own where that is its only way, as of `random`.

    Raises:
        ValueError: one of them does not fit.
    """
    from offline.judge.judging import LOGGED, slate_size
    from offline.judge.target import load_target

    size = slate_size(log)
    target = load_target(name, log.header, size, *exploration)
    if against is None or against == LOGGED:
        return target, against
    other = load_target(against, log.header, size)
    if other.policy.agent.fixed_exploration is None:
        other = load_target(against, log.header, size, *exploration)
    return target, other


def run(log: Log, request: Request) -> Judgement:
    """Judge, with progress on standard error."""
    from offline.judge.judging import judge
    from offline.judge.report import Rows

    progress = Rows()
    try:
        return judge(log, request, progress)
    except KeyboardInterrupt:
        fail("Stopped; nothing was written", INTERRUPTED)
        raise
    finally:
        progress.end()


if __name__ == "__main__":
    sys.exit(app())
