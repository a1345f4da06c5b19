"""What a visitor may decide in a simulator's place: who the user is, and the click."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from envs.noise import AddressedNoise
from envs.registry import make_simulator
from envs.simulator import Observation, Simulator, TorchSimulator, Transition
from serve.demonstrating.labels import Floats

LUCKS = 4096
"""Other lucks that are tried for one in which the user clicks as told."""

World = Mapping[str, Any]


def can_be_told(simulator: Simulator) -> bool:
    """Whether a visitor may click in the user's place: where dynamics are pure functions."""
    return isinstance(simulator, TorchSimulator)


def enterable(simulator: Simulator) -> list[str]:
    """User features that may be entered: those that the world keeps as they are observed."""
    if not isinstance(simulator, TorchSimulator):
        return []
    return [f.name for f in simulator.spec.user if _kept(simulator, f.name, f.size)]


def _kept(simulator: TorchSimulator, name: str, size: int) -> bool:
    held = simulator.state.get(name)
    if held is None or held.numel() != simulator.num_users * size:
        return False
    seen = simulator.observe().user[:, simulator.spec.user_slice(name)]
    return bool(torch.equal(held.reshape(seen.shape).to(seen), seen))


def enter(simulator: Simulator, values: Mapping[str, Sequence[float]], seed: int) -> Observation:
    """Make the only user one of these features, at the start of the session.

    Args:
        simulator: of one user.
        values: by user feature.
        seed: of the simulator.

    Raises:
        ValueError: a feature cannot be entered, or a value is out of its range.
    """
    allowed = enterable(simulator)
    assert isinstance(simulator, TorchSimulator) or not allowed
    tensors = {}
    for name, given in values.items():
        if name not in allowed:
            raise ValueError(
                f"{name} is set by the world and cannot be entered; there is: "
                f"{', '.join(allowed) or 'nothing'}"
            )
        (feature,) = (f for f in simulator.spec.user if f.name == name)
        if len(given) != feature.size or not all(feature.low <= v <= feature.high for v in given):
            raise ValueError(
                f"{name} takes {feature.size} numbers from {feature.low:g} to {feature.high:g}"
            )
        before = simulator.get_state()["tensors"][f"world/{name}"]
        tensors[f"world/{name}"] = torch.tensor(given).reshape(before.shape).to(before)
    if tensors:
        assert isinstance(simulator, TorchSimulator)
        _put(simulator, tensors, seed)
    return simulator.observe()


def step_with_click(
    simulator: TorchSimulator, slate: Tensor, slot: int | None, world: World, seed: int
) -> Transition | None:
    """Show the only user a slate and let them click as told.

    Clicks of other lucks are looked at until one is as told, so what else comes back is
    distributed as where the user had clicked so by chance. The candidates of the next step
    are those that they would have been.

    Args:
        simulator: of one user; is stepped.
        slate: positions, (1, K).
        slot: that is clicked; `None` for no click.
        world: that the simulator was made of.
        seed: of the simulator.

    Returns:
        What the step gave; `None`, and nothing happens, where the user would (almost) never
        click so.
    """
    before = simulator.get_state()
    own = before["tensors"]["users"]
    number = int(own[0]) * 1_000_003 + int(before["tensors"]["steps"][0])
    other = int(np.random.SeedSequence((seed, number)).generate_state(1, np.uint64)[0] >> 1)
    many = make_simulator(num_users=LUCKS, seed=other, replace=False, **world)
    wide = {name: value.repeat_interleave(LUCKS, 0) for name, value in before["tensors"].items()}
    many.set_state({**before, "tensors": {**wide, "users": torch.arange(LUCKS)}})
    found = many.step(slate.expand(LUCKS, -1))
    clicks = found.response[..., simulator.spec.response_slice("click")].squeeze(-1)
    wanted = clicks.sum(1) == 0 if slot is None else (clicks[:, slot] == 1) & (clicks.sum(1) == 1)
    if not bool(wanted.any()):
        return None
    row = int(wanted.nonzero()[0, 0])
    after = {name: value[row : row + 1] for name, value in many.get_state()["tensors"].items()}
    _put(simulator, {**after, "users": own}, seed)
    seen = simulator.observe()
    over = (found.terminated | found.truncated)[row]
    return Transition(
        seen,
        found.response[row : row + 1],
        found.reward[row : row + 1],
        found.terminated[row : row + 1],
        found.truncated[row : row + 1],
        torch.zeros(int(over), dtype=torch.int64),
        seen.map(lambda field: field[: int(over)]),
    )


def _put(simulator: TorchSimulator, tensors: Mapping[str, Tensor], seed: int) -> None:
    """Change parts of the state, and draw the candidates that this user and step have."""
    before = simulator.get_state()
    after = {**before["tensors"], **tensors}
    state = {
        name.removeprefix("world/"): value
        for name, value in after.items()
        if name.startswith("world/")
    }
    draws = AddressedNoise(seed).at(after["users"], after["steps"])
    for name, value in simulator.world.new_candidates(state, draws).items():
        after[f"world/{name}"] = value
    simulator.set_state({**before, "tensors": after})


def profile(simulator: Simulator) -> dict[str, Floats]:
    """The only user's features, by name."""
    spec, row = simulator.spec, simulator.observe().user[0].numpy()
    return {feature.name: row[spec.user_slice(feature.name)] for feature in spec.user}
