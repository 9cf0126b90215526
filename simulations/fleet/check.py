"""`fedkd fleet check`: is this machine ready? One finding a line, each with what to do.

What cannot be told from where it is asked is said to be so, and is no fault.
"""

from __future__ import annotations

import http.client
import json
import os
import platform
import shutil
import ssl
import tempfile
import time
import urllib.request
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx

from fedkd.build import build
from fedkd.config import load
from fedkd.errors import UserError
from simulations.fleet.certificates import days_left, read_certificate
from simulations.fleet.hello import HELLO, MARK, PATIENCE
from simulations.fleet.keys import read_key
from simulations.fleet.kit import Kit, versions_here
from simulations.fleet.link import is_admitted, nodes
from simulations.fleet.place import FleetCommand
from simulations.fleet.scripts import read_environment

_ENOUGH = 1e9  # bytes on the disk: a Flower home, logs, students
_SOON = 14  # days before a certificate's end
_LATE = 3  # seconds; Flower refuses a host that is 5 s ahead of the server, or 305 s behind

_EXPIRED, _NOT_YET, _OTHER_NAME, _OTHER_ADDRESS = 10, 9, 62, 64
"""OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED and so on."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line.

    ok  None: it cannot be told from here.
    """

    what: str
    ok: bool | None
    says: str

    def __str__(self) -> str:
        verdict = {True: "ok", False: "WRONG", None: "?"}[self.ok]
        return f"{verdict:<6}{self.what:<12} {self.says}"


def check(kit: Kit, overrides: Sequence[str]) -> Iterator[Finding]:
    """Look at a host's folder, or the server's.

    overrides  name the data whose recordings a host should have, such as data=nw_ucla.
    """
    yield _versions(kit)
    settings = yield from _environment(kit)
    if kit.role == "host":
        yield _private(kit.folder / "key")
        reached = yield from _network(kit)
        yield from _admission(kit, settings) if reached else [Finding("key", None, "the server is not reached")]
        yield _disk(_state(kit, settings))
        yield from _recordings(kit, settings, overrides)
        return
    yield _private(kit.folder / "server.key")
    yield from _authority(kit)
    reached = yield from _network(kit)
    yield _gate(kit) if reached else Finding("gate", None, "it is not reached")
    yield _disk(_state(kit, settings))
    yield from _hosts(kit)


def _versions(kit: Kit) -> Finding:
    """Those of the kit's maker; of Python the second number counts, of torch not what follows a plus."""
    here = versions_here()
    differ = [
        f"{name} {here[name]} where the kit was made with {made}"
        for name, made in kit.versions.items()
        if _counts(name, here[name]) != _counts(name, made)
    ]
    says = "; ".join(differ) + ": install the same" if differ else ", ".join(" ".join(pair) for pair in here.items())
    return Finding("versions", not differ, says)


def _environment(kit: Kit) -> Generator[Finding, None, dict[str, str]]:
    """The settings of this machine, as far as they are there."""
    asked = ("FEDKD_PROGRAMS", "FEDKD_DATA", "FEDKD_PORT") if kit.role == "host" else ("FEDKD_PROGRAMS",)
    try:
        settings = read_environment(kit.folder)
    except (OSError, ValueError) as error:
        yield Finding("environment", False, f"cannot be read ({error}); copy it from the kit again")
        return {}
    lacks = " and ".join(key for key in asked if key not in settings)
    says = f"lacks {lacks}; add it to {kit.folder / 'environment'}" if lacks else "says what the scripts ask"
    yield Finding("environment", not lacks, says)
    return settings


def _counts(name: str, text: str) -> str:
    return text.rpartition(".")[0] if name == "python" else text.partition("+")[0]


def _private(path: Path) -> Finding:
    if not path.exists():
        return Finding(path.name, False, f"{path} is missing; copy the folder from the kit again")
    if platform.system() != "Windows" and path.stat().st_mode & 0o077:
        return Finding(path.name, False, f"others may read {path}; chmod 600 it")
    return Finding(path.name, True, "its owner alone may read it")


