"""`fedkd fleet check` beside a server that answers, one that does not, and one that is somebody else."""

import asyncio
import re
import socket
from dataclasses import replace

import pytest
from test_gate import served

from simulations.cli import main
from simulations.fleet import gate
from simulations.fleet.certificates import make_server_certificate
from simulations.fleet.checks import network as checks
from simulations.fleet.checks.network import network
from simulations.fleet.kit import Kit, load_kit
from simulations.fleet.make import init
from simulations.processes import free_port


@pytest.fixture
def kit(tmp_path):
    list(init(tmp_path, f"localhost:{free_port()}", ["cam1=v01"], days=30, link_port=free_port()))
    return load_kit(tmp_path / "server", "server")


def answering(kit, app):
    """An app in place of the gate."""
    return served({**gate.settings(kit), "app": app})


def app(healthy, started):
    """Says 200 to a question for its health where it is healthy; who wants to start a run hears `started`."""

    async def answer(scope, receive, send):
        status = started if scope["path"].startswith("/v1/control") else 200 if healthy else 503
        if status is None:
            await asyncio.sleep(5)
        await send({"type": "http.response.start", "status": status or 500, "headers": []})
        await send({"type": "http.response.body"})

    return answer


def found(kit):
    """{what: finding} of the way to the SuperLink."""
    return {finding.what: finding for finding in network(kit)}


def test_a_server_at_work_has_nothing_wrong(kit):
    with answering(kit, app(True, 404)):
        there = found(kit)
    assert list(there) == ["ca.crt", "port", "TLS", "clock", "certificate", "SuperLink", "gate"]
    assert all(finding.ok for finding in there.values())
    assert there["certificate"].says == "30 days left"


def test_a_certificate_that_ends_soon_is_wrong(kit):
    make_server_certificate(kit.folder, kit.folder.parent / "ca", "localhost", 7)
    with answering(kit, app(True, 404)):
        assert str(found(kit)["certificate"]) == "WRONG certificate  7 days left; fedkd fleet init FOLDER --renew"


def test_what_lies_behind_the_gate_is_told_apart_from_the_gate(kit):
    with answering(kit, app(False, 404)):
        down = found(kit)
    assert down["port"].ok and down["TLS"].ok and down["SuperLink"].ok is False and down["gate"].ok is None
    with answering(kit, app(True, 200)):
        assert found(kit)["gate"].says.startswith("anybody may start runs")


def test_a_superlink_that_is_open_beside_the_gate_is_found(kit, monkeypatch):
    monkeypatch.setattr(Kit, "is_local", False)
    asked, own = replace(kit, server="127.0.0.2"), f"port {kit.link_port}"
    assert found(asked)[own].ok
    with socket.create_server(("127.0.0.1", kit.link_port)):
        assert found(asked)[own].ok, "it is on the loopback alone"
    with socket.create_server(("0.0.0.0", kit.link_port)):
        assert found(asked)[own].ok is None, "a name that is the loopback here tells nothing"
        monkeypatch.setattr(checks, "_is_here_alone", lambda address: address != "127.0.0.2")
        assert str(found(asked)[own]).endswith("nothing but the gate may be open at 127.0.0.2")


def test_a_gate_that_does_not_answer_is_a_finding(kit, monkeypatch):
    monkeypatch.setattr(checks, "TIMEOUT", 1)
    with answering(kit, app(True, None)):
        assert re.match("WRONG gate +did not answer what it should refuse .*ask again", str(found(kit)["gate"]))


@pytest.mark.parametrize(
    ("server", "days", "why"), [("127.0.0.2", 30, "is not for 127.0.0.2"), ("localhost", 1e-9, "has expired")]
)
def test_a_certificate_that_is_refused_is_explained(server, days, why, kit):
    make_server_certificate(kit.folder, kit.folder.parent / "ca", "localhost", days)
    asked = replace(kit, server=server)
    with answering(asked, app(True, 404)):
        there = found(asked)
    assert list(there) == ["ca.crt", "port", "TLS", "gate"]
    assert there["port"].ok and there["TLS"].ok is False and why in there["TLS"].says


def test_a_server_of_another_fleet_is_known_as_such(kit, tmp_path):
    list(init(tmp_path / "other", kit.address, ["cam1=v01"]))
    with answering(kit, app(True, 404)):
        there = found(load_kit(tmp_path / "other" / "hosts" / "cam1", "host"))
    assert list(there) == ["ca.crt", "port", "TLS"] and "another authority" in there["TLS"].says


@pytest.mark.parametrize("content", [None, "-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----\n"])
def test_a_folder_without_the_authoritys_certificate_is_what_is_wrong(content, kit, capsys):
    for folder in (kit.folder, kit.folder.parent / "hosts" / "cam1"):
        (folder / "ca.crt").unlink()
        if content is not None:
            (folder / "ca.crt").write_text(content)
        assert main(["fleet", "check", str(folder)]) == 1
        said = capsys.readouterr().out
        assert re.search(r"WRONG ca\.crt +.*ca\.crt cannot be read .*copy it", said)
        assert not re.search("port|TLS|SuperLink +is not up", said)
    assert main(["fleet", "status", str(kit.folder.parent)]) == 2
    assert "expected the authority's certificate" in capsys.readouterr().err
