"""Which policies are live: a pointer file that replicas watch, and its policies loaded."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from algorithms.core.slates import SlateDistribution
from algorithms.policy import Policy, PolicyError
from envs.simulator import Observation
from offline.log.files import write_whole
from offline.log.schema import Header
from serve.schemas import example_request

logger = logging.getLogger(__name__)

POINTER, POLICIES = "live.json", "policies"


class DeployError(ValueError):
    """A policy that cannot be made live; the message is one sentence."""


@dataclass(frozen=True)
class ArmEntry:
    """One arm in the pointer file.

    Attributes:
        name: of the arm.
        policy: folder of its policy, within the state folder.
        weight: its part of the traffic, in proportion to the others'.
    """

    name: str
    policy: str
    weight: float


@dataclass(frozen=True)
class Pointer:
    """What `live.json` holds.

    Attributes:
        generation: counts deployments.
        arms: in the order in which traffic is assigned.
        salt: of the assignment.
        previous: the arms before, to return to; empty for none.
    """

    generation: int
    arms: tuple[ArmEntry, ...]
    salt: str
    previous: tuple[ArmEntry, ...] = ()

    def write(self, state: Path) -> None:
        """Replace the file, whole or not at all.

        Raises:
            LogError: the disk is full, or the folder cannot be written.
        """
        write_whole(state / POINTER, (json.dumps(asdict(self), indent=2) + "\n").encode())


def read_pointer(state: Path) -> Pointer | None:
    """The pointer of a state folder, `None` before the first deployment.

    Raises:
        DeployError: it is damaged.
    """
    path = state / POINTER
    try:
        data = json.loads(path.read_bytes())
        return Pointer(
            int(data["generation"]),
            tuple(ArmEntry(**arm) for arm in data["arms"]),
            str(data["salt"]),
            tuple(ArmEntry(**arm) for arm in data["previous"]),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DeployError(f"{path} is damaged ({error}); deploy a policy again") from None


@dataclass(frozen=True)
class Arm:
    """A policy that answers.

    Attributes:
        name: of the arm.
        weight: its part of the traffic.
        policy: the policy.
        tag: says whether two replicas have the same.
    """

    name: str
    weight: float
    policy: Policy
    tag: str

    @property
    def policy_name(self) -> str:
        """As answers and logs have it."""
        return self.policy.algorithm

    @property
    def version(self) -> str:
        """Of the policy's weights, with a part of their hash, as in the name of its copy."""
        return self.tag


@dataclass(frozen=True)
class Live:
    """Everything that changes with a deployment, swapped as one reference.

    Attributes:
        generation: counts deployments.
        arms: at least one.
        salt: of the assignment.
    """

    generation: int
    arms: tuple[Arm, ...]
    salt: str

    @property
    def weights(self) -> list[float]:
        """Of the arms."""
        return [arm.weight for arm in self.arms]


def load_live(state: Path, header: Header, pointer: Pointer) -> Live:
    """Load all policies of a pointer, each once.

    Raises:
        DeployError: one cannot be loaded, does not fit, or is not finite.
    """
    loaded: dict[str, Policy] = {}
    for arm in pointer.arms:
        if arm.policy not in loaded:
            loaded[arm.policy] = checked(state / arm.policy, header)
    arms = tuple(
        Arm(arm.name, arm.weight, loaded[arm.policy], _tag(arm.policy)) for arm in pointer.arms
    )
    return Live(pointer.generation, arms, pointer.salt)


def _tag(folder: str) -> str:
    return folder.rpartition("/")[2].partition("-")[2]


def checked(folder: Path, header: Header, shape: tuple[int, int] | None = None) -> Policy:
    """A policy that fits the endpoint and gives finite scores.

    Args:
        folder: of the policy.
        header: of the endpoint.
        shape: items of a slate that clients ask for, and candidates; where known.

    Raises:
        DeployError: says what is wrong.
    """
    try:
        policy = Policy.load(folder)
    except PolicyError as error:
        raise DeployError(str(error)) from None
    check_fit(policy, header)
    try:
        found = trial(policy)
    except Exception as error:  # whatever a policy does must not stop the endpoint
        raise DeployError(f"the policy in {folder} fails on a test slate ({error!r})") from None
    if not found:
        raise DeployError(
            f"the policy in {folder} gives scores that are not finite on a test slate; train it "
            "again"
        )
    if shape is not None:
        try:
            trial(policy, *shape)
        except Exception as error:
            raise DeployError(
                f"clients ask for slates of {shape[0]} of {shape[1]} candidates, and there the "
                f"policy in {folder} fails ({error}); train one for such slates"
            ) from None
    return policy


