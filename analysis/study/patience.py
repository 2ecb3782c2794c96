"""How long the raters' page waits for a request: uvicorn alone holds a connection as long as somebody keeps it open."""

from __future__ import annotations

import asyncio

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
