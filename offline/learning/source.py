"""The log of a run, and an agent that fits it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from algorithms.environment import BUILD_ERRORS, World, on_backend
from algorithms.evaluation import check_fit
from algorithms.policy import Policy
from envs.history import History
from envs.registry import make_simulator
from offline.learning.agent import OfflineAgent
from offline.learning.config import OfflineConfig
from offline.learning.registry import learner
from offline.log import Log, LogError, open_log

logger = logging.getLogger(__name__)

_PEEK = 256


@dataclass(frozen=True)
class Source:
    """A log to learn from.

    Attributes:
        log: to read.
        slate_size: K, of the config, or of the largest slates among the first ones.
        history: that the agent remembers.
        computed: the same where it is to be computed, `None` where the log holds it.
        world: arguments of `envs.registry.make_simulator` where the log is of a world
            of ours.
    """

    log: Log
    slate_size: int
    history: History
    computed: History | None
    world: World | None


def open_source(config: OfflineConfig) -> Source:
    """The log of a config, looked at for the first time.

    Raises:
        ValueError: it cannot be read, is empty, or lacks what the history is made of.
    """
    log = open_log(config.data)
    spec = log.header.spec
    rows = next(iter(log.batches(_PEEK, ("slate", "mask"))), None)
    if rows is None:
        raise LogError(f"the log in {', '.join(config.data)} has no rows; record some first")
    own = log.header.history or History(spec, ())
    computed = None
    if config.history is not None:
        wanted = History.from_json(spec, [term.model_dump() for term in config.history])
        computed = None if wanted.version == own.version else wanted
    world = log.header.world
    slate_size = config.slate_size or rows["slate"].shape[1]
    return Source(log, slate_size, computed or own, computed, world)


def make_agent(config: OfflineConfig, source: Source, *, fresh: bool = True) -> OfflineAgent:
    """An agent with weights that only the seed decides, or those of `init`.

    Args:
        config: of the run.
        source: its log.
        fresh: False where a checkpoint's weights come next, so that `init` may be gone.

    Raises:
        ValueError: it cannot be built for this log, or `init` does not fit.
    """
    spec = source.log.header.spec
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            agent = learner(config.algorithm).agent(
                spec, source.history, source.slate_size, config.settings
            )
    except BUILD_ERRORS as error:
        reason = str(error).strip().splitlines()[0]
        if "allocate memory" in reason:
            reason = (
                f"the network of {config.algorithm} does not fit into this machine's memory; "
                f"lower {config.algorithm}.hidden or {config.algorithm}.item_hidden"
            )
        raise ValueError(reason) from None
    if fresh and config.init is not None:
        _begin_with(agent, config.init)
    return agent


def _begin_with(agent: OfflineAgent, init: str) -> None:
    """Copy the weights of another run's policy.

    Raises:
        ValueError: it is none, or differs in kind, features or sizes.
    """
    found = Policy.load(Path(init)).agent
    for what, own, other in _differences(agent, found):
        if own != other:
            raise ValueError(
                f"--init {init}: its policy has other {what} than this log and config ask for; "
                "name a run that was trained on such a log with these settings, or leave it out"
            )
    try:
        agent.adopt(found)
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"--init {init} does not fit: {reason}; name a run of the same learner with the "
            "same settings, or leave it out"
        ) from None


def _differences(agent: OfflineAgent, other: Any) -> list[tuple[str, Any, Any]]:
    return [
        ("features", agent.spec.to_json(), other.spec.to_json()),
        ("history terms", agent.history.version, other.history.version),
        ("slate sizes", agent.slate_size, other.slate_size),
    ]


def check(config: OfflineConfig, source: Source) -> None:
    """Find out now, not after training, whether all can be built and evaluated.

    Raises:
        ValueError: it cannot.
    """
    agent = make_agent(config, source)
    if source.world is None:
        return
    try:
        _, warning = on_backend(source.world, config.evaluate.backend)
        simulator = make_simulator(num_users=1, **{**source.world, "history": []})
        check_fit(Policy(agent.export()), simulator)
    except BUILD_ERRORS as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"the policy could not play the world of {', '.join(config.data)}: {reason}"
        ) from None
    if warning is not None:
        logger.warning("%s.", warning)