def check_fit(policy: Policy, header: Header) -> None:
    """Refuse a policy of other features or another history.

    Raises:
        DeployError: names what differs.
    """
    if policy.spec.actions != "slate":
        raise DeployError(
            f"{policy.algorithm} makes its actions itself (box actions); serving needs a policy "
            "that picks among candidates"
        )
    for group in ("user", "candidate", "response"):
        own, kept = getattr(policy.spec, group), getattr(header.spec, group)
        if own != kept:
            names = [", ".join(f"{f.name} ({f.size})" for f in found) for found in (own, kept)]
            raise DeployError(
                f"the policy expects the {group} features {names[0]}, and this endpoint has "
                f"{names[1]}; serve it from another state folder"
            )
    version = None if header.history is None else header.history.version
    if policy.history.version != version:
        raise DeployError(
            f"the policy remembers other things of a session (history version "
            f"{policy.history.version}) than this endpoint ({version}); serve it from another "
            "state folder"
        )


@torch.no_grad()
def trial(policy: Policy, size: int | None = None, candidates: int | None = None) -> bool:
    """Whether it gives finite scores and probabilities for made-up candidates."""
    from serve.asking import row, table

    spec, size = policy.spec, size or policy.slate_size
    request = example_request(spec, candidates=candidates or size + 8, slate_size=size)
    user = torch.from_numpy(row(spec.user, request["user"])[None])
    items = table(spec.candidate, [item["features"] for item in request["candidates"]])
    seen = Observation(
        user,
        torch.from_numpy(items[None]),
        torch.ones((1, len(items)), dtype=torch.bool),
        torch.zeros((1, size, spec.response_size)),
        torch.zeros((1, 1)),
        policy.history.initial(1),
    )
    generator = torch.Generator().manual_seed(0)
    shown = policy.recommend(seen, slate_size=size, generator=generator)
    assert isinstance(shown.distribution, SlateDistribution)
    scores = shown.distribution.log_weights
    return bool(scores.isfinite().all() and shown.log_prob.isfinite().all())


def copy_policy(state: Path, source: Path) -> str:
    """Put a copy of a policy into the state folder; a training may go on in its own.

    Returns:
        The copy's folder within the state folder, named after its content.

    Raises:
        DeployError: the disk is full, or there is no policy.
    """
    if not (source / "policy.json").exists() and (source / "policy" / "policy.json").exists():
        source = source / "policy"
    try:
        files = {path.name: path.read_bytes() for path in sorted(source.glob("policy.*"))}
        about = json.loads(files["policy.json"])
        words = f"{about['algorithm']}-{about['version']}"
    except (OSError, KeyError, ValueError, TypeError):
        raise DeployError(
            f"{source} holds no policy that can be read; give a run folder or its policy/ folder"
        ) from None
    content = hashlib.sha256(b"".join(files.values())).hexdigest()[:8]
    name = f"{POLICIES}/{words}-{content}"
    target = state / name
    if target.exists():
        return name
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        partial.mkdir(parents=True, exist_ok=True)
        for file, data in files.items():
            (partial / file).write_bytes(data)
        os.rename(partial, target)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        if not target.exists():
            raise DeployError(f"cannot copy the policy to {target}: {error.strerror}") from None
    return name


def describe(live: Live, header: Header) -> dict[str, Any]:
    """What `GET /v1/policy` says."""
    total = sum(live.weights)
    arms: Sequence[Mapping[str, Any]] = [
        {
            "arm": arm.name,
            "share": arm.weight / total,
            "policy": arm.policy_name,
            "policy_version": arm.version,
            "slate_size": arm.policy.slate_size,
            "epsilon": arm.policy.acting(True).epsilon,
            "temperature": arm.policy.acting(True).temperature,
        }
        for arm in live.arms
    ]
    features = header.to_json()["features"]
    return {
        "generation": live.generation,
        "arms": arms,
        "features": {group: features[group] for group in ("user", "candidate", "response")},
        "history_version": None if header.history is None else header.history.version,
        "reward": header.reward,
    }
