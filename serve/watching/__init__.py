"""What an endpoint tells of itself: figures, drift, and a log of accesses and errors."""

from __future__ import annotations

from serve.watching.figures import Figures, figures
from serve.watching.scraping import ScrapeError, addresses, read, scrape

__all__ = ["Figures", "ScrapeError", "addresses", "figures", "read", "scrape"]
