"""Answers requests: arms, histories, slates, tokens, and a line of the log for each."""

from __future__ import annotations

import logging
import os
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from envs.history import History
from offline.log.pseudonyms import Pseudonyms
from offline.log.schema import Header
from serve import impressions
from serve.arms import assign
from serve.asking import Asked, Catalogue, Reader
from serve.drawing import Drawn, NotFinite, decide, draw, draw_safely, observe, part
from serve.journal import Journal
from serve.keys import Keys
from serve.live import Arm, Live
from serve.metrics import Metrics
from serve.problem import Refused
from serve.row import Line, encode_feedback, encode_impression
from serve.safe import VERSION as SAFE_VERSION
from serve.safe import Safe
from serve.settings import Settings
from serve.token import Floats, Session, TokenWriter
from serve.watching.watch import Watch

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Turn:
    """A request with all that was settled before a policy is asked.

    Attributes:
        asked: the request.
        identity: of the session, 16 bytes.
        step: of the session.
        history: the state to act on, (H,).
        arm: the policy.
        seed: of the draw, and 12 bytes that name the impression; `None` for chance.
    """

    asked: Asked
    identity: bytes
    step: int
    history: Floats
    arm: Arm
    seed: tuple[int, bytes] | None


@dataclass(frozen=True, eq=False)
class Answered:
    """An answer, with what it was drawn from.

    Attributes:
        turn: what was answered.
        drawn: the slate.
        impression: its id.
        token: of the session, to send next.
        policy: who answered.
        version: of that policy.
        fallback: why the safe policy answered, or empty.
        trace: of the policy's error then.
    """

    turn: Turn
    drawn: Drawn
    impression: str
    token: str
    policy: str
    version: str
    fallback: str
    trace: str = ""


