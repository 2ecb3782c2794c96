"""The web page that raters see: a few routes over the database of votes, locked down for a link that anyone may get.

A rater's token stands in the link behind `#`, which browsers never send; the page sends it as a header, so no other
site can vote with it, and no log or address bar of a proxy holds it.
"""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import time
from collections import deque
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import uvicorn
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.convertors import IntegerConvertor, register_url_convertor
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from analysis.study.addresses import site_of
from analysis.study.connections import HeadInTime
from analysis.study.design import REFERENCE
from analysis.study.record import Study
from analysis.study.votes import Refused, Votes

PAGE = {"/": "index.html", "/study.css": "study.css", "/study.js": "study.js", "/icon.svg": "icon.svg"}
"""address -> file in page/"""
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
MOST_BYTES = 1_024  # of a request's body: a vote has 50
BODY_SECONDS = 10.0  # in which a body must have come
LONGEST_TOKEN = 128  # characters; ours have 32
MOST_MILLISECONDS = 3_600_000  # of an answer: an hour; the page says no more for a rater who went away
WRITES_A_SECOND = 10  # of one rater: more is no person
LOCAL = ("localhost", "127.0.0.1", "[::1]")  # names under which a server on this machine is asked for
CONNECTIONS = 256  # at once; further ones are told to come again
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
Body = TypeVar("Body", bound=BaseModel)


class Consent(BaseModel):
    """Body of a rater's agreement."""

    model_config = ConfigDict(strict=True, extra="forbid")
    agreed: Literal[True]


class Vote(BaseModel):
    """Body of a vote."""

    model_config = ConfigDict(strict=True, extra="forbid")
    trial: Annotated[int, Field(ge=0, le=1_000_000)]
    side: Literal["left", "right"]
    milliseconds: Annotated[int, Field(ge=0, le=MOST_MILLISECONDS)]


class TrialNumber(IntegerConvertor):
    """The number of a trial in an address; Python reads no number of over 4,300 digits."""

    regex = "[0-9]{1,7}"


register_url_convertor("trial", TrialNumber())


class Pace:
    """Refuses a rater who writes faster than people do."""

    def __init__(self) -> None:
        self.times: dict[int, deque[float]] = {}

    def check(self, rater: int) -> None:
        """Count one write.

        Raises:
            HTTPException: 429, too many in the last second.
        """
        now, times = time.monotonic(), self.times.setdefault(rater, deque(maxlen=WRITES_A_SECOND))
        if len(times) == WRITES_A_SECOND and now - times[0] < 1:
            raise HTTPException(429, "too many answers in a second", {"Retry-After": "1"})
        times.append(now)


class SafeHeaders:
    """Adds the headers of `HEADERS` to every answer.

    Args:
        app: what answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self.app(scope, receive, send_with_headers)


class Routes:
    """What the server answers.

    Args:
        study: a built study.
        votes: its database.
        address: where raters find the page; None: as their browsers name it.
    """

    def __init__(self, study: Study, votes: Votes, address: str | None) -> None:
        self.study, self.votes, self.pace = study, votes, Pace()
        self.site = None if address is None else site_of(address)
        self.files = {address: Path(__file__).parent / "page" / name for address, name in PAGE.items()}

    async def page(self, request: Request) -> Response:
        """The page and its two files."""
        path = self.files[request.url.path]
        return FileResponse(path, media_type=TYPES[path.suffix])

    async def state(self, request: Request) -> Response:
        """Where the rater is, and the texts of the study."""
        rater = await self._rater(request)
        return JSONResponse(await run_in_threadpool(self._state, rater))

    async def picture(self, request: Request) -> Response:
        """One picture of one of the rater's own trials, once the rater has agreed to take part."""
        rater, side = await self._rater(request), request.path_params["side"]
        place = await run_in_threadpool(self.votes.place, rater)
        trial = await run_in_threadpool(self.votes.trial, rater, min(request.path_params["trial"], place.total))
        shown = {} if trial is None else {"left": trial.left, "right": trial.right}
        method = REFERENCE if side == "reference" and self.study.has_reference else shown.get(side)
        if not place.consented or trial is None or method is None:
            raise HTTPException(404, "no such picture")
        data = await run_in_threadpool(self.study.picture(method, trial.item).read_bytes)
        return Response(data, media_type="image/png")

    async def consent(self, request: Request) -> Response:
        """Keep that the rater agreed."""
        rater = await self._writer(request)
        await body_of(request, Consent)
        await run_in_threadpool(self.votes.consent, rater)
        return JSONResponse(await run_in_threadpool(self._state, rater))

    async def vote(self, request: Request) -> Response:
        """Store one vote; the answer is sent when it is on disk."""
        rater = await self._writer(request)
        vote = await body_of(request, Vote)
        try:
            new = await run_in_threadpool(self.votes.vote, rater, vote.trial, vote.side, vote.milliseconds)
        except Refused as problem:
            raise HTTPException(409, str(problem)) from None
        return JSONResponse({"new": new} | await run_in_threadpool(self._state, rater))

    def _state(self, rater: int) -> dict[str, object]:
        place, study = self.votes.place(rater), self.study
        texts = {"question": study.question, "consent": study.record["consent"], "reference": study.has_reference}
        return {"consented": place.consented, "done": place.done, "total": place.total, **texts}

    async def _writer(self, request: Request) -> int:
        """The rater of a request that stores something: from our own page only, and not faster than people are."""
        check_origin(request, self.site)
        rater = await self._rater(request)
        self.pace.check(rater)
        return rater

    async def _rater(self, request: Request) -> int:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        known = None
        if scheme == "Bearer" and 0 < len(token) <= LONGEST_TOKEN:
            known = await run_in_threadpool(self.votes.rater_of, token)
        if known is None:
            raise HTTPException(401, "this link is not valid", {"WWW-Authenticate": "Bearer"})
        return known


