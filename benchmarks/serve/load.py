"""A small HTTP client that keeps many connections busy and says what became of each request.

It sends prepared bodies, retries nothing and hides nothing: a connection that is
closed under a request is a failed request.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlsplit

_ID = re.compile(rb'"impression_id":"([^"]+)"')
_TOKEN = re.compile(rb'"session":"([^"]+)"')
_SIZE = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_RETRY = re.compile(rb"\r\nretry-after: *\d", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_PAUSE = 0.05
"""Seconds that a client waits after a failure, so that a dead server does not make it spin."""

REFUSED = "connection refused"


class Reply(NamedTuple):
    """What became of a request.

    Attributes:
        began: when it was sent, of `time.monotonic`.
        ended: when all of its answer was there.
        status: of HTTP; 0: no answer.
        ids: impressions that it was answered with.
        note: of a failure, what happened or what the answer says.
        told: whether the answer said when to try again.
    """

    began: float
    ended: float
    status: int
    ids: list[bytes]
    note: str
    told: bool

    @property
    def shed(self) -> bool:
        """Whether the server said that it is too busy or stopping, as it should."""
        return self.status == 503 and self.told

    @property
    def unsent(self) -> bool:
        """Whether no connection was taken, so that no request was in flight."""
        return self.note == REFUSED


@dataclass(frozen=True)
class Session:
    """How clients carry sessions on.

    Attributes:
        responses: JSON of what came back for a slate, sent with each token.
        steps: after which a client begins another session.
    """

    responses: bytes
    steps: int = 20


class _Connection:
    """One connection, opened where needed, with one request at a time."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes, timeout: float) -> tuple[bytes, bytes]:
        """Headers and body of the answer.

        Raises:
            OSError, EOFError, TimeoutError, ValueError: there is no whole answer.
        """
        async with asyncio.timeout(timeout):
            if self._streams is None:
                self._streams = await asyncio.open_connection(self._host, self._port)
            reader, writer = self._streams
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            size = _SIZE.search(head)
            body = await (reader.readexactly(int(size[1])) if size else reader.read())
        if size is None or _CLOSE.search(head):
            self.close()
        return head, body

    def close(self) -> None:
        """Begin anew with the next request."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


class Load:
    """Requests in the background, on so many connections, while the block runs.

    Attributes:
        replies: so far, in the order of their ends.
    """

    def __init__(
        self,
        url: str,
        bodies: Sequence[bytes],
        connections: int,
        *,
        route: str = "/v1/recommend",
        rate: float | None = None,
        most: int | None = None,
        session: Session | None = None,
        timeout: float = 30.0,
    ) -> None:
        """Nothing is sent before the block.

        Args:
            url: of the server, which is on loopback.
            bodies: JSON objects, sent in turns.
            connections: each with one request at a time.
            route: to post to.
            rate: requests a second on all connections, sent when their time has come and a
                connection is free; as fast as answers come if not given.
            most: requests, after which it ends by itself.
            session: how to carry sessions on; not at all if not given.
            timeout: seconds after which a request has failed.
        """
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        if not self._host.startswith("127."):
            raise ValueError(f"the load is for this machine alone, and not for {self._host}")
        self._route, self._bodies = route.encode(), itertools.cycle(bodies)
        self._connections, self._rate, self._most = connections, rate, most
        self._session, self._timeout = session, timeout
        self.replies: list[Reply] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Load:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Send no more, and wait for what is in flight."""
        self._stop.set()
        self._thread.join()

    def join(self) -> None:
        """Wait until `most` requests are through."""
        self._thread.join()

    def until(self, count: int, seconds: float = 60.0) -> None:
        """Wait for so many more answers.

        Raises:
            TimeoutError: they do not come.
        """
        deadline, target = time.monotonic() + seconds, count + answered(self.replies)
        while answered(self.replies) < target:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{count} answers do not come in {seconds:g} s: {self.tally()}")
            time.sleep(0.02)

    def tally(self) -> dict[str, int]:
        """How many replies there are of each kind."""
        return dict(Counter(kind(reply) for reply in list(self.replies)))

    async def _run(self) -> None:
        tickets = iter(range(self._most)) if self._most is not None else itertools.count()
        began = time.monotonic()
        await asyncio.gather(*(self._client(tickets, began) for _ in range(self._connections)))

    async def _client(self, tickets: Iterator[int], began: float) -> None:
        connection = _Connection(self._host, self._port)
        token, step = b"", 0
        for ticket in tickets:
            if self._rate is not None:
                await asyncio.sleep(max(0.0, began + ticket / self._rate - time.monotonic()))
            if self._stop.is_set():
                break
            body = next(self._bodies)
            if token and self._session is not None:
                body = self._session_of(body, token)
            reply, found = await self._ask(connection, body)
            self.replies.append(reply)
            carried = self._session is not None and step + 1 < self._session.steps
            token, step = (found, step + 1) if found and carried else (b"", 0)
            if not reply.status or reply.unsent:
                await asyncio.sleep(_PAUSE)
        connection.close()

    def _session_of(self, body: bytes, token: bytes) -> bytes:
        assert self._session is not None
        return b'%b,"session":"%b","responses":%b}' % (body[:-1], token, self._session.responses)

    async def _ask(self, connection: _Connection, body: bytes) -> tuple[Reply, bytes]:
        request = (
            b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (self._route, len(body), body)
        )
        began = time.monotonic()
        try:
            head, answer = await connection.ask(request, self._timeout)
            status = int(head[9:12])
        except ConnectionRefusedError:
            return Reply(began, time.monotonic(), 0, [], REFUSED, False), b""
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            connection.close()
            return Reply(began, time.monotonic(), 0, [], type(error).__name__, False), b""
        except asyncio.LimitOverrunError:
            connection.close()
            return Reply(began, time.monotonic(), 0, [], "endless headers", False), b""
        ended = time.monotonic()
        if status != 200:
            note = answer[:200].decode("utf-8", "replace")
            return Reply(began, ended, status, [], note, bool(_RETRY.search(head))), b""
        token = _TOKEN.search(answer)
        return Reply(began, ended, 200, _ID.findall(answer), "", False), token[1] if token else b""


def kind(reply: Reply) -> str:
    """A word for it."""
    if reply.shed:
        return "503 with Retry-After"
    return str(reply.status) if reply.status else reply.note


def answered(replies: Iterable[Reply]) -> int:
    """How many have an answer."""
    return sum(reply.status == 200 for reply in list(replies))


def failed(replies: Iterable[Reply], *, besides: Callable[[Reply], bool] | None = None) -> int:
    """How many have none, but for those that may have none."""
    return sum(
        reply.status != 200 and not (besides is not None and besides(reply))
        for reply in list(replies)
    )


def quantile(replies: Sequence[Reply], part: float) -> float:
    """Milliseconds within which that part of the answers came; 0 without answers."""
    times = sorted(1e3 * (one.ended - one.began) for one in replies if one.status == 200)
    return times[min(len(times) - 1, int(part * len(times)))] if times else 0.0


def await_true(condition: Callable[[], bool], seconds: float, every: float = 0.05) -> float:
    """Seconds until something is so.

    Raises:
        TimeoutError: it is not in time.
    """
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        with contextlib.suppress(OSError):
            if condition():
                return time.monotonic() - began
        time.sleep(every)
    raise TimeoutError(f"it did not happen within {seconds:g} s")
