"""Takes new connections away from a proxy, so that it can stop without dropping any.

A proxy that closes its listening socket resets the connections that the kernel has
taken and it has not. So another socket joins the port, the kernel is told to give it
all new ones, and only then, its own queue empty, the proxy is told to finish.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
import threading
import time

import orjson
import psutil

_ATTACH = 51  # SO_ATTACH_REUSEPORT_CBPF, which Python does not name; see socket(7)
_FILTER = 26  # SO_ATTACH_FILTER
_RETURN = 0x06  # BPF_RET | BPF_K: the number of a socket in its group, or bytes to keep
_PATIENCE = 1.0
"""Seconds for a client to send its request and to take the answer."""

_BODY = orjson.dumps({"error": "the server is stopping; try again soon", "field": ""})
_ANSWER = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
    b"Retry-After: 5\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
)


class Parking:
    """Answers new connections of a port with 503 while the block runs."""

    def __init__(self, host: str, port: int) -> None:
        """Join the port, whose other sockets must have `SO_REUSEPORT`.

        Raises:
            OSError: they have not, or the system knows no such thing.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            self._socket.bind((host, port))
            self._socket.listen(1024)
            self._steer(_listening(port) - 1)  # the last to join has the last number
        except (OSError, psutil.Error) as error:
            self._socket.close()
            raise OSError(str(error)) from None
        self._socket.settimeout(0.05)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._answer, daemon=True)

    def _steer(self, number: int) -> None:
        self._program(_ATTACH, number)

    def _deafen(self) -> None:
        """Drop what asks for a connection; who asks again finds the port closed."""
        self._program(_FILTER, 0)

    def _program(self, option: int, value: int) -> None:
        program = ctypes.create_string_buffer(struct.pack("HBBI", _RETURN, 0, 0, value))
        packed = struct.pack("HL", 1, ctypes.addressof(program))
        self._socket.setsockopt(socket.SOL_SOCKET, option, packed)

    def _answer(self) -> None:
        answering: list[threading.Thread] = []
        while True:
            last = self._stop.is_set()
            try:
                taken, _ = self._socket.accept()
            except OSError:  # nobody for a moment
                if last:
                    break
                continue
            answering = [one for one in answering if one.is_alive()]
            answering.append(threading.Thread(target=_refuse, args=(taken,), daemon=True))
            answering[-1].start()
        until = time.monotonic() + 2 * _PATIENCE
        for one in answering:
            one.join(max(0.0, until - time.monotonic()))

    def __enter__(self) -> Parking:
        """Begin to answer."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the port; a connection that was taken gets its answer."""
        with contextlib.suppress(OSError):
            self._deafen()
        self._stop.set()
        self._thread.join()
        self._socket.close()


def _listening(port: int) -> int:
    found = [one for one in psutil.net_connections("tcp") if one.status == psutil.CONN_LISTEN]
    return sum(tuple(one.laddr)[1:] == (port,) for one in found)


def _refuse(taken: socket.socket) -> None:
    with contextlib.suppress(OSError), taken:
        taken.settimeout(_PATIENCE)
        taken.recv(2**16)
        taken.sendall(_ANSWER)
        taken.shutdown(socket.SHUT_WR)
        while taken.recv(2**16):  # closing with unread data would reset the answer
            pass
