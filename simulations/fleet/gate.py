"""The gate: what of a SuperLink is open to the network, which is what hosts need and nothing else.

Flower 1.41 serves three interfaces on one port: for hosts (each request signed with a registered key), for whoever
starts runs, and for its own processes. The latter two ask for no password, and a run is a program of somebody's choice
on every host. So the SuperLink stays on its machine's loopback, and this proxy passes on what a host may ask, by name.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from simulations.fleet.kit import Kit

OPEN = re.compile(r"/health|/v1/fleet/[a-z-]+")
"""Paths that pass, matched whole: what is not known here does not pass."""

_HOP_BY_HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "host", "date", "server"}
_TIMEOUT = httpx.Timeout(300, connect=5)

Event = Mapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]


class Gate:
    """An ASGI application before a SuperLink."""

    def __init__(self, link: str, authority: Path) -> None:
        self._client = httpx.AsyncClient(
            base_url=link, verify=ssl.create_default_context(cafile=authority), timeout=_TIMEOUT, trust_env=False
        )

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            return
        if not OPEN.fullmatch(scope["path"]):
            await _answer(send, 404)
            return
        headers = [(key, value) for key, value in scope["headers"] if key.decode("latin-1") not in _HOP_BY_HOP]
        request = self._client.build_request(
            scope["method"], scope["path"], headers=headers, content=_body(receive) if _has_body(headers) else None
        )
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


def serve(kit: Kit) -> None:
    """Run the gate of a server's folder until it is told to end."""
    uvicorn.run(
        Gate(f"https://127.0.0.1:{kit.link_port}", kit.folder / "ca.crt"),
        host=kit.listens_on,
        port=kit.port,
        ssl_certfile=kit.folder / "server.crt",
        ssl_keyfile=kit.folder / "server.key",
        lifespan="off",
        access_log=False,
        server_header=False,
        log_level="warning",
        ws="none",
    )


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise httpx.ReadError("the host hung up")
        yield event.get("body", b"")
        more = event.get("more_body", False)


def _has_body(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(key == b"content-length" and value != b"0" for key, value in headers)


async def _answer(send: Send, status: int) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})
