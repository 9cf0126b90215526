"""What lies between this machine and the SuperLink: the authority's certificate, the port, TLS, the clock, the gate."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Generator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from simulations.fleet.certificates import days_left, read_certificate
from simulations.fleet.checks.finding import Finding
from simulations.fleet.kit import Kit

TIMEOUT = 10.0
"""Seconds for an answer."""

_A_MOMENT = 3.0  # seconds for a connection that should be refused; a firewall may say nothing

_SOON = 14  # days before a certificate's end
_LATE = 3  # seconds; Flower refuses a host that is 5 s ahead of the server, or 305 s behind

_EXPIRED, _NOT_YET, _OTHER_NAME, _OTHER_ADDRESS = 10, 9, 62, 64
"""OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED and so on."""


def network(kit: Kit) -> Generator[Finding, None, bool]:
    """Everything on the way to the SuperLink; returns whether it was reached."""
    trusted = yield from _authority(kit)
    if trusted is None:
        return False
    address = f"https://{kit.address}"
    with httpx.Client(base_url=address, verify=trusted, timeout=TIMEOUT, trust_env=False) as client:
        reached = yield from _server(kit, client)
        if kit.role == "server":
            yield _gate(client) if reached else Finding("gate", None, "it is not reached")
    if not kit.is_local:
        yield _beside_the_gate(kit)
    return reached


def _authority(kit: Kit) -> Generator[Finding, None, ssl.SSLContext | None]:
    """The certificate of the fleet's authority, by which the server is known; None where it cannot be read."""
    path = kit.folder / "ca.crt"
    try:
        days, trusted = days_left(read_certificate(path)), ssl.create_default_context(cafile=path)
    except (OSError, ValueError) as error:
        yield Finding("ca.crt", False, f"{path} cannot be read ({error}); copy it from the kit's folder ca")
        return None
    yield Finding("ca.crt", days > _SOON, f"{days:.0f} days left" + ("" if days > _SOON else "; make a new kit"))
    return trusted


def _server(kit: Kit, client: httpx.Client) -> Generator[Finding, None, bool]:
    """Port, TLS, clock, certificate and SuperLink; returns whether the SuperLink was reached."""
    try:
        with client.stream("GET", "/health") as answer:  # its connection is still there to be looked at
            certificate = answer.extensions["network_stream"].get_extra_info("ssl_object").getpeercert()
        began = datetime.now(UTC)
        answer = client.get("/health")  # over the connection that there is, so that its time is the way there and back
        now = began + (datetime.now(UTC) - began) / 2
    except httpx.HTTPError as error:
        if refused := _refusal(error):
            yield Finding("port", True, f"{kit.address} is open")
            yield Finding("TLS", False, _why(kit, refused))
        else:
            says = f"{kit.address} does not answer ({error}); is server/gate.sh running, the port open?"
            yield Finding("port", False, says)
        return False
    yield Finding("port", True, f"{kit.address} is open")
    yield Finding("TLS", True, "the server is who this kit's authority says it is")
    yield _clock(answer.headers.get("date"), now)
    days = (ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time()) / 86400
    renew = "" if days > _SOON else "; fedkd fleet init FOLDER --renew"
    yield Finding("certificate", days > _SOON, f"{days:.0f} days left{renew}")
    up = answer.status_code == httpx.codes.OK
    yield Finding("SuperLink", up, "is up" if up else "is not up behind the gate; start server/superlink.sh")
    return up


def _refusal(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """OpenSSL's refusal of a certificate, where that is what an error of httpx comes from."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__  # httpcore raises it `from None`
    return error


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


def _gate(client: httpx.Client) -> Finding:
    """Does it keep out who has no business here? A run is a program of somebody's choice on every host."""
    try:
        answer = client.post("/v1/control/list-runs")
    except httpx.HTTPError as error:
        return Finding("gate", False, f"did not answer what it should refuse ({error}); ask again")
    shut = answer.status_code == httpx.codes.NOT_FOUND
    says = "hosts alone may pass" if shut else "anybody may start runs: let nothing but server/gate.sh face the network"
    return Finding("gate", shut, says)


def _is_here_alone(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


def _beside_the_gate(kit: Kit) -> Finding:
    """Can the SuperLink's own port be reached by the server's name? A door beside the gate lets everybody in."""
    what = f"port {kit.link_port}"
    try:
        with socket.create_connection((kit.server, kit.link_port), timeout=_A_MOMENT) as link:
            if _is_here_alone(link.getpeername()[0]):
                return Finding(what, None, f"here {kit.server} is this machine's loopback; ask on a host")
    except socket.gaierror:
        return Finding(what, None, f"{kit.server} is not known here")
    except OSError:
        return Finding(what, True, "the SuperLink's own is shut from here")
    says = f"anybody may start runs if that is the SuperLink: nothing but the gate may be open at {kit.server}"
    return Finding(what, False, says)
