"""Regressions for fitted Q evaluation: prepare for inputs, then fit targets again and again.

Any callable of this form serves: it gets the inputs (R, F) once and returns a
function from targets (R,) to a model, which maps inputs (M, F) to predictions (M,).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch

from offline.ope.ragged import Floats

Model = Callable[[Floats], Floats]
Fit = Callable[[Floats], Model]
Regression = Callable[[Floats], Fit]


def ridge(penalty: float = 1e-3) -> Regression:
    """Least squares with a penalty on the coefficients of standardised inputs.

    Args:
        penalty: times R, added to the diagonal; the intercept goes free.

    Raises:
        ValueError: the penalty is not positive.
    """
    if not penalty > 0:
        raise ValueError(f"penalty is {penalty}; it must be positive")

    def prepare(inputs: Floats) -> Fit:
        centre, scale = _standard(inputs)
        scaled = (inputs - centre) / scale
        gram = scaled.T @ scaled / len(scaled) + penalty * np.eye(scaled.shape[1])
        solve = np.linalg.solve(gram, scaled.T / len(scaled))

        def fit(targets: Floats) -> Model:
            mean = float(targets.mean())
            slope = solve @ (targets - mean) / scale
            intercept = mean - float(centre @ slope)
            return lambda given: given @ slope + intercept

        return fit

    return prepare


def network(
    hidden: Sequence[int] = (64, 64),
    passes: int = 10,
    batch: int = 512,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> Regression:
    """A small network on standardised inputs and targets, kept warm between fits.

    Args:
        hidden: units of each layer.
        passes: over the rows in each fit.
        batch: rows of a gradient step.
        learning_rate: of Adam.
        seed: of the weights and the order of rows.
    """

    def prepare(inputs: Floats) -> Fit:
        centre, scale = _standard(inputs)
        generator = torch.Generator().manual_seed(seed)
        sizes = [inputs.shape[1], *hidden, 1]
        net = _layers(sizes, generator)
        optimiser = torch.optim.Adam(net.parameters(), lr=learning_rate)
        rows = torch.as_tensor((inputs - centre) / scale, dtype=torch.float32)

        def fit(targets: Floats) -> Model:
            mean, spread = float(targets.mean()), float(targets.std()) or 1.0
            wanted = torch.as_tensor((targets - mean) / spread, dtype=torch.float32)
            for _ in range(passes):
                order = torch.randperm(len(rows), generator=generator)
                for part in order.split(batch):
                    loss = (net(rows[part])[:, 0] - wanted[part]).square().mean()
                    optimiser.zero_grad()
                    loss.backward()
                    optimiser.step()
            # A copy: the next fit goes on from these weights.
            frozen = _layers(sizes, torch.Generator())
            frozen.load_state_dict(net.state_dict())

            @torch.no_grad()
            def model(given: Floats) -> Floats:
                scaled = torch.as_tensor((given - centre) / scale, dtype=torch.float32)
                found: Floats = mean + spread * frozen(scaled)[:, 0].double().numpy()
                return found

            return model

        return fit

    return prepare


def _standard(inputs: Floats) -> tuple[Floats, Floats]:
    scale = inputs.std(0)
    return inputs.mean(0), np.where(scale > 1e-12, scale, 1.0)


def _layers(sizes: Sequence[int], generator: torch.Generator) -> torch.nn.Sequential:
    layers: list[torch.nn.Module] = []
    for before, after in pairwise(sizes):
        linear = torch.nn.Linear(before, after)
        bound = before**-0.5
        with torch.no_grad():
            for parameter in linear.parameters():
                parameter.uniform_(-bound, bound, generator=generator)
        layers += [linear, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])
