"""The folder of an endpoint: what replicas share, and what survives restarts."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TextIO

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

from algorithms.policy import Policy, PolicyError, baseline
from algorithms.registry import baseline_names, nearest
from offline.log.files import write_whole
from offline.log.pseudonyms import Pseudonyms
from offline.log.schema import Header, LogError, read_header
from serve.journal import HEADER, recent_shape, write_header
from serve.keys import VARIABLE, make_keys
from serve.live import (
    ArmEntry,
    DeployError,
    Pointer,
    check_fit,
    checked,
    copy_policy,
    read_pointer,
)
from serve.settings import Settings

KEYS, LOG, REPORTS = "keys", "log", "replicas"
COMMAND, DEPLOYING = "command", "deploying"
"""Locks: of the process that serves the folder, and of a deployment."""

CONFIGURED = "configured.json"
"""Arms that a config asked for last; see `configure`."""

MAIN = "main"
"""The arm of an endpoint without experiments."""


def read_serving_header(state: Path) -> Header:
    """What all policies of an endpoint have in common.

    Raises:
        DeployError, LogError: the folder is no endpoint's, or its header is damaged.
    """
    path = state / LOG / HEADER
    if not path.exists():
        raise DeployError(
            f"{state} holds no endpoint; begin one with `python -m serve.run RUN --state {state}`"
        )
    header = read_header(path)
    if header.history is None:
        raise DeployError(f"{path} names no history; use another state folder")
    return header


def claim(state: Path) -> TextIO | None:
    """Hold a state folder for this process, until it ends, however it does.

    Returns:
        To be kept; `None` where the system has no such locks.

    Raises:
        DeployError: another process holds it, or it cannot be written.
    """
    if fcntl is None:
        return None
    try:
        held = (state / COMMAND).open("a+", encoding="utf-8")
    except OSError as error:
        raise DeployError(f"cannot write the state folder {state}: {error.strerror}") from None
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        held.seek(0)
        raise DeployError(
            f"{state} is being served by process {held.read().strip()}; make another policy live "
            "with `python -m serve.deploy`, or give another --state"
        ) from None
    except OSError:  # a file system without locks
        return held
    held.truncate(0)
    with contextlib.suppress(OSError):  # a full disk takes no name
        held.write(f"{os.getpid()}\n")
        held.flush()
    return held


@contextlib.contextmanager
def deploying(state: Path) -> Iterator[None]:
    """Read what is live and change it with nobody else doing so; a second one waits.

    Raises:
        DeployError: the folder cannot be written.
    """
    try:
        held = (state / DEPLOYING).open("a", encoding="utf-8")
    except OSError as error:
        raise DeployError(f"cannot write the state folder {state}: {error.strerror}") from None
    with held:
        if fcntl is not None:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(held, fcntl.LOCK_EX)
        yield


def prepare(state: Path, target: str, world: dict[str, Any] | None = None) -> Pointer:
    """Make a folder ready to serve a policy, as the only one.

    Args:
        state: the folder; a new one, or that of an endpoint with the same features.
        target: a run folder, a policy folder or a baseline.
        world: whose features a baseline expects in a new folder.

    Raises:
        DeployError, KeyFault, LogError: the policy cannot be used, or the folder not be written.
    """
    arms = admit_arms(state, [ArmEntry(MAIN, target, 1.0)], world)
    with deploying(state):
        return point(state, arms)


def configure(
    state: Path, wanted: Sequence[ArmEntry], world: dict[str, Any] | None = None
) -> Pointer:
    """Make a folder ready to serve what a config says.

    A config is applied again and again, at each start and for other settings' sake: only
    where its arms are others than the last time do they replace what has been deployed
    since.

    Args:
        state: the folder, as of `prepare`.
        wanted: arms whose policies are run folders, policy folders or baselines.
        world: as of `prepare`.

    Raises:
        DeployError, KeyFault, LogError: as `prepare`.
    """
    arms = admit_arms(state, wanted, world)
    asked = (json.dumps([asdict(arm) for arm in arms], indent=2) + "\n").encode()
    path = state / CONFIGURED
    with deploying(state):
        live = read_pointer(state)
        if live is not None and path.exists() and path.read_bytes() == asked:
            return live
        pointer = point(state, arms)
        write_whole(path, asked)
    return pointer


def asked_for(settings: Settings, target: str | None) -> list[ArmEntry]:
    """The arms that a config or a command names; none for what is live already.

    Raises:
        DeployError: both do.
    """
    arms = [ArmEntry(**arm.model_dump()) for arm in settings.arms]
    if arms and target is not None:
        raise DeployError(f"'{target}' and the config's arms are both given; leave one out")
    return arms if target is None else [ArmEntry(MAIN, target, 1.0)]


def admit_arms(
    state: Path, wanted: Sequence[ArmEntry], world: dict[str, Any] | None
) -> tuple[ArmEntry, ...]:
    """Policies in a folder that is made an endpoint's, if it is none; nothing is live yet."""
    fresh = not (state / LOG / HEADER).exists()
    header = header_for(wanted[0].policy, world) if fresh else read_serving_header(state)
    try:
        (state / LOG).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DeployError(f"cannot write the state folder {state}: {error.strerror}") from None
    if not os.environ.get(VARIABLE):
        make_keys(state / KEYS)
    arms = tuple(replace(arm, policy=admit(state, arm.policy, header)) for arm in wanted)
    if fresh:
        write_header(state / LOG, header)
    return arms


