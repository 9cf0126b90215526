"""The gate as strangers and hosts find it, over TLS on the loopback; before no SuperLink, but an app that repeats."""

import socket
import ssl
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

import httpx
import pytest
import uvicorn
from flwr.common.constant import FLWR_PRIVATE_MAX_ARRAY_CHUNK_SIZE

from simulations.fleet import gate
from simulations.fleet.kit import load_kit
from simulations.fleet.make import init
from simulations.processes import free_port

PATH = "/v1/fleet/push-object"


async def repeats(scope, receive, send):
    """Answer with the length of what was asked."""
    length, more = 0, True
    while more:
        event = await receive()
        length, more = length + len(event.get("body", b"")), event.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(length).encode()})


@contextmanager
def served(settings):
    server = uvicorn.Server(uvicorn.Config(**settings))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.02)
        yield
    finally:
        server.force_exit = server.should_exit = True
        thread.join()


@pytest.fixture
def door(tmp_path):
    """The kit of a server whose gate is up."""
    list(init(tmp_path, "localhost", ["cam1=v01"], link_port=free_port()))
    kit = replace(load_kit(tmp_path / "server", "server"), port=free_port())
    link = {**gate.settings(kit), "app": repeats, "host": "127.0.0.1", "port": kit.link_port}
    with served(link), served(gate.settings(kit)):
        yield kit


def trusting(kit):
    return ssl.create_default_context(cafile=kit.folder / "ca.crt")


def post(kit, content, path=PATH):
    with httpx.Client(verify=trusting(kit), timeout=20, trust_env=False) as client:
        return client.post(f"https://localhost:{kit.port}{path}", content=content)


def silent(kit):
    """A connection from another address than ours, without a word of TLS."""
    return socket.create_connection(("127.0.0.1", kit.port), timeout=20, source_address=("127.0.0.2", 0))


def stranger(kit, says=b""):
    """A connection from another address than ours, that says this and no more."""
    line = trusting(kit).wrap_socket(silent(kit), server_hostname="localhost")
    line.sendall(says)
    return line


def begun(length=10):
    """A request without its body."""
    return f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n".encode()


def heard(line):
    """What the gate says before it hangs up."""
    said = b""
    with suppress(ConnectionResetError):
        while piece := line.recv(1000):
            said += piece
    return said


def test_a_stranger_with_many_connections_keeps_nobody_else_out(door):
    with ExitStack() as strangers:
        lines = [strangers.enter_context(stranger(door, begun())) for _ in range(gate.CONNECTIONS)]
        assert post(door, b"12345").text == "5"
        for _ in range(20):
            assert heard(silent(door)) == b"", "as many as an address may have are there already"
        lines[0].sendall(b"0123456789")
        assert lines[0].recv(100).startswith(b"HTTP/1.1 200"), "and these are served"


def test_connections_count_before_they_have_said_a_word(door):
    with ExitStack() as strangers:
        for _ in range(gate.CONNECTIONS):
            strangers.enter_context(silent(door))
        assert post(door, b"12345").text == "5"
        for _ in range(20):
            assert heard(silent(door)) == b"", "as many as an address may have are there already"
    assert heard(until_let_in(door)).startswith(b"HTTP/1.1 404"), "those that are gone count no longer"


def until_let_in(kit):
    """A stranger's line, once the gate has seen that others are gone."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return stranger(kit, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_the_largest_that_a_host_sends_passes_and_what_is_larger_does_not(door):
    assert gate.LARGEST > FLWR_PRIVATE_MAX_ARRAY_CHUNK_SIZE + 2**20
    assert post(door, bytes(gate.LARGEST)).text == str(gate.LARGEST)
    assert heard(stranger(door, begun(10**9) + bytes(gate.LARGEST + 1))).startswith(b"HTTP/1.1 413")


def test_one_connection_serves_one_request_after_the_other(door):
    with httpx.Client(base_url=f"https://localhost:{door.port}", verify=trusting(door), trust_env=False) as client:
        assert [client.post(PATH, content=b"123").text, client.get("/health").text] == ["3", "0"]
        assert client.post("/v1/control/start-run", content=b"123").status_code == 404
        assert client.post(PATH, content=b"").text == "0"


def test_who_is_silent_is_not_waited_for(door, monkeypatch):
    monkeypatch.setattr(gate, "BODY_SECONDS", 0.3)
    monkeypatch.setattr(gate, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(gate, "HANDSHAKE_SECONDS", 0.5)
    assert heard(stranger(door, begun() + b"12345")).startswith(b"HTTP/1.1 503"), "a slow host tries again"
    assert heard(stranger(door)) == heard(stranger(door, b"POST /v1/fle")) == b""
    assert heard(silent(door)) == b""


@pytest.mark.parametrize(
    ("address", "place"),
    [("10.0.0.1", "10.0.0.1"), ("2001:db8:0:1::5", "2001:db8:0:1::/64"), ("::1", "::/64")],
)
def test_what_counts_as_one_address(address, place):
    assert gate._neighbourhood(address) == place
