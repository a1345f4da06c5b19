"""What the pages share: the context, one client, and the endpoint's description."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from serve.demonstrating.client import Client
from serve.demonstrating.context import Context
from serve.demonstrating.labels import opening
from serve.simulate import read_key

METRIC_PIXELS = 175
"""Two of them fit beside each other on a telephone."""


@st.cache_resource(show_spinner=False)
def client_of(url: str, api_key_file: str | None) -> Client:
    """One client for all pages; connections stay open."""
    return Client(url, read_key(None if api_key_file is None else Path(api_key_file)))


def client(context: Context) -> Client:
    """Of the endpoint."""
    found: Client = client_of(context.url, context.api_key_file)
    return found


def described(context: Context) -> dict[str, Any] | None:
    """What `GET /v1/policy` says; where nothing answers, the page says so and offers to retry."""
    try:
        return client(context).policy()
    except ValueError as error:
        st.error(opening(str(error)))
        st.button("Try again", key="retry-policy")
        return None


def facts(pairs: list[tuple[str, str]]) -> None:
    """Names and values, one a line."""
    st.markdown("\n".join(f"- {escaped(name)}: **{escaped(value)}**" for name, value in pairs))


def row() -> Any:
    """A place for buttons or numbers side by side, on several lines where it is narrow."""
    return st.container(horizontal=True)


def metrics(cells: list[tuple[str, str, str | None]]) -> None:
    """Numbers side by side, in columns of one width: name, value with unit, what it means."""
    place = row()
    for name, value, text in cells:
        place.metric(name, value, help=text, width=METRIC_PIXELS)


def escaped(text: str) -> str:
    """Text that Markdown leaves as it is."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]<>#$|~:" else letter for letter in text)
