"""What is put between Ray Serve and HAProxy: a command that amends HAProxy's config.

Ray writes the config, and has no settings for what is amended here. Called as
`python -I haproxy.py AMENDMENTS BINARY ARGUMENTS...`, it amends the config that
follows `-f` and becomes HAProxy. It imports nothing of ours, to be there at once.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

_REASONS = {
    502: ("Bad Gateway", "the replica that held the request has ended; send it again"),
    503: ("Service Unavailable", "no replica is ready; try again soon"),
    504: ("Gateway Timeout", "the replica did not answer in time; try again soon"),
}
BUSY = "as many requests are waiting as are allowed; try again soon"
STARTING = "the proxy is starting; try again soon"
_QUEUE_SECONDS = 10


@dataclass(frozen=True)
class Amendments:
    """What to change.

    Attributes:
        loopback: ports of HAProxy's own pages, to listen on loopback only.
        in_flight: requests that a replica holds at a time.
        queued: requests that may wait for a replica, beyond which 503 is the answer; -1
            for no limit.
        retry_after: seconds, of a 503.
        stopping: while there is such a file, none is to start.
        folder: for pages that say what is wrong.
        body_seconds: for a client to send what fits into a buffer, or its whole body.
    """

    loopback: tuple[int, ...]
    in_flight: int
    queued: int
    retry_after: int
    stopping: str
    folder: str
    body_seconds: float = 10.0

    def write(self, path: Path) -> None:
        """For the command to read."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def of(cls, data: Mapping[str, object]) -> Amendments:
        """As they were written."""
        values: dict[str, object] = {**data, "loopback": tuple(data["loopback"])}  # type: ignore[arg-type]
        return cls(**values)  # type: ignore[arg-type]


def amended(config: str, wanted: Amendments) -> str:
    """A config of Ray Serve's with all that is wanted; what is not there stays away.

    - HAProxy's pages listen on loopback, whatever the host of HTTP.
    - A request waits here until its body has come, for `body_seconds`.
    - A replica gets `in_flight` requests at a time. Others wait, up to `queued`; then the
      answer is a 503 that no replica had to make.
    - Where Ray answers 404 since it does not know its routes yet, and 500 since there is
      no replica, the answer is a 503 that clients may try again after.
    """
    pages = "|".join(map(str, wanted.loopback))
    config = re.sub(rf"^( *bind )\*?:({pages})$", r"\g<1>127.0.0.1:\2", config, flags=re.M)
    config = re.sub(
        r"^( *server \S+ \S+ check\b.*)$", rf"\1 maxconn {wanted.in_flight}", config, flags=re.M
    )
    config = re.sub(
        r"^( *)http-reuse always$",
        lambda found: f"{found[0]}\n{_queue(found[1], wanted)}",
        config,
        flags=re.M,
    )
    config = re.sub(
        r"^( *)http-request return status 404 .*$",
        lambda found: f"{found[1]}{_refusal(STARTING, wanted)}",
        config,
        flags=re.M,
    )
    return re.sub(
        r"^( *errorfile (\d+)) .*$",
        lambda found: f"{found[1]} {wanted.folder}/{found[2]}.http",
        config,
        flags=re.M,
    )


def _queue(indent: str, wanted: Amendments) -> str:
    late = f"the body did not arrive within {wanted.body_seconds:g} seconds; send it faster"
    lines = [
        f"{indent}timeout queue {_QUEUE_SECONDS}s",
        # A request whose body is under way would hold one of a replica's few places.
        f"{indent}http-error status 408 content-type application/json string '{_body(late)}'",
        f"{indent}http-request wait-for-body time {1000 * wanted.body_seconds:.0f}ms",
    ]
    if wanted.queued >= 0:
        full = f"{{ queue ge {wanted.queued} }} {{ be_conn_free le 0 }}"
        # Whether the endpoint is alive is answered under load too.
        lines.append(f"{indent}{_refusal(BUSY, wanted)} if {full} !{{ path /healthz /readyz }}")
    return "\n".join(lines)


def _refusal(sentence: str, wanted: Amendments) -> str:
    return (
        f"http-request return status 503 content-type application/json "
        f"hdr Retry-After {wanted.retry_after} string '{_body(sentence)}'"
    )


def _body(sentence: str) -> str:
    return json.dumps({"error": sentence, "field": ""}, separators=(",", ":"))


def page(status: int, retry_after: int) -> str:
    """An answer of HAProxy's own, as it stands in a file."""
    reason, sentence = _REASONS[status]
    body = _body(sentence)
    after = f"Retry-After: {retry_after}\r\n" if status == 503 else ""
    return (
        f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\n{after}"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    )


def write_pages(wanted: Amendments) -> None:
    """The files that an amended config names."""
    for status in _REASONS:
        Path(wanted.folder, f"{status}.http").write_bytes(page(status, wanted.retry_after).encode())


def main(words: Sequence[str]) -> None:
    """Amend, and become HAProxy."""
    wanted = Amendments.of(json.loads(Path(words[0]).read_text()))
    if Path(wanted.stopping).exists():
        sys.exit(1)
    binary, arguments = words[1], list(words[2:])
    if "-f" in arguments:
        path = Path(arguments[arguments.index("-f") + 1])
        path.write_text(amended(path.read_text(), wanted))
    # A terminal's Ctrl-C goes to all processes, and would end HAProxy with requests in flight.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.execv(binary, [binary, *arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
