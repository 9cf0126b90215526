"""What a fleet is made of: a server's address, and hosts that serve views. Each folder of a kit has a kit.json."""

from __future__ import annotations

import ipaddress
import json
import platform
import pwd
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedkd.environment import environment
from fedkd.errors import UserError
from fedkd.files import write_whole

GATE_PORT = 9092
LINK_PORT = 8000
"""Of the SuperLink, on the server's loopback."""
NODE_PORT = 9094
"""Of the first host's SuperNode, on its loopback; each next host has the next, so that several may share a machine."""

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
_VIEW = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Host:
    """A machine with cameras.

    port  of its SuperNode, on its own loopback.
    """

    name: str
    views: tuple[str, ...]
    port: int


@dataclass(frozen=True, slots=True)
class Kit:
    """A fleet, or what one of its machines knows of it.

    role      "fleet" where it was made, "server", or "host" (then `hosts` is that one).
    server    DNS name or IP address by which hosts reach the server.
    port      of the gate, the one port that is open to the network.
    versions  of Python, Flower, torch and fedkd where the kit was made.
    """

    folder: Path
    role: str
    server: str
    port: int
    link_port: int
    hosts: tuple[Host, ...]
    versions: Mapping[str, str]

    @property
    def address(self) -> str:
        """host:port of the gate."""
        return f"[{self.server}]:{self.port}" if ":" in self.server else f"{self.server}:{self.port}"

    @property
    def listens_on(self) -> str:
        """The interface of the gate: all of them, or the loopback where that is what the server is called."""
        if self.is_local:
            return "127.0.0.1" if self.server == "localhost" else self.server
        return "::" if ":" in self.server else "0.0.0.0"

    @property
    def is_local(self) -> bool:
        """Whether the server is called by its loopback: a fleet of one machine."""
        return self.server == "localhost" or (_is_ip(self.server) and ipaddress.ip_address(self.server).is_loopback)

    def save(self) -> None:
        """Write kit.json."""
        content = {key: value for key, value in asdict(self).items() if key != "folder"}
        write_whole(self.folder / "kit.json", (json.dumps(content, indent=2) + "\n").encode())


def load_kit(folder: str | Path, *roles: str) -> Kit:
    """The kit in a folder; `UserError` where there is none, or it is of another role."""
    folder = Path(folder).expanduser().absolute()
    try:
        content: dict[str, Any] = json.loads((folder / "kit.json").read_text(encoding="utf-8"))
        hosts = tuple(Host(host["name"], tuple(host["views"]), host["port"]) for host in content.pop("hosts"))
        kit = Kit(folder=folder, hosts=hosts, **content)
    except FileNotFoundError as error:
        raise UserError(f"expected a kit.json in {folder}, found none; make a kit with fedkd fleet init.") from error
    except PermissionError as error:
        raise UserError(f"{folder} is for its owner alone; ask as the user that it belongs to (sudo -u).") from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"expected a whole kit.json in {folder}, but: {error}; make it anew, fedkd fleet init."
        ) from error
    if kit.role not in roles:
        raise UserError(f"expected the folder of a {' or '.join(roles)}, but {folder} is that of a {kit.role}.")
    return kit


def server_from(text: str) -> tuple[str, int | None]:
    """("fleet.example.org", 9092) from HOST:PORT as typed, or [IPv6]:PORT; the port is None where none was.

    An address comes back in its one canonical spelling, which certificates are compared by.
    """
    if text.startswith("["):
        name, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    else:
        name, _, port = (text, "", "") if text.count(":") > 1 else text.partition(":")
    fits = _is_ip(name) or re.fullmatch(r"(?!-)[A-Za-z0-9.-]{1,253}(?<![.-])", name)
    if not fits or (port and not (port.isdecimal() and 0 < int(port) < 65536)):
        raise UserError(f"expected a server such as fleet.example.org:9092, got '{text}'.")
    return str(ipaddress.ip_address(name)) if _is_ip(name) else name, int(port) if port else None


def hosts_from(texts: Sequence[str], known: Sequence[Host], drop: Sequence[str] = ()) -> tuple[Host, ...]:
    """The hosts of a kit: those that are known, changed and added to by what was typed, NAME=VIEW[,VIEW..].

    drop  names of those that are of it no longer.
    """
    hosts = {host.name: host for host in known}
    for name in drop:
        if hosts.pop(name, None) is None:
            raise UserError(f"expected one of {', '.join(host.name for host in known)} to drop, got '{name}'.")
    for text in texts:
        name, _, typed = text.partition("=")
        views = tuple(typed.split(","))
        if not _NAME.fullmatch(name) or not all(_VIEW.fullmatch(view) for view in views):
            raise UserError(f"expected a host such as cam1=v01,v02 (a-z, 0-9 and - in its name), got '{text}'.")
        port = (
            hosts[name].port
            if name in hosts
            else max((host.port for host in hosts.values()), default=NODE_PORT - 1) + 1
        )
        hosts[name] = Host(name, views, port)
    served: dict[str, str] = {}
    for host in hosts.values():
        for view in host.views:
            if view in served:
                raise UserError(
                    f"expected each view on one host, but {served[view]} and {host.name} both serve {view}; "
                    "say at once what each of them serves, or --drop one."
                )
            served[view] = host.name
    if not hosts:
        raise UserError("expected at least one host, got none; add --host NAME=VIEW.")
    return tuple(hosts.values())


def user(number: int) -> str:
    """A user as `sudo -u` takes one: by name where there is one."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"'#{number}'"


def versions_here() -> dict[str, str]:
    """Of what must agree between the machines of a fleet."""
    packages = environment()["versions"]
    return {"python": platform.python_version(), **{name: packages[name] for name in ("flwr", "torch", "fedkd")}}


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