def _network(kit: Kit) -> Generator[Finding, None, bool]:
    """Port, TLS, clock, certificate and SuperLink, from one request; returns whether the SuperLink was reached."""
    try:
        context = ssl.create_default_context(cafile=kit.folder / "ca.crt")
        server = http.client.HTTPSConnection(kit.server, kit.port, timeout=10, context=context)
        server.connect()
        assert isinstance(server.sock, ssl.SSLSocket)
        certificate = server.sock.getpeercert() or {}
        began = datetime.now(UTC)
        server.request("GET", "/health")
        answer = server.getresponse()
        now = began + (datetime.now(UTC) - began) / 2
    except ssl.SSLCertVerificationError as error:
        yield Finding("port", True, f"{kit.address} is open")
        yield Finding("TLS", False, _why(kit, error))
        return False
    except (OSError, http.client.HTTPException) as error:
        yield Finding(
            "port", False, f"{kit.address} does not answer ({error}); is server/gate.sh running, the port open?"
        )
        return False
    yield Finding("port", True, f"{kit.address} is open")
    yield Finding("TLS", True, "the server is who this kit's authority says it is")
    yield _clock(answer.headers.get("date"), now)
    days = (ssl.cert_time_to_seconds(str(certificate["notAfter"])) - time.time()) / 86400
    yield Finding(
        "certificate",
        days > _SOON,
        f"{days:.0f} days left" + ("" if days > _SOON else "; fedkd fleet init FOLDER --renew"),
    )
    up = answer.status == 200
    yield Finding("SuperLink", up, "is up" if up else "is not up behind the gate; start server/superlink.sh")
    return up


def _why(kit: Kit, error: ssl.SSLCertVerificationError) -> str:
    """A refused certificate, in words."""
    here = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    match error.verify_code:
        case code if code == _EXPIRED:
            return f"the server's certificate has expired (here it is {here}); fedkd fleet init FOLDER --renew"
        case code if code == _NOT_YET:
            return f"the server's certificate is not valid yet; is the clock wrong? Here it is {here}"
        case code if code in (_OTHER_NAME, _OTHER_ADDRESS):
            return f"the server's certificate is not for {kit.server}; fedkd fleet init FOLDER --server HOST --renew"
    return f"whoever answers is not of this fleet: another authority signed for it ({error.verify_message})"


def _clock(date: str | None, now: datetime) -> Finding:
    """Beside the server's, by the Date of its answer, which counts in seconds."""
    if date is None:
        return Finding("clock", None, "the server's answer has no date")
    skew = (now - parsedate_to_datetime(date)).total_seconds() - 0.5
    good = abs(skew) <= _LATE
    side = "ahead of" if skew > 0 else "behind"
    says = f"within {_LATE} s of the server's" if good else f"{abs(skew):.0f} s {side} the server's; keep it by NTP"
    return Finding("clock", good, says)


def _admission(kit: Kit, settings: Mapping[str, str]) -> Iterator[Finding]:
    """Is the key registered, and does a SuperNode run here?"""
    port = settings.get("FEDKD_PORT")
    runs = port is not None and _answers(f"http://127.0.0.1:{port}/health")
    try:
        admitted = is_admitted(kit, read_key(kit.folder / "key"))
    except httpx.HTTPStatusError as error:
        says = f"the server refuses what it signs ({error.response.status_code}); is the clock right?"
        yield Finding("key", False, says)
        return
    except (OSError, ValueError, httpx.HTTPError) as error:
        yield Finding("key", False, f"cannot be used: {error}")
        return
    if admitted:
        yield Finding("key", True, "is registered")
        yield Finding("SuperNode", False, "is not connected; start supernode.sh")
    elif runs:
        yield Finding("key", True, "is registered: the SuperNode of this host is in")
        yield Finding("SuperNode", True, "runs; for a message there and back: fedkd fleet check FOLDER/server, there")
    else:
        yield Finding(
            "key", False, "is not registered (server/register.sh), or in use until a lost SuperNode's minute ends"
        )


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except (OSError, http.client.HTTPException):
        return False


def _state(kit: Kit, settings: Mapping[str, str]) -> Path:
    """Where scripts keep what must last."""
    name = kit.hosts[0].name if kit.role == "host" else "server"
    system = Path("/var/lib/fedkd") / name
    told = settings.get("FEDKD_STATE")
    return Path(told) if told else system if system.exists() else kit.folder / "state"


def _disk(state: Path) -> Finding:
    there = next(folder for folder in (state, *state.parents) if folder.exists())
    if not os.access(there, os.W_OK):
        return Finding("disk", False, f"{there} cannot be written; give it to the user that runs this")
    free = shutil.disk_usage(there).free
    return Finding(
        "disk", free > _ENOUGH, f"{free / 1e9:.1f} GB free at {state}" + ("" if free > _ENOUGH else "; make room")
    )