def point(state: Path, arms: tuple[ArmEntry, ...]) -> Pointer:
    """Make arms live; the same arms again change nothing.

    Where an experiment begins, its salt is new: else the same users would meet every
    canary, and what one did to them would count for the next.
    """
    before = read_pointer(state)
    if before is not None and before.arms == arms:
        return before
    begins = before is not None and len(before.arms) == 1 < len(arms)
    after = Pointer(
        1 if before is None else before.generation + 1,
        arms,
        os.urandom(8).hex() if before is None or begins else before.salt,
        () if before is None else before.arms,
    )
    after.write(state)
    return after


def admit(state: Path, target: str, header: Header) -> str:
    """Copy a policy into the folder, after checking that it fits and works.

    Returns:
        The copy's folder within the state folder.

    Raises:
        DeployError: it cannot be used.
    """
    if target in baseline_names():
        return _admit_baseline(state, target, header)
    source = Path(target)
    checked(source, header, recent_shape(state / LOG))
    folder = copy_policy(state, source)
    checked(state / folder, header)  # the copy, should the source have changed meanwhile
    return folder


def _admit_baseline(state: Path, name: str, header: Header) -> str:
    import shutil
    import tempfile

    assert header.history is not None
    try:
        policy = baseline(name, header.spec, header.history, 1)
    except ValueError as error:
        raise DeployError(str(error)) from None
    check_fit(policy, header)
    made = Path(tempfile.mkdtemp(prefix="recsim-"))
    try:
        policy.save(made)
        return copy_policy(state, made)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def header_for(target: str, world: dict[str, Any] | None) -> Header:
    """The features and history of a new endpoint: the policy's, or a world's for a baseline.

    Raises:
        DeployError: there is no such policy, or it makes its actions itself.
    """
    try:
        if target in baseline_names():
            from envs.registry import make_simulator

            played = make_simulator(num_users=1, **(world or {"name": "interest_evolution"}))
            header = Header(played.spec, played.history, played.reward_name)
        else:
            policy = _policy(target)
            header = Header(policy.spec, policy.history, policy.reward)
    except LogError:
        raise DeployError(
            f"'{target}' makes its actions itself (box actions); serving needs a policy that "
            "picks among candidates"
        ) from None
    key = Pseudonyms.find(None)
    return replace(header, pseudonyms=None if key is None else key.mark)


def _policy(target: str) -> Policy:
    if not Path(target).exists():
        raise DeployError(
            f"'{target}' is neither a run folder nor a baseline; "
            f"{nearest(target, baseline_names())}"
        )
    try:
        return Policy.load(target)
    except PolicyError as error:
        raise DeployError(str(error)) from None
