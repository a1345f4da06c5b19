"""An endpoint's figures from its Prometheus text, summed over the replicas.

A reader calls `scrape(*addresses(state))`; for rates over a time rather than since the
start, `figures(read(*urls), before)` with what `read` gave earlier.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path

from serve.watching.figures import Figures, Labels, figures

ADDRESSES = "metrics.json"
"""File of the state folder that says where the nodes' metrics are."""

PREFIX = "ray_recsim_"
"""Of our names, as Ray exports them."""

_LARGEST_BYTES = 64 * 2**20


class ScrapeError(ValueError):
    """Figures that cannot be had; the message is one sentence."""


def scrape(*urls: str) -> Figures:
    """What an endpoint has counted since its start; Ray's numbers are up to 10 s old.

    Args:
        urls: of the nodes' metrics, as `addresses` gives them.

    Raises:
        ScrapeError: nothing answers, or not in Prometheus' text format.
    """
    return figures(read(*urls))


def addresses(state: Path) -> list[str]:
    """Where the metrics of the endpoint of a state folder are.

    Raises:
        ScrapeError: the endpoint has not said so; it may be stopped or run without Ray.
    """
    path = state / ADDRESSES
    try:
        found = [str(node["url"]) for node in json.loads(path.read_bytes())]
    except FileNotFoundError:
        raise ScrapeError(
            f"there is no {path}; metrics are there while `python -m serve.run` serves"
        ) from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ScrapeError(f"{path} cannot be read ({error}); start the endpoint again") from None
    return found


def read(*urls: str) -> dict[tuple[str, Labels], float]:
    """All samples of ours.

    Raises:
        ScrapeError: as `scrape`.
    """
    found: dict[tuple[str, Labels], float] = {}
    for url in urls:
        found.update(parse(_fetch(url), url))
    return found


def _fetch(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return str(answer.read(_LARGEST_BYTES).decode())
    except (OSError, ValueError, urllib.error.URLError) as error:
        raise ScrapeError(
            f"no metrics can be read from {url} ({error}); see {ADDRESSES} in the state folder"
        ) from None


def parse(text: str, source: str = "the text") -> dict[tuple[str, Labels], float]:
    """Samples of ours in a text.

    Raises:
        ScrapeError: it is not in Prometheus' text format.
    """
    from prometheus_client.parser import text_string_to_metric_families

    found = {}
    # Most of the text is Ray's own; parsing is slow.
    ours = "\n".join(line for line in text.splitlines() if PREFIX in line[:80])
    try:
        for family in text_string_to_metric_families(ours + "\n"):
            for sample in family.samples:
                if sample.name.startswith(PREFIX):
                    key = (sample.name.removeprefix(PREFIX), tuple(sorted(sample.labels.items())))
                    found[key] = float(sample.value)
    except (ValueError, KeyError, IndexError) as error:
        raise ScrapeError(f"{source} is not Prometheus' text format ({error})") from None
    return found
