"""What is wrong with a state folder or a port ends in a sentence, and leaves nothing behind."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from serve.app import build
from serve.keys import Keys
from serve.live import DeployError
from serve.run import app
from serve.state import claim, prepare


def refused(*words: str) -> str:
    found = CliRunner().invoke(app, list(words))
    assert found.exit_code == 2, found.output
    (sentence,) = found.output.strip().splitlines()
    return sentence


def test_a_state_folder_is_served_by_one_command(tmp_path: Path) -> None:
    state = tmp_path / "state"
    prepare(state, "random")
    before = (state / "live.json").read_bytes()
    program = (
        "import pathlib, sys; from serve.state import claim\n"
        f"held = claim(pathlib.Path({str(state)!r})); print('held', flush=True)\n"
        "sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    sentence = refused("click_maximiser", "--state", str(state), "--port", "0")
    assert f"being served by process {other.pid}" in sentence
    assert "serve.deploy" in sentence
    assert (state / "live.json").read_bytes() == before  # its policy was not changed
    other.kill()
    other.wait()
    held = claim(state)  # a killed command holds nothing
    assert held is not None
    held.close()


def test_a_state_that_cannot_be_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for state in (tmp_path / "file", tmp_path / "file" / "state"):
        assert "cannot write the state folder" in refused("random", "--state", str(state))


def test_a_taken_port_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        sentence = refused("random", "--state", str(tmp_path / "s"), "--port", str(port))
    assert f"cannot listen on 127.0.0.1:{port}" in sentence
    assert not (tmp_path / "s").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only who may mount can try a full disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_refused_and_leaves_no_keys(small_disk: Path) -> None:
    fill = small_disk / "fill"
    with pytest.raises(OSError), fill.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(4096))
    assert "No space left" in refused("random", "--state", str(small_disk / "s"), "--port", "0")
    with pytest.raises(ValueError, match="cannot read the keys"):
        Keys.find(small_disk / "s" / "keys")
    fill.unlink()
    prepare(small_disk / "s", "random")
    assert Keys.find(small_disk / "s" / "keys")


def test_a_folder_that_is_not_there_cannot_be_claimed(tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="cannot write the state folder"):
        claim(tmp_path / "nowhere")


def test_ray_serve_hands_plain_words_to_the_application(tmp_path: Path) -> None:
    made = build({"policy": "random", "state": str(tmp_path / "state")})
    assert made._bound_deployment.name == "endpoint"
    assert (tmp_path / "state" / "live.json").exists()
    with pytest.raises(ValueError, match="did you mean 'policy'"):
        build({"polcy": "random"})
    with pytest.raises(ValueError, match="state is 3; it must be a valid string"):
        build({"state": 3})


def test_where_ray_does_not_start_a_sentence_says_so(tmp_path: Path) -> None:
    program = (
        "import sys, ray\n"
        "def init(**_): raise Exception('The current node timed out\\nduring startup.')\n"
        "ray.init = init\n"
        "from serve.run import app\n"
        f"app(['random', '--port', '0', '--state', {str(tmp_path / 's')!r}])\n"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.returncode == 1
    assert found.stderr.strip().splitlines() == [
        "Ray could not be started (The current node timed out during startup.); look whether this "
        "machine has memory and processors to spare, and try again"
    ]