class Engine:
    """Everything of a replica but HTTP.

    Attributes:
        live: the policies; `None` until they are loaded. Swapped as one reference.
        header: features and history that all policies share.
        metrics: what happened.
        watch: makes figures of it.
    """

    def __init__(
        self,
        header: Header,
        keys: Keys,
        settings: Settings,
        journal: Journal,
        *,
        safe: Safe | None = None,
        catalogue: Catalogue | None = None,
        metrics: Metrics | None = None,
        clock: Callable[[], float] = time.time,
        pseudonyms: Pseudonyms | None = None,
    ) -> None:
        """Begin without policies."""
        assert header.history is not None
        self.header, self.settings = header, settings
        self.live: Live | None = None
        self.metrics = metrics or Metrics()
        self.watch = Watch(header, self.metrics, half_life=settings.watching.drift_half_life_s)
        journal.watch(self.metrics)
        self._history: History = header.history
        self._keys, self._journal, self._clock = keys, journal, clock
        self._safe, self._pseudonyms = safe or Safe(), pseudonyms
        self.tokens = TokenWriter(
            keys, self._history.version, self._history.size, header.spec.candidate_size
        )
        self.reader = Reader(header.spec, self.tokens, catalogue)
        self._chance = torch.Generator()
        self._chance.manual_seed(int.from_bytes(os.urandom(8), "big") >> 1)
        self._seeded = torch.Generator()

    def recommend(self, asked: Sequence[Asked]) -> list[Answered]:
        """Answers in the order of the requests, each in the log.

        Raises:
            Refused: no policy is loaded yet, or a history is no longer finite.
        """
        live = self.live
        if live is None:
            raise Refused("no policy is loaded yet; try again soon", status=503, retry_after=1)
        now = self._clock()
        turns = self._turns(asked, live, now)
        answers = [
            self._answer(turn, *found, now)
            for turn, found in zip(turns, self._draw(turns), strict=True)
        ]
        for answer in answers:
            self._log(answer, live.generation, now)
        self.watch.answered(answers)
        return answers

    def feedback(self, impression: str, response: Floats) -> None:
        """Log what came back for an impression.

        Raises:
            Refused: it cannot be written.
        """
        line = encode_feedback(impression, self._clock(), response)
        written = self._journal.feedback.append(line)
        self._note("feedback", written)
        if not written:
            raise Refused(
                "the feedback cannot be stored at present; send it again later",
                status=503,
                retry_after=30,
            )
        self.watch.responded(response)

    def _turns(self, asked: Sequence[Asked], live: Live, now: float) -> list[Turn]:
        gap = self.settings.session_gap_s
        follows = [
            one.session is not None and (gap is None or now - one.session.time <= gap)
            for one in asked
        ]
        histories = self._histories(asked, follows)
        return [
            self._turn(one, live, follow, history)
            for one, follow, history in zip(asked, follows, histories, strict=True)
        ]

    def _turn(self, asked: Asked, live: Live, follows: bool, history: Floats) -> Turn:
        digest = asked.digest() if asked.request_id else None
        if follows and asked.session is not None:
            identity, step = asked.session.identity, asked.session.step + 1
        else:
            step = 0
            identity = os.urandom(16) if digest is None else self._keys.sign("new", digest, 16)
        by_user = self.settings.assign_by == "user" and asked.user_id
        unit = asked.user_id if by_user else identity.hex()
        arm = live.arms[assign(live.weights, live.salt, unit)]
        if digest is None:
            return Turn(asked, identity, step, history, arm, None)
        content = b"".join((digest, identity, f"{step} {arm.name} {arm.tag}".encode()))
        drawn = self._keys.sign("draw", content, 20)
        return Turn(
            asked, identity, step, history, arm, (int.from_bytes(drawn[:8], "big") >> 1, drawn[8:])
        )

    def _histories(self, asked: Sequence[Asked], follows: Sequence[bool]) -> list[Floats]:
        """The state that each request is to be acted on with, (H,)."""
        states: list[Floats] = [np.zeros(self._history.size, np.float32)] * len(asked)
        alike: dict[int, list[int]] = defaultdict(list)
        for number, (one, follow) in enumerate(zip(asked, follows, strict=True)):
            if follow and one.session is not None:
                alike[len(one.session.shown)].append(number)
        for slots, numbers in alike.items():
            sessions = [session for n in numbers if (session := asked[n].session) is not None]
            nothing = np.zeros((slots, self.header.spec.response_size), np.float32)
            given = [asked[n].response for n in numbers]
            updated = self._history.update(
                torch.from_numpy(np.stack([session.history for session in sessions])),
                torch.from_numpy(np.stack([session.shown for session in sessions])),
                torch.from_numpy(np.stack([nothing if one is None else one for one in given])),
            ).numpy()
            finite = np.isfinite(updated).all(axis=1)
            if not finite.all():
                field = f"{asked[numbers[int(finite.argmin())]].field}responses"
                raise Refused(
                    f"{field} are so large that the session's history is no longer finite; send "
                    "smaller numbers, or begin a new session",
                    field=field,
                )
            for number, state in zip(numbers, updated, strict=True):
                states[number] = state
        return states

    def _draw(self, turns: Sequence[Turn]) -> list[tuple[Drawn, str, str]]:
        """A slate for each; why the safe policy chose it, and the error before, or nothing."""
        alike: dict[tuple[object, ...], list[int]] = defaultdict(list)
        for number, turn in enumerate(turns):
            asked = turn.asked
            before = 0 if asked.response is None else len(asked.response)
            key = (turn.arm.name, len(asked.mask), asked.slate_size, asked.epsilon, before)
            alike[key].append(number)
        found: list[tuple[Drawn, str, str] | None] = [None] * len(turns)
        for numbers in alike.values():
            group = [turns[number] for number in numbers]
            for number, drawn in zip(numbers, self._draw_alike(group), strict=True):
                found[number] = drawn
        return [one for one in found if one is not None]

    def _draw_alike(self, turns: Sequence[Turn]) -> list[tuple[Drawn, str, str]]:
        """As `_draw`, for requests of one shape and arm."""
        try:
            return [(drawn, "", "") for drawn in self._by_policy(turns)]
        except Exception as error:
            # Whatever a policy does: a user gets a slate.
            if len(turns) > 1:  # one request's failure is not the others'
                return [found for turn in turns for found in self._draw_alike([turn])]
            reason = "not_finite" if isinstance(error, NotFinite) else "error"
            self.metrics.add("recsim_fallbacks", turns[0].arm.name, reason)
            logger.error("The policy of arm '%s' failed (%r).", turns[0].arm.name, error)
            trace = traceback.format_exc()
        turn = turns[0]
        return [(draw_safely(self._safe, turn.asked, self._generator(turn)), reason, trace)]

    def _by_policy(self, turns: Sequence[Turn]) -> list[Drawn]:
        asked = [turn.asked for turn in turns]
        seen = observe(asked, [turn.history for turn in turns], [turn.step == 0 for turn in turns])
        distribution = decide(turns[0].arm.policy, seen, asked)
        found: dict[int, Drawn] = {}
        chance = [number for number, turn in enumerate(turns) if turn.seed is None]
        seeded = [[number] for number, turn in enumerate(turns) if turn.seed is not None]
        for rows in [chance, *seeded]:
            if rows:
                drawn = draw(part(distribution, rows), self._generator(turns[rows[0]]))
                found.update(zip(rows, drawn, strict=True))
        return [found[number] for number in range(len(turns))]

    def _generator(self, turn: Turn) -> torch.Generator:
        return self._chance if turn.seed is None else self._seeded.manual_seed(turn.seed[0])

    def _answer(self, turn: Turn, drawn: Drawn, fallback: str, trace: str, now: float) -> Answered:
        nonce = os.urandom(impressions.NONCE_BYTES) if turn.seed is None else turn.seed[1]
        if fallback:  # another slate than a retry may get from the policy, so another id
            nonce = self._keys.sign("fallback", nonce, impressions.NONCE_BYTES)
        impression = impressions.make(self._keys, turn.asked.slate_size, nonce)
        shown = turn.asked.offer.features[drawn.slate]
        session = Session(turn.identity, turn.step, now, turn.history, shown, impression)
        policy = (turn.arm.policy_name, turn.arm.version)
        if fallback:
            policy = (self._safe.name, SAFE_VERSION)
        return Answered(
            turn,
            drawn,
            impressions.text_of(impression),
            self.tokens.write(session),
            *policy,
            fallback,
            trace,
        )

    def _log(self, answer: Answered, generation: int, now: float) -> None:
        asked = answer.turn.asked
        user = asked.user_id if self._pseudonyms is None else self._pseudonyms.of(asked.user_id)
        line = encode_impression(
            Line(
                asked,
                answer.drawn,
                session_id=answer.turn.identity.hex(),
                user_id=user,
                step=answer.turn.step,
                time=now,
                impression_id=answer.impression,
                history=answer.turn.history,
                policy=answer.policy,
                policy_version=answer.version,
                arm=answer.turn.arm.name,
                fallback=answer.fallback,
                generation=generation,
            )
        )
        self._note("impressions", self._journal.impressions.append(line))

    def _note(self, kind: str, written: bool) -> None:
        if not written:
            self.metrics.add("recsim_log_lost", kind)
        if not written or self.metrics.values["recsim_log_failing", (kind,)]:
            self.metrics.set("recsim_log_failing", kind, to=0 if written else 1)