def _recordings(kit: Kit, settings: Mapping[str, str], overrides: Sequence[str]) -> Iterator[Finding]:
    if not overrides:
        yield Finding("data", None, "name the data set to look for its recordings: fedkd fleet check FOLDER data=NAME")
        return
    where = [f"data_dir='{settings['FEDKD_DATA']}'"] if "FEDKD_DATA" in settings else []
    cfg = load([*where, *overrides])
    data = build(cfg.data)
    for view in kit.hosts[0].views:
        try:
            if view not in data.view_names():
                raise UserError(f"{data.name} has no such view, it has {', '.join(data.view_names())}")
            recorded = data.view(view, cfg.seed)
        except (UserError, OSError) as error:
            yield Finding(f"data {view}", False, str(error))
        else:
            yield Finding(
                f"data {view}", True, f"{len(recorded.train)} clips to train on, {len(recorded.test)} to test"
            )


def _authority(kit: Kit) -> Iterator[Finding]:
    """What the server knows of its own certificate, and whether the authority's key still lies beside it."""
    days = days_left(read_certificate(kit.folder / "ca.crt"))
    yield Finding("authority", days > _SOON, f"{days:.0f} days left" + ("" if days > _SOON else "; make a new kit"))
    key = kit.folder.parent / "ca" / "ca.key"
    yield Finding("ca.key", None if key.exists() else True, f"take {key} offline" if key.exists() else "is not here")


def _gate(kit: Kit) -> Finding:
    """Does it keep out who has no business here? A run is a program of somebody's choice on every host."""
    context = ssl.create_default_context(cafile=kit.folder / "ca.crt")
    answer = httpx.post(f"https://{kit.address}/v1/control/list-runs", verify=context, trust_env=False)
    shut = answer.status_code == httpx.codes.NOT_FOUND
    says = "hosts alone may pass" if shut else "anybody may start runs: let nothing but server/gate.sh face the network"
    return Finding("gate", shut, says)


def _hosts(kit: Kit) -> Iterator[Finding]:
    """Each host: registered, online, and answering for its views."""
    try:
        found = {node.host: node for node in nodes(kit)}
    except UserError as error:
        yield Finding("hosts", False, str(error))
        return
    told, busy = _hello(kit) if any(node.online for node in found.values()) else ({}, "")
    for host in kit.hosts:
        node = found.get(host.name)
        if node is None:
            yield Finding(
                host.name,
                False,
                "is not registered; run server/register.sh (one that was unregistered needs a new key)",
            )
        elif not node.online:
            seen = f"has been offline since {node.last_seen:%Y-%m-%d %H:%M:%S} UTC" if node.last_seen else "never came"
            yield Finding(host.name, False, f"{seen}; start its supernode.sh")
        elif str(node.id) not in told and busy:
            says = f"is online, and did not answer within {PATIENCE:.0f} s: run {busy} is under way; ask again after it"
            yield Finding(host.name, None, says)
        elif str(node.id) not in told:
            yield Finding(host.name, False, "is online, and did not answer a message; see its SuperNode's log")
        elif sorted(told[str(node.id)]) != sorted(host.views):
            yield Finding(
                host.name, False, f"answers for {told[str(node.id)]}, not {list(host.views)}; copy its folder anew"
            )
        else:
            yield Finding(host.name, True, f"answered a message, for {', '.join(host.views)}")
    for node in found.values():
        if node.host is None:
            flower = f"FLWR_HOME={kit.folder.parent / 'flower-home'} flwr supernode unregister {node.id} fleet"
            yield Finding(str(node.id), False, f"is registered with a key that is not in server/keys; {flower}")


def _hello(kit: Kit) -> tuple[dict[str, list[str]], str]:
    """One message to every host and back: node -> the views it answers for; and a run that is under way meanwhile."""
    with tempfile.TemporaryDirectory(prefix="fedkd-fleet-") as scratch:
        flower = FleetCommand(kit.folder.parent, Path(scratch))
        busy = next((run["run-id"] for run in flower.runs() if not run["status"].startswith("finished")), "")
        said = flower("log", flower.start(HELLO, Path()), "fleet", "--stream")
    lines = [line for line in said.splitlines() if line.startswith(MARK)]
    views: dict[str, list[str]] = json.loads(lines[-1].removeprefix(MARK)) if lines else {}
    return views, busy
