"""A visit: a session with the endpoint, of a simulated user or of a user entered by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from algorithms.core.affinity import scores
from envs.spec import FeatureSpec
from serve.demonstrating.choosing import can_be_told
from serve.demonstrating.client import Client, Conversation
from serve.demonstrating.labels import describe
from serve.demonstrating.playing import Entered, Player, Rival, Track, World, rivals
from serve.simulating.client import check_fit
from serve.simulating.messages import objects, positions, requests

ENDPOINT = "endpoint"
NEVER = "this user would (almost) never do that; choose otherwise"


@dataclass(frozen=True)
class Item:
    """A candidate as a page shows it.

    Attributes:
        title: a short name.
        lines: names and values of its features.
        appeal: to the user at first sight; `None` where nothing observed says.
        slot: where it is shown; `None` where it is not.
        score: log-weight; `None` where it is not shown.
        propensity: given the slots before; `None` where it is not shown.
    """

    title: str
    lines: list[tuple[str, str]]
    appeal: float | None = None
    slot: int | None = None
    score: float | None = None
    propensity: float | None = None


def slate_of(items: Sequence[Item]) -> list[Item]:
    """Those that are shown, slot by slot."""
    found = [(item.slot, item) for item in items if item.slot is not None]
    return [item for _, item in sorted(found, key=lambda pair: pair[0])]


class SimulatedVisit:
    """A simulated user asks the endpoint; rivals play the same user beside it.

    Attributes:
        talk: with the endpoint.
        player: the user.
        rivals: of the same user, with the same luck.
        items: candidates of the last answer.
        epsilon: exploration to ask for.
    """

    def __init__(
        self,
        client: Client,
        world: World,
        seed: int,
        user: int,
        *,
        entered: Entered | None = None,
        epsilon: float = 0.0,
    ) -> None:
        """Begin; nothing is asked yet.

        Raises:
            ValueError: a feature cannot be entered, or the endpoint does not fit the world.
        """
        self.talk, self.epsilon = Conversation(client), epsilon
        self.player = Player(ENDPOINT, world, seed, user, entered)
        one = self.player.simulator
        check_fit(client.policy(), one.spec, one.num_candidates, one.slate_size)
        self.rivals: list[Rival] = rivals(world, seed, user, entered)
        self.items: list[Item] = []
        self._name = f"demo-{user}"

    @property
    def spec(self) -> FeatureSpec:
        """Of the world."""
        return self.player.simulator.spec

    @property
    def can_click(self) -> bool:
        """Whether a visitor may click in the user's place."""
        return can_be_told(self.player.simulator)

    @property
    def over(self) -> bool:
        """Whether the user has left."""
        return self.player.track.over

    @property
    def tracks(self) -> list[Track]:
        """The endpoint's first."""
        return [self.player.track, *(rival.player.track for rival in self.rivals)]

    def ask(self) -> None:
        """Ask for the next slate, or send the last responses where the session is over.

        Raises:
            EndpointError: it failed; can be called again.
        """
        if self.over:
            self.talk.end()
            return
        simulator, step = self.player.simulator, len(self.player.track.rewards)
        (request,) = requests(
            self.spec, self.player.seen, [0], [self._name], step, simulator.slate_size
        )
        if self.epsilon:
            request["epsilon"] = self.epsilon
        self.items = self._items(self.talk.ask(request))

    def choose(self) -> None:
        """The simulated user reacts to the slate.

        Raises:
            EndpointError: the next slate could not be had; `ask` tries again.
        """
        self._after(self.player.step(self._slate()))

    def click(self, slot: int | None) -> None:
        """The visitor clicks in the user's place, or on nothing.

        Raises:
            ValueError: the user never would.
            EndpointError: the next slate could not be had; `ask` tries again.
        """
        found = self.player.click(self._slate(), slot)
        if found is None:
            raise ValueError(NEVER)
        self._after(found)

    def finish(self) -> None:
        """The rivals play to the end of their sessions."""
        for rival in self.rivals:
            while not rival.player.track.over:
                rival.step()

    def _slate(self) -> list[int]:
        assert self.talk.answer is not None, "the page offers no clicks without a slate"
        return positions(self.talk.answer)

    def _after(self, found: Any) -> None:
        self.talk.respond(objects(self.spec.response, found.response[0].numpy()))
        for rival in self.rivals:
            rival.step()
        self.ask()

    def _items(self, answer: Mapping[str, Any]) -> list[Item]:
        seen, spec = self.player.seen, self.spec
        appeal = None if spec.appeal is None else scores(spec, seen.user, seen.candidates)[0]
        order = {number: slot for slot, number in enumerate(positions(dict(answer)))}
        items = []
        for number, row in enumerate(seen.candidates[0].numpy()):
            slot = order.get(number)
            shown = {} if slot is None else answer["slate"][slot]
            items.append(
                Item(
                    f"Item {number}",
                    describe(spec.candidate, row),
                    None if appeal is None else float(appeal[number]),
                    slot,
                    shown.get("score"),
                    shown.get("propensity"),
                )
            )
        return items
