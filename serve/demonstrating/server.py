"""Streamlit with the demo's script: `python -m serve.demonstrating.server PORT`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

SETTINGS = {
    "server.address": "127.0.0.1",
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "browser.gatherUsageStats": "false",
    "browser.serverAddress": "127.0.0.1",
    "runner.magicEnabled": "false",
    "logger.level": "warning",
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
}
"""On loopback, without a browser of its own, and without telling anybody."""


def main(port: str) -> None:
    """Serve the pages until a signal comes."""
    # Imported now, while the endpoint starts, and not when the first visitor waits.
    for name in ("page_recommend", "page_offline", "page_live"):
        importlib.import_module(f"serve.demonstrating.{name}")
    from streamlit.web import cli

    script = Path(__file__).with_name("page.py")
    options = [f"--{name}={value}" for name, value in SETTINGS.items()]
    sys.argv = ["streamlit", "run", str(script), f"--server.port={port}", *options]
    sys.exit(cli.main(prog_name="streamlit"))


if __name__ == "__main__":
    main(sys.argv[1])
