"""Requests as arrays, with everything checked that a schema cannot say."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from envs.spec import Feature, FeatureSpec
from serve.problem import Refused
from serve.token import Floats, Session, TokenWriter

Flags = NDArray[np.bool_]
Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Offer:
    """Candidates of a request.

    Attributes:
        ids: N of them, all different.
        features: (N, D).
        catalogue: version of the catalogue that they are from, or empty.
    """

    ids: list[str]
    features: Floats
    catalogue: str = ""


@dataclass(frozen=True, eq=False)
class Wanted:
    """What to look for in a catalogue.

    Attributes:
        user: features, (U,).
        filters: by column, the values that an item may have there.
        limit: of items, the nearest; `None` for the server's own.
        eligible: ids to choose among; `None` for all.
        excluded: ids to leave out.
        pinned: ids that must be there.
    """

    user: Floats
    filters: Mapping[str, Sequence[str | int | float | bool]]
    limit: int | None
    eligible: Sequence[str] | None
    excluded: Sequence[str]
    pinned: Sequence[str]


class Catalogue(Protocol):
    """Where candidates come from that a request does not bring."""

    def offer(self, wanted: Wanted) -> Offer:
        """Items to consider.

        Raises:
            Refused: there is no such column.
        """


@dataclass(frozen=True, eq=False)
class Asked:
    """A request.

    Attributes:
        user: (U,).
        offer: the candidates.
        mask: eligible ones, (N,).
        pinned: positions, (K,), -1 where a slot is free; `None` for none.
        slate_size: K.
        epsilon: exploration asked for at least.
        session: of the token, if one came.
        response: to that session's last slate, (K', R), if it came.
        user_id: or empty.
        request_id: or empty.
        field: where it stands, such as `requests[2].`, or empty.
    """

    user: Floats
    offer: Offer
    mask: Flags
    pinned: Positions | None
    slate_size: int
    epsilon: float
    session: Session | None
    response: Floats | None
    user_id: str
    request_id: str
    field: str = ""

    def digest(self) -> bytes:
        """Says the same of the same content, 16 bytes."""
        found = hashlib.blake2b(digest_size=16)
        words = [self.user_id, self.request_id, self.offer.catalogue, *self.offer.ids]
        found.update(repr((self.slate_size, self.epsilon, words)).encode())
        for part in (self.user, self.offer.features, self.mask, self.pinned, self.response):
            found.update(b"-" if part is None else part.tobytes())
        if self.session is not None:
            found.update(self.session.impression)
        return found.digest()


@dataclass(frozen=True)
class Reader:
    """Turns parsed requests into arrays.

    Attributes:
        spec: of the features.
        tokens: reads session tokens.
        catalogue: for requests without candidates.
    """

    spec: FeatureSpec
    tokens: TokenWriter
    catalogue: Catalogue | None = None

    def ask(self, request: Any, field: str = "") -> Asked:
        """A request of `Schemas.recommend`.

        Args:
            request: parsed.
            field: where it stands, such as `requests[2].`.

        Raises:
            Refused: it asks for what cannot be.
        """
        user = row(self.spec.user, request.user)
        offer = self._offer(request, user, field)
        index = {name: position for position, name in enumerate(offer.ids)}
        if len(index) < len(offer.ids):
            raise _twice(offer.ids, field)
        mask = _eligible(request, index, field, chosen=bool(offer.catalogue))
        pinned = _pins(request, index, mask, field)
        able = int(mask.sum())
        if request.slate_size > able:
            raise Refused(
                f"{field}slate_size is {request.slate_size}, but {able} of {len(mask)} candidates "
                "are eligible; ask for fewer or offer more",
                field=f"{field}slate_size",
            )
        session, response = self._session(request, field)
        return Asked(
            user,
            offer,
            mask,
            pinned,
            request.slate_size,
            request.epsilon,
            session,
            response,
            request.user_id,
            request.request_id,
            field,
        )

    def _offer(self, request: Any, user: Floats, field: str) -> Offer:
        if request.candidates is not None:
            if self.catalogue is not None and "catalogue" in request.model_fields_set:
                raise Refused(
                    f"{field}candidates and {field}catalogue are both given; leave one out",
                    field=f"{field}catalogue",
                )
            ids = [item["id"] for item in request.candidates]
            found = [item["features"] for item in request.candidates]
            return Offer(ids, table(self.spec.candidate, found))
        if self.catalogue is None:
            raise Refused(f"{field}candidates is missing; add it", field=f"{field}candidates")
        wanted = Wanted(
            user,
            request.catalogue.filters,
            request.catalogue.limit,
            request.eligible,
            request.excluded,
            [pin.id for pin in request.pinned],
        )
        try:
            return self.catalogue.offer(wanted)
        except Refused as refused:
            raise Refused(f"{field}{refused}", field=f"{field}{refused.field}") from None

    def _session(self, request: Any, field: str) -> tuple[Session | None, Floats | None]:
        if request.session is None:
            if request.responses is not None:
                raise Refused(
                    f"{field}responses came without a session; send the token of the answer that "
                    "they belong to",
                    field=f"{field}responses",
                )
            return None, None
        session = self.tokens.read(request.session, f"{field}session")
        if request.responses is None:
            return session, None
        response = self.responses(request.responses, len(session.shown), f"{field}responses")
        return session, response

    def responses(self, given: Sequence[dict[str, Any]], slots: int, field: str) -> Floats:
        """Responses to a slate, (K, R).

        Raises:
            Refused: there is not one a slot.
        """
        if len(given) != slots:
            raise Refused(
                f"{field} has {len(given)} entries, but the slate that was shown has {slots} "
                "slots; send one a slot, in order",
                field=field,
            )
        return table(self.spec.response, given)


def table(group: Sequence[Feature], rows: Sequence[dict[str, Any]]) -> Floats:
    """Features of several things, (rows, columns)."""
    columns = [
        np.array([given[feature.name] for given in rows], np.float32).reshape(len(rows), -1)
        for feature in group
    ]
    return columns[0] if len(columns) == 1 else np.concatenate(columns, axis=1)


def row(group: Sequence[Feature], given: dict[str, Any]) -> Floats:
    """Features of one thing, (columns,)."""
    found: Floats = table(group, [given])[0]
    return found


def _twice(ids: list[str], field: str) -> Refused:
    seen: set[str] = set()
    for position, name in enumerate(ids):
        if name in seen:
            where = f"{field}candidates[{position}].id"
            return Refused(
                f"{where} is '{name}', which an earlier candidate has; ids must differ", field=where
            )
        seen.add(name)
    raise AssertionError("no id stands there twice")


def _eligible(request: Any, index: dict[str, int], field: str, *, chosen: bool) -> Flags:
    """Which candidates may be shown; of a `chosen` offer, filters and the limit left items out."""
    mask = np.ones(len(index), np.bool_)
    if request.eligible is not None:
        mask[:] = False
        for number, name in enumerate(request.eligible):
            if name not in index:
                if chosen:
                    continue
                where = f"{field}eligible[{number}]"
                raise Refused(
                    f"{where} is '{name}', which is no candidate; name candidates", field=where
                )
            mask[index[name]] = True
    for name in request.excluded:
        if name in index:
            mask[index[name]] = False
    return mask


def _pins(request: Any, index: dict[str, int], mask: Flags, field: str) -> Positions | None:
    if not request.pinned:
        return None
    pinned = np.full(request.slate_size, -1, np.int64)
    for number, pin in enumerate(request.pinned):
        where = f"{field}pinned[{number}]"
        if pin.slot >= len(pinned):
            raise Refused(
                f"{where}.slot is {pin.slot}, but the slate has {len(pinned)}; they count from 0",
                field=f"{where}.slot",
            )
        if pinned[pin.slot] >= 0:
            raise Refused(
                f"{where}.slot is {pin.slot}, which is pinned already; pin a slot once",
                field=f"{where}.slot",
            )
        position = index.get(pin.id)
        if position is None or not mask[position] or position in pinned:
            reason = (
                "no candidate"
                if position is None
                else ("not eligible" if not mask[position] else "pinned already")
            )
            raise Refused(
                f"{where}.id is '{pin.id}', which is {reason}; pin eligible candidates, each once",
                field=f"{where}.id",
            )
        pinned[pin.slot] = position
    return pinned
