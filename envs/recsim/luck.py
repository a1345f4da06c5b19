"""Where the luck of Google's users comes from, a stream for each purpose.

RecSim draws from three places: the user sampler, the document sampler, and
numpy's global generator (choices, interests, engagement). Each user gets a
stream of their own for each, derived from the seed and the user's number, so
results depend neither on the batch size nor on the order of rows, and two
workers with different seeds never share a stream.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from numpy.random import MT19937, PCG64, SeedSequence, mtrand

_LOCK = threading.RLock()
_kept = False


class Streams(NamedTuple):
    """The luck of one user.

    Attributes:
        user: draws the user's hidden state.
        documents: draws the candidates.
        global_: stands in for numpy's global generator.
    """

    user: PCG64
    documents: PCG64
    global_: PCG64


def streams(seed: int, user: int) -> Streams:
    """The streams of a user, (seed, user number) being their address.

    `np.random.RandomState(streams(seed, user).global_)` predicts what
    `np.random.*` gives in the code of that user.

    Raises:
        ValueError: the seed is negative.
    """
    if seed < 0:
        raise ValueError(f"seed is {seed}; Google's simulator takes seeds from 0 up")
    # PCG64 is set up in a tenth of the time that numpy's default MT19937 takes, and its
    # state is 32 bytes instead of 2,500, so the streams of many users stay in the cache.
    return Streams(*(PCG64(SeedSequence(seed, spawn_key=(user, k))) for k in range(3)))


@contextmanager
def global_generator_kept() -> Iterator[None]:
    """Put numpy's global generator back afterwards, as if it had not been used.

    Within the block, call `use` before code that draws from it; blocks may be
    nested. A thread that draws from the global generator meanwhile would get a
    user's luck; threads that play users wait for each other.
    """
    global _kept
    with _LOCK:
        generator = mtrand.get_bit_generator()
        # Exchanging generators forgets the second half of a Gaussian pair.
        # Looking for one is slow, so only the outermost block does.
        outermost, _kept = not _kept, True
        state = np.random.get_state(legacy=False) if outermost else None
        try:
            yield
        finally:
            mtrand.set_bit_generator(generator)
            _kept = not outermost
            if state is not None and state["has_gauss"] and isinstance(generator, MT19937):
                np.random.set_state(state)


def use(stream: PCG64) -> None:
    """Make `np.random.*` draw from `stream`, within `global_generator_kept`.

    The second half of a Gaussian pair is never carried from one use to the
    next, so the stream alone is a user's whole luck.
    """
    mtrand.set_bit_generator(stream)