def check_origin(request: Request, address: str | None) -> None:
    """Refuse a request that a page of another site made.

    Args:
        request: of a browser, or of a program, which names no site.
        address: host and port of the site where it stands behind another web server.

    Raises:
        HTTPException: 403.
    """
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site", "same-origin")
    own = origin is None or origin.partition("://")[2] in (request.headers.get("Host"), address)
    if not own or site != "same-origin":
        raise HTTPException(403, "answers are taken from this site's own page only")


async def body_of(request: Request, form: type[Body]) -> Body:
    """The JSON body of a request.

    Raises:
        HTTPException: it is no JSON of this form (400), of another type (415), too large (413) or too slow (408).
    """
    if request.headers.get("Content-Type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "wanted application/json")
    data = b""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                data += part
                if len(data) > MOST_BYTES:
                    raise HTTPException(413, f"wanted at most {MOST_BYTES} bytes")
    except TimeoutError:
        raise HTTPException(408, "the request came too slowly") from None
    except ClientDisconnect:
        raise HTTPException(400, "the request was cut off") from None
    try:
        return form.model_validate_json(data)
    except ValidationError:
        raise HTTPException(400, f"wanted JSON with {', '.join(form.model_fields)}") from None


def application(study: Study, votes: Votes, hosts: list[str], address: str | None = None) -> Starlette:
    """The web application of a study.

    Args:
        study: a built study.
        votes: its database.
        hosts: names under which it may be asked for, without ports.
        address: where raters find the page behind another web server; None: there is none.
    """
    routes = Routes(study, votes, address)

    async def refusal(request: Request, problem: Exception) -> Response:
        status, detail, headers = 500, "something failed here", None
        if isinstance(problem, HTTPException):
            status, detail, headers = problem.status_code, problem.detail, problem.headers
        elif isinstance(problem, sqlite3.Error | OSError):  # the disk, or the database of votes
            status, detail, headers = 503, "cannot save at the moment", {"Retry-After": "1"}
        return JSONResponse({"problem": detail}, status, headers)

    return Starlette(
        routes=[
            *(Route(address, routes.page, methods=["GET"]) for address in PAGE),
            Route("/api/state", routes.state, methods=["GET"]),
            Route("/api/picture/{trial:trial}/{side:str}", routes.picture, methods=["GET"]),
            Route("/api/consent", routes.consent, methods=["POST"]),
            Route("/api/vote", routes.vote, methods=["POST"]),
        ],
        middleware=[Middleware(SafeHeaders), Middleware(TrustedHostMiddleware, allowed_hosts=hosts)],
        exception_handlers=dict.fromkeys((HTTPException, sqlite3.Error, OSError, Exception), refusal),
    )


def serve(study: Study, votes: Votes, listener: socket.socket, hosts: list[str], address: str | None) -> None:
    """Answer raters until the process is told to end; arguments as of `application`."""
    config = uvicorn.Config(
        application(study, votes, hosts, address),
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        ws="none",
        http=HeadInTime,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=5,
    )
    uvicorn.Server(config).run(sockets=[listener])
