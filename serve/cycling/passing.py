"""One pass of a cycle: join, settle the canary, train, judge, decide, deploy, report.

Each stage leaves a file when it is done, and a pass that was broken off goes on after
the last of them. The report's file ends the pass.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from algorithms.policy import Policy
from offline.joining.joining import REPORT as JOINED
from offline.joining.joining import Choices, join
from offline.learning.steps import LearningError
from offline.log import LogError, open_log
from offline.log.files import write_whole
from offline.tables import duration
from serve.cycling import comparing, deciding, guarding, judging, training
from serve.cycling.keeping import (
    BEGUN,
    CYCLES,
    LOG,
    POLICY,
    REPORT,
    RUN,
    WORDS,
    Canary,
    CycleError,
    Memory,
    folder_of,
    forget,
    memory_of,
    next_number,
    read,
    write,
)
from serve.cycling.reporting import as_text
from serve.cycling.settings import CycleSettings
from serve.cycling.standing import ARM, Standing, arms_after, name_of, settled, standing, tag_of
from serve.deploy import await_replicas
from serve.journal import recent_shape
from serve.live import ArmEntry, DeployError, Pointer, checked, copy_policy, read_pointer
from serve.state import LOG as RAW
from serve.state import deploying, point, read_serving_header

Say = Callable[[str], None]
Plain = dict[str, Any]


class Pass:
    """One pass over a state folder, which the caller has locked."""

    def __init__(
        self,
        state: Path,
        settings: CycleSettings,
        until: float | None = None,
        dry_run: bool = False,
        say: Say = lambda text: None,
    ) -> None:
        """Look at what is there.

        Args:
            state: folder of the endpoint.
            settings: of the cycle.
            until: seconds since 1970, up to which sessions are joined; now if `None`.
            dry_run: do all but deploy, in a folder of its own that later passes ignore.
            say: is told what happens.

        Raises:
            DeployError, LogError: there is no endpoint, or its files are damaged.
        """
        self._state, self._settings, self._until = state, settings, until
        self._dry, self._say = dry_run, say
        self._header = read_serving_header(state)
        self.number = next_number(state)
        self.memory = memory_of(state, self.number)
        self.folder = folder_of(state, self.number)
        if dry_run:
            self.folder = self.folder.with_name(f"dry-{self.folder.name}")
            shutil.rmtree(self.folder, ignore_errors=True)

    def run(self) -> Plain:
        """Do it, or what is left of it.

        Returns:
            What the report holds.

        Raises:
            ValueError: it cannot be done; what was done stays, and the next try goes on.
            Interrupted: the user asked to stop; the same.
        """
        if not (self.folder / "decision.json").exists():
            # Refused before hours of training, and not asked again once it was decided.
            standing(read_pointer(self._state), self.memory, self._state)
        try:
            begun = self._join()
            decided = self._stage("decision.json", self._decide)
            deployed = self._stage("deployed.json", lambda: self._deploy(decided))
            return self._report(begun, decided, deployed)
        except OSError as error:
            raise CycleError(
                f"cannot go on writing to {self.folder}: {error.strerror or error}; the next pass "
                "goes on after the last stage that was done"
            ) from None

    def _stage(self, name: str, do: Callable[[], Plain]) -> Plain:
        """What a stage came to, done now or before."""
        path = self.folder / name
        if not path.exists():
            write(path, do())
        return read(path)

    def _join(self) -> Plain:
        """Join what came since the last pass; times are those of the join that succeeded."""
        log, begun = self.folder / LOG, self.folder / BEGUN
        if log.exists() and begun.exists():
            return read(begun)
        self._say(f"pass {self.number}: joining")
        shutil.rmtree(log, ignore_errors=True)
        plan, now = self._settings.join, time.time()
        until = now if self._until is None else self._until
        window = None
        if plan.window is not None:
            window = duration(plan.window)
        elif self.memory.joined is not None:
            window = until - self.memory.joined
            if window <= 0:
                raise LogError("the last pass joined up to a later time; give a later --until")
        write(begun, {"begun": now, "until": until, "joined": min(now, until)})
        choices = Choices(
            window, duration(plan.session_gap), until, plan.unanswered, plan.reward, "parquet"
        )
        join(self._state, log, choices)
        return read(begun)

    def _logs(self, first: int) -> list[Path]:
        """Logs of the passes from one on, this one last."""
        numbers = range(max(1, first), self.number)
        earlier = [folder_of(self._state, number) / LOG for number in numbers]
        return [*(log for log in earlier if log.exists()), self.folder / LOG]

    def _decide(self) -> Plain:
        """Look at the canary; without one, train a candidate and judge it."""
        pointer = read_pointer(self._state)
        now = standing(pointer, self.memory, self._state)
        assert pointer is not None
        found: Plain = {"live": name_of(now.live.policy), "note": now.note}
        trial = None if now.canary is None else self._settle(now, now.canary)
        after = settled(now, None if trial is None else trial["fate"])
        found["canary"] = trial
        memory = _after_trial(self.memory, now, None if trial is None else trial["fate"])
        fate: Plain = {"fate": "keep", "why": "a canary is on trial, so no candidate was trained"}
        policy = None
        if after.canary is None:
            found |= self._candidate(after, memory)
            fate, policy = found["decision"], found.get("policy")
        found["decision"] = fate
        share = self._settings.canary.share
        arms = arms_after(pointer.arms, after, fate["fate"], policy, share)
        found["arms"] = [asdict(arm) for arm in arms]
        found["changes"] = arms != pointer.arms
        found["generation"] = pointer.generation
        found["before"] = [asdict(arm) for arm in pointer.arms]
        found["memory"] = self._after(memory, fate["fate"], policy).to_json()
        return found

    def _settle(self, now: Standing, canary: Canary) -> Plain:
        """Compare the canary's sessions with the live policy's of the same time."""
        self._say(f"pass {self.number}: comparing the canary with the live policy")
        rules, judge = self._settings.canary, self._settings.judge
        windowed = self._settings.join.window is not None
        log = open_log(self._logs(self.number if windowed else canary.began + 1))
        samples = comparing.samples_of(log, canary.since, ARM, now.live.name)
        compared = comparing.compare(samples, deciding.level_of(rules, judge))
        looks = canary.looks + 1
        decision = deciding.decide_canary(compared, looks, rules, judge)
        return {
            "policy": name_of(canary.policy),
            "compared": compared.to_json(),
            "looks": looks,
            **asdict(decision),
        }

    def _candidate(self, now: Standing, memory: Memory) -> Plain:
        trained = self._stage("trained.json", lambda: self._train(memory))
        if trained["fault"] is not None:
            return {"training": trained, "decision": _keep(f"none: {trained['fault']}")}
        try:
            shape = recent_shape(self._state / RAW)
            candidate = checked(self.folder / POLICY, self._header, shape)
        except DeployError as error:
            return {"training": trained, "decision": _keep(str(error))}
        policy = copy_policy(self._state, self.folder / POLICY)
        found = {"training": trained, "policy": policy}
        if policy == now.live.policy:
            return {**found, "decision": _keep("it is the live policy")}
        return {**found, **self._judge(candidate, now)}

    def _train(self, memory: Memory) -> Plain:
        self._say(f"pass {self.number}: training")
        settings = self._settings
        logs = self._logs(self.number - settings.learn_from + 1)
        init = None
        if settings.warm_start and memory.run is not None:
            init = self._state / memory.run
            if not (init / POLICY).exists():
                init = None
        config = training.learner_config(settings, logs, init, self.number)
        if init is not None and not training.fits(config):
            self._say("the last pass's weights do not fit these settings; beginning afresh")
            init, config = None, training.learner_config(settings, logs, None, self.number)
        found: Plain = {"init": None if init is None else memory.run, "logs": len(logs)}
        try:
            figures = training.train(config, self.folder / RUN)
            training.save_exploring(self.folder / RUN, settings.explore, self.folder / POLICY)
        except (LearningError, LogError) as error:
            return {**found, "fault": str(error)}
        return {**found, "fault": None, **figures}

    def _judge(self, candidate: Policy, now: Standing) -> Plain:
        """Judge a candidate by held-out sessions of the live policy."""
        self._say(f"pass {self.number}: judging")
        settings, rules = self._settings, self._settings.judge
        live = Policy.load(self._state / now.live.policy)
        log = judging.held_out_of(
            open_log(self._logs(self.number - settings.learn_from + 1)),
            settings.holdout,
            tag_of(now.live.policy),
        )
        judged = judging.judged(log, candidate, live, rules.confidence)
        targets = [
            judging.target(one, log.header, name)
            for one, name in ((candidate, "candidate"), (live, "live"))
        ]
        lost = guarding.guards(open_log(self.folder / LOG), targets[0], targets[1], settings.guards)
        came = int(read(self.folder / LOG / JOINED)["sessions"]["written"])
        decision = deciding.decide(came, judged, lost, rules, settings.canary.share)
        return {
            "judged": judged.to_json(),
            "guards": [guard.to_json() for guard in lost],
            "decision": asdict(decision),
        }

    def _after(self, memory: Memory, fate: str, policy: str | None) -> Memory:
        """What the next pass must know, if all goes as decided."""
        memory = replace(memory, joined=read(self.folder / BEGUN)["joined"])
        if policy is None:
            return memory
        run = f"{CYCLES}/{self.folder.name}/{RUN}"
        memory = replace(memory, run=run)
        if fate == "deploy":
            return replace(memory, live_run=run)
        if fate == "canary":
            return replace(memory, canary=Canary(policy, 0.0, self.number, run))
        return memory

    def _deploy(self, decided: Plain) -> Plain:
        """Make the arms live that were decided on, at most once.

        What a running replica cannot load is taken back: it would stop the endpoint at its
        next start.
        """
        arms, before = (
            tuple(ArmEntry(**arm) for arm in decided[name]) for name in ("arms", "before")
        )
        found: Plain = {"done": False, "overtaken": False, "time": time.time(), "faults": []}
        if not decided["changes"] or self._dry:
            return found
        with deploying(self._state):
            pointer = read_pointer(self._state)
            if pointer is not None and _at(pointer, decided["generation"] + 2, before):
                # A crash before this was written down; what the replica said is lost.
                return {**found, "faults": ["a replica could not take it"]}
            if not _ours(pointer, decided["generation"], arms):
                return {**found, "overtaken": True}
            self._say(f"pass {self.number}: deploying")
            pointer = point(self._state, arms)
        taken, faults = await_replicas(
            self._state, pointer.generation, self._settings.wait, found["time"]
        )
        if faults:
            with deploying(self._state):
                if read_pointer(self._state) == pointer:
                    point(self._state, before)
        done = {"done": not faults, "generation": pointer.generation, "faults": faults}
        return {**found, **done, "replicas": taken, "time": time.time()}

    def _report(self, begun: Plain, decided: Plain, deployed: Plain) -> Plain:
        memory = Memory.of_json(decided["memory"])
        if deployed["overtaken"]:
            memory = replace(memory, canary=None, live_run=None)
        elif deployed["faults"]:
            # The arms are those of before, and so is what is known of them.
            canary, live = self.memory.canary, self.memory.live_run
            memory = replace(memory, run=live, live_run=live, canary=canary)
        elif memory.canary is not None and deployed["done"]:
            memory = replace(memory, canary=replace(memory.canary, since=deployed["time"]))
        joined = read(self.folder / LOG / JOINED)
        found: Plain = {
            "pass": self.number,
            "dry_run": self._dry,
            **begun,
            "ended": time.time(),
            "joined_rows": joined,
            **decided,
            "deployed": deployed,
            "memory": memory.to_json(),
        }
        write_whole(self.folder / WORDS, as_text(found).encode())
        write(self.folder / REPORT, found)
        if not self._dry:
            forget(self._state, self.number, self._settings.keep, memory)
        return found


def _keep(why: str) -> Plain:
    return {"fate": "keep", "why": why}


def _ours(pointer: Pointer | None, before: int, arms: tuple[ArmEntry, ...]) -> bool:
    """Whether nobody else has deployed since it was decided; we ourselves may have."""
    if pointer is None:
        return False
    return pointer.generation == before or _at(pointer, before + 1, arms)


def _at(pointer: Pointer, generation: int, arms: tuple[ArmEntry, ...]) -> bool:
    return pointer.generation == generation and pointer.arms == arms


def _after_trial(memory: Memory, now: Standing, fate: str | None) -> Memory:
    """What is known once the canary is settled."""
    if now.canary is None:
        return replace(memory, canary=None)
    if fate == "promote":
        return replace(memory, canary=None, live_run=now.canary.run)
    if fate == "withdraw":
        # The weights that lost are no good beginning.
        return replace(memory, canary=None, run=memory.live_run)
    return replace(memory, canary=replace(now.canary, looks=now.canary.looks + 1))
