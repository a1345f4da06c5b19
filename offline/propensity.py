"""`python -m offline.propensity DIR --out DEST`: estimated propensities for a log without."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from algorithms.command import mistakes

if TYPE_CHECKING:
    from offline.propensities.estimating import Report

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def main(
    source: Annotated[
        str, typer.Argument(metavar="DIR", help="Folder of a log, a file, or a pattern.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the copy; a new one.")],
    context: Annotated[
        str, typer.Option(help="What the policy may have looked at: none, user or history.")
    ] = "history",
    folds: Annotated[int, typer.Option(help="Parts of the sessions for cross-fitting.")] = 5,
    ridge: Annotated[float, typer.Option(help="How small coefficients are held.")] = 1.0,
    rows: Annotated[int, typer.Option(help="Rows to fit to, at most.")] = 100_000,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead.")] = False,
) -> None:
    """Write a copy whose propensities are estimated, and say how well they are calibrated."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    from offline.exporting.folder import stopping

    with mistakes(), stopping(out):
        from offline.log import open_log
        from offline.propensities.estimating import Settings, estimate

        report = estimate(open_log(source), out, Settings(folds, context, ridge, rows))
    print(json.dumps(report.to_json()) if as_json else text(report, out))


def text(report: Report, out: Path) -> str:
    """A table of the calibration, and a last line for scripts."""
    lines = [
        f"held out, log-likelihood of a slate {report.log_likelihood:.4f}, uniform slates "
        f"{report.uniform:.4f}; the most unlikely slate {report.smallest:.2f}",
        "candidates   predicted   shown",
    ]
    lines += [f"{n:>10,}   {p:>9.4f}   {s:.4f}" for n, p, s in report.calibration.rows]
    lines.append(
        f"expected calibration error {report.calibration.error:.5f} "
        f"(by chance alone {report.calibration.chance:.5f})"
    )
    lines.append(f"{out}: {report.rows} rows with estimated propensities")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(app())
