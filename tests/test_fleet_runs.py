"""A fleet of processes on loopback, with TLS and registered keys: it runs, it says so, and it refuses who is not of it.

Every process listens on 127.0.0.1 (or 127.0.0.2) and is gone after its test.
"""

import base64
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from flwr.common.constant import TIMESTAMP_HEADER
from flwr.proto.fleet_pb2 import PullMessagesRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.date import now
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message
from flwr.supernode.fleet_http_client import FleetHttpClient
from tiny import JOB, only_folder, run, started_with, summary

from simulations.cli import main
from simulations.fleet.certificates import make_server_certificate
from simulations.fleet.check import check
from simulations.fleet.keys import read_key
from simulations.fleet.kit import load_kit
from simulations.fleet.link import nodes
from simulations.fleet.make import init
from simulations.fleet.place import FleetCommand
from simulations.fleet.scripts import read_environment
from simulations.flwr_command import environment, flwr
from simulations.processes import end_all, free_port

pytestmark = [pytest.mark.fleet, pytest.mark.slow]

HOSTS = ("cam1=v01", "cam2=v02", "cam3=v03")


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    """The folder of a kit with a SuperLink, a gate and three SuperNodes at work."""
    folder = tmp_path_factory.mktemp("fleet") / "kit"
    make(folder, f"localhost:{free_port()}", HOSTS, free_port())
    with marked(folder), started(folder / "server" / "superlink.sh"), started(folder / "server" / "gate.sh"):
        wait_for(folder)
        registered = subprocess.run(
            ["sh", folder / "server" / "register.sh"], capture_output=True, text=True, check=True
        )
        assert registered.stdout.splitlines() == [f"{name}: registered" for name in ("cam1", "cam2", "cam3")]
        with started(*(folder / "hosts" / name / "supernode.sh" for name in ("cam1", "cam2", "cam3"))):
            until(lambda: sum(node.online for node in nodes(load_kit(folder, "fleet"))) == 3)
            yield folder


def register(folder):
    ran = subprocess.run(["sh", folder / "server" / "register.sh"], capture_output=True, text=True, check=True)
    return ran.stdout.splitlines()


def make(folder, server, hosts, link_port, **how):
    """A kit whose SuperNodes listen on free ports."""
    list(init(folder, server, hosts, link_port=link_port, **how))
    for file in (folder / "hosts").glob("*/environment"):
        port = read_environment(file.parent)["FEDKD_PORT"]
        file.write_text(file.read_text().replace(f"FEDKD_PORT={port}", f"FEDKD_PORT={free_port()}"))


@contextmanager
def marked(folder, *, may_leave=()):
    """Everything that is started in the block has a setting by which it is found; soon after it none may be left.

    may_leave  programs that Flower itself may leave; they are ended here.
    """
    before = os.environ.get("FEDKD_TEST_MARK")
    os.environ["FEDKD_TEST_MARK"] = str(folder)
    try:
        yield
        until(lambda: not left_by(folder, may_leave), 20, lambda: said_of(folder))
    finally:
        end_all(lambda: started_with("FEDKD_TEST_MARK", folder))
        if before is None:
            del os.environ["FEDKD_TEST_MARK"]
        else:
            os.environ["FEDKD_TEST_MARK"] = before


