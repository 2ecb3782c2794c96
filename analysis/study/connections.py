"""Connections of raters: where they are taken, and how long one is held that no request comes on."""

from __future__ import annotations

import asyncio
import socket

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0  # in which a request must begin and its head be whole, on a new connection or after its first byte


class HeadInTime(H11Protocol):
    """Closes a connection that nothing is being answered on and whose next request does not come in time.

    Without it, as many silent connections as `CONNECTIONS` would keep all raters out.
    """

    _due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)  # pyright: ignore[reportArgumentType]
        self._due = self.loop.call_later(HEAD_SECONDS, self._close)

    def data_received(self, data: bytes) -> None:
        """Stop waiting once a request is being answered; more bytes of an unfinished one give no more time."""
        super().data_received(data)
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering and self._due is not None:
            self._due.cancel()
            self._due = None
        elif not answering and self._due is None:
            self._due = self.loop.call_later(HEAD_SECONDS, self._close)

    def connection_lost(self, exc: Exception | None) -> None:
        """End waiting."""
        super().connection_lost(exc)
        if self._due is not None:
            self._due.cancel()

    def _close(self) -> None:
        answering = self.cycle is not None and not self.cycle.response_complete
        if not answering:
            self.transport.close()
        self._due = None


def listening(host: str, port: int) -> socket.socket:
    """A socket that takes connections.

    Raises:
        ValueError: the address is taken or not of this machine.
    """
    if not host:
        raise ValueError("--host is empty, wanted an address such as 127.0.0.1; 0.0.0.0 is every one of this machine")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError, UnicodeError) as problem:
        reason = str((problem.strerror if isinstance(problem, OSError) else None) or problem).partition(" (while")[0]
        raise ValueError(f"cannot listen on {host}, port {port} ({reason}); choose others, --host, --port") from None
