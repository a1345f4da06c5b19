"""Bayesian ridge regression of feedback on a context, shared by all items or one an arm.

Shapes: B users, N candidates, d columns of the context, G groups: one, or
every arm and, last, the arm that is unknown, M posterior draws.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from algorithms.bandits.statistics import Statistics, Sums, ridge_sums, ridge_sums_by_arm

_JITTER = (0.0, 1e-12, 1e-9, 1e-6)


def cholesky(matrix: Tensor) -> Tensor:
    """Lower factors of positive definite matrices, (G, d, d).

    Where columns are so alike or so different in scale that rounding has eaten
    the smallest eigenvalues, the diagonal grows by the smallest share that helps.

    Raises:
        ValueError: no share does, because the matrices are no sums of x x^T.
    """
    diagonal = matrix.diagonal(dim1=1, dim2=2)
    for share in _JITTER:
        lower, failed = torch.linalg.cholesky_ex(matrix + share * diagonal.diag_embed())
        if not bool(failed.any()):
            found: Tensor = lower
            return found
    raise ValueError(
        f"the regression cannot be solved: model {int(failed.nonzero()[0, 0])} of {len(matrix)} is "
        f"not positive definite, even with {_JITTER[-1]:g} of its diagonal added; bring the "
        "context's columns to similar scales, raise ridge, or look for damaged statistics"
    )


def solve(gram: Tensor, moment: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """The ridge estimate, and what the width of its confidence needs.

    Args:
        gram: sum of x x^T, (G, d, d), float64.
        moment: sum of feedback * x, (G, d).
        ridge: added to the diagonal; A = gram + ridge * I.

    Returns:
        theta: A^-1 moment, (G, d).
        root: L^-1 with A = L L^T, (G, d, d), so that x^T A^-1 x = |root x|^2.
    """
    identity = torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
    lower = cholesky(gram + ridge * identity)
    theta = torch.cholesky_solve(moment[..., None], lower).squeeze(-1)
    return theta, torch.linalg.solve_triangular(lower, identity.expand_as(gram), upper=False)


class Ridge(nn.Module):
    """Estimates, confidence and posterior draws; double precision behind, single to act.

    Attributes:
        size: d.
        num_arms: `None` where one model serves all items.
        statistics: what was seen.
    """

    theta: Tensor
    root: Tensor
    draws: Tensor

    def __init__(
        self,
        size: int,
        num_arms: int | None,
        *,
        ridge: float,
        draws: int = 0,
        discount: float = 1.0,
        window: int = 0,
    ) -> None:
        """Nothing seen yet; arguments as of `solve` and `Statistics`, and M."""
        super().__init__()
        self.size, self.num_arms, self.ridge = size, num_arms, ridge
        known = num_arms or 1
        groups = 1 if num_arms is None else num_arms + 1
        shapes = {"gram": (known, size, size), "moment": (known, size), "count": (known,)}
        self.statistics = Statistics(shapes, discount, window)
        self.register_buffer("theta", torch.zeros(groups, size))
        self.register_buffer("root", torch.eye(size).repeat(groups, 1, 1) / ridge**0.5)
        self.register_buffer("draws", torch.zeros(groups, draws, size))

    def sums(self, x: Tensor, feedback: Tensor, arm: Tensor | None) -> Sums:
        """What `Statistics.add` takes, of rows (n, d), (n,) and (n,).

        Raises:
            ValueError: the rows have other columns than the model.
        """
        if x.shape[1] != self.size:
            raise ValueError(
                f"the rows have {x.shape[1]} context columns, but this model takes {self.size}; "
                "give it the features that it was built for"
            )
        if self.num_arms is None:
            return ridge_sums(x, feedback)
        assert arm is not None
        return ridge_sums_by_arm(x, feedback, arm, self.num_arms)

    def refresh(self) -> None:
        """Solve for the present statistics."""
        theta, root = solve(self.statistics["gram"], self.statistics["moment"], self.ridge)
        self.theta[: len(theta)].copy_(theta)
        self.root[: len(root)].copy_(root)

    def draw(self, spread: float, generator: np.random.Generator) -> None:
        """Draw anew from the posterior: normal around theta with covariance spread^2 A^-1."""
        z = generator.standard_normal(self.draws.shape, dtype=np.float32)
        drawn = torch.from_numpy(z).to(self.theta.device) @ self.root
        self.draws.copy_(self.theta[:, None] + spread * drawn)

    def mean(self, x: Tensor, arm: Tensor | None) -> Tensor:
        """Estimate of each candidate, (B, N).

        Args:
            x: contexts, (B, N, d); of the users alone, (B, d), where each arm
                has a model.
            arm: of each candidate, (B, N), -1 where unknown.
        """
        if arm is None:
            return x @ self.theta[0]
        return (x @ self.theta.T).gather(1, self._place(arm))

    def width(self, x: Tensor, arm: Tensor | None) -> Tensor:
        """sqrt(x^T A^-1 x) of each candidate, (B, N); arguments as of `mean`."""
        roots = self.root[0].T if arm is None else self.root.mT
        width: Tensor = torch.linalg.vector_norm(x @ roots, dim=2)
        return width if arm is None else width.T.gather(1, self._place(arm))

    def sampled(self, x: Tensor, arm: Tensor | None) -> Tensor:
        """Each candidate's score in each draw, (B, N, M); arguments as of `mean`."""
        if arm is None:
            return x @ self.draws[0].T
        scores = torch.einsum("bd,gmd->bgm", x, self.draws)
        place = self._place(arm)[..., None].expand(-1, -1, scores.shape[2])
        return scores.gather(1, place)

    def _place(self, arm: Tensor) -> Tensor:
        """Unknown arms have the last model, which is the prior."""
        return arm.remainder(len(self.theta))
