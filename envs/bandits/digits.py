"""Handwritten digits as a bandit."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from envs.bandits.bandit import Bandit, Purpose
from envs.constants import Constant
from envs.noise import Draws
from envs.spec import vector
from envs.world import State

_PIXELS, _DIGITS, _DARKEST = 64, 10, 16.0


class DigitsBandit(Bandit):
    """Ten arms, of which the digit in the image is the right one.

    ## Description
    At every step one of the 1,797 images of scikit-learn's digits is drawn
    uniformly, with replacement. Arm k gives 1 if the image shows the digit k,
    otherwise 0: a classification of which only "right" or "wrong" comes back.

    ## Actions
    `MultiDiscrete([10])`: the digit.

    ## Observations
    `user`: the 8 x 8 image row by row, in [0, 1] (scikit-learn's numbers / 16).
    `candidates`: arm, one-hot. `response` to the previous arm: click (always
    1) and reward. `has_response`, `mask` and `history` as everywhere. Hidden:
    the digit.

    ## Rewards
    1 for the right digit.

    ## Start
    Nothing is carried from step to step.

    ## End
    After `session_steps` rounds (terminated).

    ## Arguments
    `session_steps`.

    ## Version
    v1.

    Source: `sklearn.datasets.load_digits`, the test set of Alpaydin and Kaynak
    (1998), "Optical recognition of handwritten digits", UCI.
    """

    def __init__(self, session_steps: int = 1) -> None:
        """Parameters of the world; see the class.

        Raises:
            ImportError: scikit-learn, which brings the images, is not installed.
        """
        super().__init__(_DIGITS, vector("image", _PIXELS, 0, 1), (0, 1), session_steps)
        images, digits = _digits()
        self._images = Constant(images)
        self._right = Constant(torch.nn.functional.one_hot(digits, _DIGITS))
        self.num_images = len(digits)

    def new_candidates(self, state: State, draws: Draws) -> State:
        """Images (B, 64) as the context, and which arm is right (B, 10)."""
        drawn = draws.uniform(Purpose.CONTEXT, 1)[:, 0]
        # In double precision, so that every image is equally likely.
        number = (drawn.double() * self.num_images).long()
        return {
            "context": self._images.like(drawn)[number],
            "right": self._right.like(drawn)[number],
        }

    def expected_rewards(self, state: State) -> Tensor:
        """1 for the digit of the image."""
        return state["right"]

    def rewards(self, expected: Tensor, draws: Draws) -> Tensor:
        """The expected ones: nothing is left to luck."""
        return expected


def _digits() -> tuple[Tensor, Tensor]:
    """Images (1797, 64) in [0, 1] and digits (1797,) int64."""
    try:
        from sklearn.datasets import load_digits  # type: ignore[import-untyped]
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "digits_bandit needs scikit-learn, which brings the images and is not installed; "
            'run: pip install "scikit-learn>=1.5"'
        ) from None
    pixels, digits = load_digits(return_X_y=True)
    images = torch.from_numpy(np.asarray(pixels, dtype=np.float64)) / _DARKEST
    return images, torch.from_numpy(np.asarray(digits, dtype=np.int64))
