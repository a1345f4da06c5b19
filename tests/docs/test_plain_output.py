"""Colour and moving lines are for terminals that want them."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

ESCAPE = b"\x1b"
TRAINS = (
    "-m algorithms.train q_learning --set env.name=FrozenLake-v1 --set env.max_steps=20 "
    "--set train.env_steps=640 --set train.users=16 --set train.fragment=8 "
    "--set evaluate.users=5 --out run"
).split()


def environment(**more: str) -> dict[str, str]:
    """This one without a word on colours, and what is given."""
    said = ("NO_COLOR", "FORCE_COLOR", "TERM", "COLORTERM", "CLICOLOR_FORCE", "PYTHONUNBUFFERED")
    return {name: value for name, value in os.environ.items() if name not in said} | more


def on_a_terminal(arguments: list[str], folder: Path, **more: str) -> bytes:
    """What a command writes to a terminal of its own."""
    ours, theirs = pty.openpty()
    done = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment(**more),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    said = b""
    try:
        while part := os.read(ours, 65536):
            said += part
    except OSError:
        pass  # the other end is closed
    os.close(ours)
    assert done.wait() == 0, said.decode(errors="replace")
    return said


def test_a_pipe_gets_plain_lines(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, *TRAINS],
        cwd=tmp_path,
        env=environment(TERM="xterm-256color"),
        capture_output=True,
        check=True,
    )
    assert ESCAPE not in done.stdout + done.stderr and b"\r" not in done.stderr
    assert done.stdout.startswith(b"run: return ")
    assert b" of 640 steps, " in done.stderr


COLOURS = (b"\x1b[3", b"\x1b[9", b"\x1b[4", b"\x1b[1;3", b"\x1b[38;")


@pytest.mark.slow
@pytest.mark.parametrize(("more", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colour_on_a_terminal_follows_no_color(
    tmp_path: Path, more: dict[str, str], coloured: bool
) -> None:
    said = on_a_terminal(TRAINS, tmp_path, TERM="xterm-256color", **more)
    assert any(code in said for code in COLOURS) == coloured
    assert ESCAPE in said  # the live line


@pytest.mark.slow
def test_a_dumb_terminal_gets_plain_lines(tmp_path: Path) -> None:
    said = on_a_terminal(TRAINS, tmp_path, TERM="dumb")
    assert ESCAPE not in said and b" of 640 steps, " in said


@pytest.mark.slow
@pytest.mark.parametrize("module", ["algorithms.train", "offline.check", "serve.run"])
def test_help_on_a_terminal_is_plain_with_no_color(tmp_path: Path, module: str) -> None:
    said = on_a_terminal(["-m", module, "--help"], tmp_path, TERM="xterm-256color", NO_COLOR="1")
    assert ESCAPE not in said and b"Usage:" in said