@contextmanager
def started(*scripts):
    """Scripts at work for the time of the block, each with a log beside it."""
    processes = []
    try:
        for script in scripts:
            with open(script.with_suffix(".log"), "ab") as log:
                processes.append(subprocess.Popen(["sh", script], stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        yield processes
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(timeout=20)


def left_by(folder, but=()):
    """The processes of the block that are at work still, but for these programs."""
    found = {pid: Path(f"/proc/{pid}/cmdline") for pid in started_with("FEDKD_TEST_MARK", folder)}
    return [pid for pid, words in found.items() if words.exists() and not any(p in words.read_text() for p in but)]


def said_of(folder):
    """The processes that are left, in the system's words."""
    left = [str(pid) for pid in started_with("FEDKD_TEST_MARK", folder)]
    asked = ["ps", "-o", "pid,ppid,stat,etimes,args", "-ww", "-p", ",".join(left) or "0"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout


def until(holds, seconds=120, otherwise=lambda: "it did not come to be in time"):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, otherwise()
        time.sleep(0.5)


def wait_for(folder):
    fleet = load_kit(folder, "fleet")
    trusted = ssl.create_default_context(cafile=folder / "ca" / "ca.crt")

    def up():
        try:
            return httpx.get(f"https://{fleet.address}/health", verify=trusted).status_code == 200
        except httpx.TransportError:
            return False

    until(up)


def once(script):
    """A SuperNode that is refused: what it said before it ended."""
    log = script.with_suffix(".log")
    with open(log, "wb") as sink:  # no pipe: a process that it leaves for a moment would hold it open
        code = subprocess.run(["sh", script], stdout=sink, stderr=sink, timeout=60, check=False).returncode
    assert code == 1
    assert "Exit Code: 305" in log.read_text()
    return log.read_text()


def found_wrong(folder):
    """What `fedkd fleet check` finds wrong."""
    kit = load_kit(folder, "host")
    return "\n".join(str(finding) for finding in check(kit, []) if finding.ok is False)


def refused_at_another_gate(kit, folder, server, certificate_for, days):
    """A gate of the same authority before the same SuperLink, with a certificate of its own: what its host says."""
    shutil.copytree(kit / "ca", folder / "ca")
    make(folder, server, ["cam9=v09"], load_kit(kit, "fleet").link_port)
    make_server_certificate(folder / "server", folder / "ca", certificate_for, days)
    with marked(folder), started(folder / "server" / "gate.sh"):
        until(lambda: listens(load_kit(folder, "fleet")))
        return once(folder / "hosts" / "cam9" / "supernode.sh"), found_wrong(folder / "hosts" / "cam9")


def listens(fleet):
    """Whether anybody answers, whatever its certificate."""
    try:
        httpx.get(f"https://{fleet.address}/health", verify=False)
    except httpx.TransportError:
        return False
    return True


def test_same_seed_same_bits_as_in_one_process(kit, tmp_path, capsys):
    reference, began = summary(run(tmp_path / "here", "place.workers=1")), datetime.now(UTC)
    folder = run(tmp_path / "fleet", "place=fleet", f"place.kit='{kit}'")
    assert summary(folder)["digest"] == reference["digest"]
    assert summary(folder)["bytes_up"] == reference["bytes_up"]
    assert summary(folder)["place"] == "fleet"
    assert "Starting Distil strategy" in (folder / "flower.log").read_text()
    assert "round 2/2" in capsys.readouterr().err
    assert main(["fleet", "status", str(kit)]) == 0
    told = capsys.readouterr().out
    assert told.count("online") == 3
    assert "finished:completed" in told
    assert "round 2 of 2" in told
    [last] = FleetCommand(kit, tmp_path).runs("--limit", "1")
    assert began - timedelta(seconds=1) < datetime.fromisoformat(last["pending-at"]) < datetime.now(UTC)


def test_students_stay_in_the_place_that_their_host_has_for_them(kit, tmp_path):
    folder = run(tmp_path, "place=fleet", f"place.kit='{kit}'", "rounds=2", "strategy=alone")
    for number in (1, 2, 3):
        state = Path(
            read_environment(kit / "hosts" / f"cam{number}").get("FEDKD_STATE")
            or kit / "hosts" / f"cam{number}" / "state"
        )
        run_of_it = summary(folder)["run"]
        assert [path.name for path in (state / "students" / run_of_it).iterdir()] == [f"v0{number}.safetensors"]
        assert list((state / run_of_it).glob(f"v0{number}.1-2.safetensors"))
    assert not list((folder / "checkpoint").glob("v0*"))


def test_a_failed_run_exits_with_2_and_one_sentence(kit, tmp_path, capsys):
    asked = ["place=fleet", f"place.kit='{kit}'", "data.broken_view=v02", "min_views=3", f"results_dir='{tmp_path}'"]
    assert main(["run", *JOB, *asked]) == 2
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert sentence.startswith("fedkd: 2 of 3 views answered at enrolment, 3 needed: ")
    assert summary(only_folder(tmp_path))["status"] == "failed"


def test_check_finds_nothing_wrong_with_a_fleet_at_work(kit, capsys):
    assert main(["fleet", "check", str(kit / "hosts" / "cam1"), "data=tiny"]) == 0
    assert main(["fleet", "check", str(kit / "server")]) == 0
    said = capsys.readouterr().out
    assert all(f"answered a message, for v0{number}" in said for number in (1, 2, 3))


def test_registering_again_changes_nothing(kit):
    assert register(kit) == [f"{name}: was registered before" for name in ("cam1", "cam2", "cam3")]


def test_a_host_that_is_not_registered_is_refused(kit, tmp_path):
    shutil.copytree(kit, tmp_path / "kit", ignore=shutil.ignore_patterns("state", "*.log"))
    make(tmp_path / "kit", None, ["cam4=v04"], None)
    stranger = tmp_path / "kit" / "hosts" / "cam4"
    assert "Failed to activate SuperNode" in once(stranger / "supernode.sh")
    assert "is not registered" in found_wrong(stranger)
    assert {node.host for node in nodes(load_kit(kit, "fleet"))} == {"cam1", "cam2", "cam3"}


def test_a_host_of_another_fleet_is_refused(kit, tmp_path):
    """With its own authority it does not trust the server; with this fleet's, the server does not trust it."""
    fleet = load_kit(kit, "fleet")
    make(tmp_path / "kit", fleet.address, ["cam1=v01"], fleet.link_port)
    foreign = tmp_path / "kit" / "hosts" / "cam1"
    assert "CERTIFICATE_VERIFY_FAILED" in once(foreign / "supernode.sh")
    assert "another authority" in found_wrong(foreign)
    shutil.copy(kit / "ca" / "ca.crt", foreign / "ca.crt")
    assert "Failed to activate SuperNode" in once(foreign / "supernode.sh")
    assert "is not registered" in found_wrong(foreign)


def test_a_server_whose_certificate_has_expired_is_refused(kit, tmp_path):
    said, wrong = refused_at_another_gate(kit, tmp_path / "kit", f"localhost:{free_port()}", "localhost", 1e-6)
    assert "certificate has expired" in said
    assert "the server's certificate has expired" in wrong


def test_a_server_with_a_certificate_for_another_name_is_refused(kit, tmp_path):
    said, wrong = refused_at_another_gate(kit, tmp_path / "kit", f"127.0.0.2:{free_port()}", "elsewhere.example.org", 1)
    assert "IP address mismatch" in said
    assert "the server's certificate is not for 127.0.0.2" in wrong


def test_nobody_starts_a_run_from_the_network(kit, tmp_path):
    fleet = load_kit(kit, "fleet")
    config = (kit / "flower-home" / "config.toml").read_text()
    (tmp_path / "config.toml").write_text(config.replace(f"127.0.0.1:{fleet.link_port}", fleet.address))
    said = flwr("ls", "fleet", "--format", "json", cwd=tmp_path, env=environment(tmp_path))
    assert '"success": true' not in said and "404" in said
    said = flwr("ls", "fleet", "--format", "json", cwd=tmp_path, env=environment(kit / "flower-home"))
    assert '"success": true' in said, "and from the server's own machine it works"


class Signs:
    """Signs as a SuperNode does, so many seconds ago."""

    def __init__(self, folder, seconds_ago):
        self.key, self.seconds_ago = read_key(folder / "key"), seconds_ago

    def intercept(self, context, call_next):
        stamp = (now() - timedelta(seconds=self.seconds_ago)).isoformat()
        signature = sign_message(self.key, stamp.encode())
        public = public_key_to_bytes(self.key.public_key())
        context.request.headers[TIMESTAMP_HEADER] = stamp
        context.request.headers["flwr-public-key"] = base64.b64encode(public).decode()
        context.request.headers["flwr-signature"] = base64.b64encode(signature).decode()
        return call_next(context)


@pytest.mark.parametrize(
    ("signer", "seconds_ago", "expected"), [("cam1", 0, 200), ("cam1", 400, 401), ("cam2", 0, 401)]
)
def test_who_signs_for_another_host_or_replays_an_old_signature_is_refused(kit, signer, seconds_ago, expected):
    """Within Flower's 305 s a signature is taken again: it signs the time alone. TLS keeps it from others."""
    fleet = load_kit(kit, "fleet")
    [cam1] = [node.id for node in nodes(fleet) if node.host == "cam1"]
    signs = Signs(kit / "hosts" / signer, seconds_ago)
    client = FleetHttpClient.from_server_address(fleet.address, False, str(kit / "ca" / "ca.crt"), interceptors=[signs])
    try:
        client.PullMessages(PullMessagesRequest(node=Node(node_id=cam1)))
        answered = 200
    except httpx.HTTPStatusError as error:
        answered = error.response.status_code
    finally:
        client.close()
    assert answered == expected


def test_a_run_whose_server_was_killed_goes_on_with_the_same_bits(tmp_path, tmp_path_factory):
    """Flower itself has lost it: a new run picks it up, from the record and the cameras' own disks."""
    words = ("rounds=4", "speak_after=2")
    calm = summary(run(tmp_path / "calm", *words, "place.workers=1"))["digest"]
    folder = tmp_path_factory.mktemp("cut") / "kit"  # a short name: a socket lies below it
    make(folder, f"localhost:{free_port()}", HOSTS, free_port())
    superlink, results = folder / "server" / "superlink.sh", tmp_path / "results"
    # a ClientApp that waits for the parts of the lost message does not hear that its SuperNode ends (Flower 1.41)
    marks = marked(folder, may_leave=("flwr-clientapp",))
    with marks, started(folder / "server" / "gate.sh"), started(superlink) as [process]:
        wait_for(folder)
        register(folder)
        with started(*(folder / "hosts" / name / "supernode.sh" for name in ("cam1", "cam2", "cam3"))):
            until(lambda: sum(node.online for node in nodes(load_kit(folder, "fleet"))) == 3)
            asked = ["run", *JOB, *words, "place=fleet", f"place.kit='{folder}'", f"results_dir='{results}'"]
            run_here = subprocess.Popen([sys.executable, "-m", "simulations.cli", *asked])
            until(lambda: any(summary(f.parent).get("rounds_done", 0) >= 2 for f in results.rglob("summary.json")))
            process.send_signal(signal.SIGKILL)
            process.wait()  # while it is a zombie, Flower's own children think that it lives
            assert run_here.wait(timeout=120) == 2
            with started(superlink):
                wait_for(folder)
                until(lambda: sum(node.online for node in nodes(load_kit(folder, "fleet"))) == 3)
                record = only_folder(results)
                assert summary(record)["status"] != "finished"
                assert main(["run", f"resume={record}"]) == 0
    assert summary(record)["digest"] == calm


def test_a_host_that_was_killed_comes_back_when_its_supervisor_tries_often_enough(tmp_path):
    """Flower refuses it (exit code 305) until its last heartbeat is a minute old."""
    folder = tmp_path / "kit"
    make(folder, f"localhost:{free_port()}", ["cam1=v01"], free_port())
    script = folder / "hosts" / "cam1" / "supernode.sh"

    def online():
        return [node.online for node in nodes(load_kit(folder, "fleet"))] == [True]

    with marked(folder), started(folder / "server" / "superlink.sh"), started(folder / "server" / "gate.sh"):
        wait_for(folder)
        register(folder)
        with started(script) as [process]:
            until(online)
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert "Failed to activate SuperNode" in once(script)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with started(script) as [process]:
                try:
                    process.wait(timeout=12)
                except subprocess.TimeoutExpired:
                    assert online()
                    return
        raise AssertionError("it never came back")
