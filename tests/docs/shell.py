"""Runs a page's commands as a reader would: in order, in one folder, one after the other."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.docs.pages import ROOT, Command

OURS = re.compile(r"python -m (?:envs|algorithms|offline)\.[\w.]+( |$)")
SPECIAL = set("|&;<>$`*?(){}")
BESIDE = ("configs", "docs", "benchmarks")
QUICK_S, SLOW_S = 600, 1500


class Failed(AssertionError):
    """A command of a page that ended badly, with what it said."""


class Shell:
    """A scratch folder that looks like a checkout, and what runs in it.

    Args:
        folder: an empty folder.
        warm: run our own commands in copies of one process that has imported torch
            and Ray already, which saves seconds each; else in bash like all others.
    """

    def __init__(self, folder: Path, *, warm: bool) -> None:
        self._folder, self._warm = folder, warm
        self._port = _free_port()
        self._behind: list[tuple[Command, subprocess.Popen[bytes], Path]] = []
        for name in BESIDE:
            (folder / name).symlink_to(ROOT / name)

    def run(self, command: Command) -> None:
        """Run a command to its end.

        Raises:
            Failed: its status is not 0.
        """
        text = command.text.replace(":8000", f":{self._port}")
        words = shlex.split(text, comments=True)
        if self._warm and OURS.match(text) and not SPECIAL & set("".join(words)):
            status, said = _warm_python().run(words[2:], self._folder)
        else:
            status, said = self._bash(text)
        if status:
            raise Failed(f"{command.where}: {command.text}: status {status}\n{said[-3000:]}")

    def start(self, command: Command) -> None:
        """Start a command that goes on, and wait until it prints a URL.

        Raises:
            Failed: it ended, or printed none within the time.
        """
        text = command.text.split("  #")[0]
        if "-m serve.run" in text:
            text += f" --port {self._port}"
        if "-m serve.demo" in text:
            text += " --port 0 --page-port 0"
        output = self._folder / f"behind-{len(self._behind)}.txt"
        with output.open("wb") as written:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {text}"],
                cwd=self._folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._behind.append((command, process, output))
        until = time.monotonic() + QUICK_S
        while b"http://" not in output.read_bytes():
            if process.poll() is not None or time.monotonic() > until:
                said = output.read_text(errors="replace")[-3000:]
                raise Failed(f"{command.where}: {command.text}: no URL\n{said}")
            time.sleep(0.2)

    def close(self) -> None:
        """Stop what still runs."""
        for _, process, _ in self._behind:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()

    def _bash(self, text: str) -> tuple[int, str]:
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", text],
            cwd=self._folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SLOW_S,
        )
        return done.returncode, done.stdout + done.stderr


class WarmPython:
    """A process that has imported what our commands import, and forks for each of them."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("warm.py"))],
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, arguments: list[str], folder: Path) -> tuple[int, str]:
        """Status and output of `python -m ARGUMENTS`."""
        output = folder / "said.txt"
        job = {"arguments": arguments, "folder": str(folder), "output": str(output)}
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps({**job, "seconds": QUICK_S}) + "\n")
        self._process.stdin.flush()
        status = int(self._process.stdout.readline())
        return status, output.read_text(errors="replace")

    def close(self) -> None:
        """End it."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(120)


_warm: list[WarmPython] = []


def _warm_python() -> WarmPython:
    if not _warm:
        _warm.append(WarmPython())
    return _warm[0]


def close_warm_python() -> None:
    """End the process that `Shell` keeps warm, if there is one."""
    while _warm:
        _warm.pop().close()


def _environment() -> dict[str, str]:
    binaries = str(Path(sys.executable).parent)
    return {
        **{name: value for name, value in os.environ.items() if name != "FORCE_COLOR"},
        "PATH": os.pathsep.join([binaries, os.environ["PATH"]]),
        "NO_COLOR": "1",
        "OMP_NUM_THREADS": "1",
    }


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
