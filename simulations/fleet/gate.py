"""The gate: what of a SuperLink is open to the network, which is what hosts need and nothing else.

Flower 1.41 serves three interfaces on one port: for hosts (each request signed with a registered key), for whoever
starts runs, and for its own processes. The latter two ask for no password, and a run is a program of somebody's choice
on every host. So the SuperLink stays on its machine's loopback, and this proxy passes on what a host may ask, by name.

Anybody may knock. So that nobody can stand in the door, a request is passed on when all of it is there, it may be of no
more than a certain size and age, and each address has so many connections. (uvicorn's own `limit_concurrency` counts
all addresses together, so that one could use up what is there for all.)
"""

from __future__ import annotations

import asyncio
import re
import ssl
from asyncio.sslproto import SSLProtocol
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from simulations.fleet.kit import Kit

OPEN = re.compile(r"/health|/v1/fleet/[a-z-]+")
"""Paths that pass, matched whole: what is not known here does not pass."""

LARGEST = 8 * 2**20
"""Bytes of a request's body: Flower sends weights in pieces of 5 MiB, and whatever else a host says is smaller."""

BODY_SECONDS = 300.0
"""For a body to come: a piece of weights on a link of 150 kbit/s."""

HEAD_SECONDS = 30.0
"""For a connection's first request to begin: a host that is gone without a word would be waited for without end."""

HANDSHAKE_SECONDS = 10
"""For TLS to begin: 2 kB in two turns, which a link of 150 kbit/s carries in a fraction of a second."""

CONNECTIONS = 128
"""Of one address: a SuperNode has four at most, and the hosts of a site may share an address."""

_HOP_BY_HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "host", "date", "server"}
_TIMEOUT = httpx.Timeout(300, connect=5)
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=20)  # a request that is whole waits for no other

Event = Mapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]


class Gate:
    """An ASGI application before a SuperLink."""

    def __init__(self, link: str, authority: Path) -> None:
        self._client = httpx.AsyncClient(
            base_url=link, verify=ssl.create_default_context(cafile=authority), timeout=_TIMEOUT, limits=_LIMITS,
            trust_env=False,
        )  # fmt: skip

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            return
        if not OPEN.fullmatch(scope["path"]):
            await _answer(send, 404)
            return
        headers = [(key, value) for key, value in scope["headers"] if key.decode("latin-1") not in _HOP_BY_HOP]
        try:
            body = await _body(receive)
        except OverflowError:
            await _answer(send, 413)
            return
        except OSError:  # it came too slowly, or the host is gone
            await _answer(send, 503)
            return
        request = self._client.build_request(scope["method"], scope["path"], headers=headers, content=body)
        try:
            response = await self._client.send(request, stream=True)
        except httpx.TransportError:
            await _answer(send, 503)  # SuperNodes try again
            return
        try:
            kept = [(k, v) for k, v in response.headers.raw if k.decode("latin-1").lower() not in _HOP_BY_HOP]
            await send({"type": "http.response.start", "status": response.status_code, "headers": kept})
            async for piece in response.aiter_raw():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body"})
        finally:
            await response.aclose()


class Door(SSLProtocol):
    """A connection from its first moment: hung up where its address has too many, else TLS with a guest behind it.

    uvicorn serves plain connections by this, of which asyncio tells at once; of TLS it would tell after the handshake.
    """

    def __init__(self, tls: ssl.SSLContext, there: Counter[str], **guest: Any) -> None:
        """`there`: each address's connections, this one to be counted too; `guest`: what uvicorn tells a protocol."""
        loop, within = asyncio.get_running_loop(), HANDSHAKE_SECONDS
        nobody: Any = None  # waits for the handshake
        super().__init__(loop, Guest(**guest), tls, nobody, server_side=True, ssl_handshake_timeout=within)
        self._there, self._here = there, ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let it in, or not."""
        address, *_ = transport.get_extra_info("peername") or ("gone already",)
        self._here = _neighbourhood(address)
        self._there[self._here] += 1
        if self._there[self._here] > CONNECTIONS:
            transport.abort()
        else:
            super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Count it no longer."""
        self._there[self._here] -= 1
        if not self._there[self._here]:
            del self._there[self._here]
        super().connection_lost(exc)


class Guest(H11Protocol):
    """A connection that speaks TLS, closed where it does not say what it wants (in 64 kB, says h11)."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Listen, for a while."""
        super().connection_made(transport)
        self.loop.call_later(HEAD_SECONDS, self._close_if_silent)

    def _close_if_silent(self) -> None:
        if self.cycle is None:
            self.transport.close()


def _neighbourhood(address: str) -> str:
    """An address, or the network of IPv6 addresses that whoever has one of them has too."""
    return str(ip_network((address, 64), strict=False)) if ":" in address else address


def serve(kit: Kit) -> None:
    """Run the gate of a server's folder until it is told to end."""
    uvicorn.run(**settings(kit))


def settings(kit: Kit) -> dict[str, Any]:
    """What uvicorn is told."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(kit.folder / "server.crt", kit.folder / "server.key")
    return {
        "app": Gate(f"https://127.0.0.1:{kit.link_port}", kit.folder / "ca.crt"),
        "host": kit.listens_on,
        "port": kit.port,
        "http": partial(Door, tls, Counter()),
        "lifespan": "off",
        "access_log": False,
        "server_header": False,
        "log_level": "warning",
        "ws": "none",
    }


async def _body(receive: Receive) -> bytes:
    """The whole body of a request."""
    body, more = bytearray(), True
    async with asyncio.timeout(BODY_SECONDS):
        while more:
            event = await receive()
            if event["type"] == "http.disconnect":
                raise ConnectionError
            body += event.get("body", b"")
            if len(body) > LARGEST:
                raise OverflowError
            more = event.get("more_body", False)
    return bytes(body)


async def _answer(send: Send, status: int) -> None:
    """Say no, and hang up: what else there is to a request need not be heard."""
    headers = [(b"content-length", b"0"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body"})
