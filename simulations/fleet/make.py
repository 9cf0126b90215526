"""`fedkd fleet init`: a kit, or more hosts for one. What is secret, and what its operator has changed, is never redone.

FOLDER/ca/                  the authority; ca.key is for offline
FOLDER/server/              stays on the server's machine
FOLDER/hosts/NAME/          is copied to that host, and to no other
FOLDER/dropped/             folders of hosts that are of the fleet no longer
FOLDER/flower-home/         Flower's config, for whoever starts runs on the server's machine
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from fedkd.errors import UserError
from fedkd.files import write_whole, writing_to
from simulations.fleet.certificates import (
    AUTHORITY_DAYS,
    days_left,
    make_authority,
    make_server_certificate,
    names_of,
    read_certificate,
)
from simulations.fleet.keys import make_key
from simulations.fleet.kit import (
    GATE_PORT,
    LINK_PORT,
    Host,
    Kit,
    hosts_from,
    load_kit,
    server_from,
    user,
    versions_here,
)
from simulations.fleet.scripts import environment_file, flower_config, host_files, server_files
from simulations.flwr_command import PROGRAMS


def init(
    folder: Path,
    server: str | None,
    hosts: Sequence[str],
    *,
    drop: Sequence[str] = (),
    days: float = 365,
    renew: bool = False,
    link_port: int | None = None,
    programs: Path = PROGRAMS,
) -> Iterator[str]:
    """Make a kit, or add to one; yields a line for everything that was made or kept.

    server    HOST[:PORT]; None: as it was.
    hosts     NAME=VIEW[,VIEW..] each, beside those that there are.
    drop      names of hosts that are to be of it no longer.
    days      that the server's certificate is valid for, from now on.
    renew     make the server's certificate anew.
    programs  where Flower's programs lie on the machines.
    """
    if not 0 < days < AUTHORITY_DAYS:
        raise UserError(f"expected days above 0 and below the authority's {AUTHORITY_DAYS}, got {days:g}.")
    folder = folder.expanduser().absolute()
    with writing_to(folder):
        _refuse_a_stranger(folder)
    kit = _planned(folder, server, hosts, drop, link_port)
    with writing_to(kit.folder):
        kit.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(kit.folder, {".gitignore": "*\n"})  # private keys, in whatever checkout the folder may lie
        for name in ("ca", "server", "server/keys", "hosts"):
            (kit.folder / name).mkdir(exist_ok=True, mode=0o700)
        for name in drop:
            yield from _dropped(kit.folder, name)
        yield from _authority(kit)
        yield from _server(kit, days, renew, programs)
        for host in kit.hosts:
            yield from _host(kit, host, programs)
        _write(kit.folder / "flower-home", {"config.toml": flower_config(kit)})
        kit.save()


def _refuse_a_stranger(folder: Path) -> None:
    """What another user makes anew, its owner cannot read: not even root may."""
    with suppress(FileNotFoundError):
        owner = folder.stat().st_uid
        if owner != os.geteuid():
            raise UserError(
                f"expected to be run by {user(owner)}, the owner of {folder}, since what it makes is for its maker "
                f"alone, got {user(os.geteuid())}; sudo -u {user(owner)} may run it."
            )


def _planned(folder: Path, server: str | None, hosts: Sequence[str], drop: Sequence[str], link_port: int | None) -> Kit:
    """The kit as it will be."""
    before = load_kit(folder, "fleet") if (folder / "kit.json").exists() else None
    if server is None and before is None:
        raise UserError("expected the server's name, got none; add --server HOST[:PORT], as hosts reach it.")
    name, port = server_from(server) if server is not None else (before.server, None)  # type: ignore[union-attr]
    port = port or (before.port if before else GATE_PORT)
    link_port = link_port or (before.link_port if before else LINK_PORT)
    all_hosts = hosts_from(hosts, before.hosts if before else (), drop)
    return Kit(folder, "fleet", name, port, link_port, all_hosts, versions_here())


def _dropped(folder: Path, name: str) -> Iterator[str]:
    """Lay a host's folder aside and forget its key: another of that name needs a new one, since Flower asks for it."""
    (folder / "dropped").mkdir(exist_ok=True, mode=0o700)
    aside = f"dropped/{name}-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    with suppress(FileNotFoundError):  # one who was interrupted had got this far
        (folder / "hosts" / name).rename(folder / aside)
    (folder / "server" / "keys" / f"{name}.pub").unlink(missing_ok=True)
    yield f"dropped hosts/{name}: lies in {aside}; unregister its key too, fedkd fleet check FOLDER/server says how"


def _authority(kit: Kit) -> Iterator[str]:
    here, known = kit.folder / "ca" / "ca.crt", kit.folder / "server" / "ca.crt"
    if known.exists() and not here.exists():  # all of ca/ is offline: a second authority would shut every host out
        shutil.copy(known, here)
    made = make_authority(kit.folder / "ca", kit.server)
    yield _line(made, "ca/ca.key", "take it offline: only a new server certificate needs it" if made else "")


def _server(kit: Kit, days: float, renew: bool, programs: Path) -> Iterator[str]:
    folder = kit.folder / "server"
    shutil.copy(kit.folder / "ca" / "ca.crt", folder / "ca.crt")
    path = folder / "server.crt"
    if renew or not path.exists():
        make_server_certificate(folder, kit.folder / "ca", kit.server, days)
        yield _line(True, "server/server.crt", f"for {kit.server}, {days:g} days")
    elif kit.server not in names_of(read_certificate(path)):
        raise UserError(f"the server's certificate is not for {kit.server}; add --renew to make it anew.")
    else:
        yield _line(False, "server/server.crt", f"{days_left(read_certificate(path)):.0f} days left")
    _write(folder, server_files(kit))
    yield from _environment(folder, environment_file("server", programs), "server")
    replace(kit, folder=folder, role="server").save()


def _host(kit: Kit, host: Host, programs: Path) -> Iterator[str]:
    folder = kit.folder / "hosts" / host.name
    folder.mkdir(exist_ok=True, mode=0o700)
    public = kit.folder / "server" / "keys" / f"{host.name}.pub"
    if public.exists() and not (folder / "key").exists():
        yield _line(False, f"hosts/{host.name}/key", f"has left the kit; serves {', '.join(host.views)}")
    else:
        yield _line(make_key(folder / "key", host.name), f"hosts/{host.name}/key", f"serves {', '.join(host.views)}")
        shutil.copy(folder / "key.pub", public)
    shutil.copy(kit.folder / "ca" / "ca.crt", folder / "ca.crt")
    _write(folder, host_files(kit, host))
    yield from _environment(folder, environment_file(host.name, programs, host.port), f"hosts/{host.name}")
    replace(kit, folder=folder, role="host", hosts=(host,)).save()


def _environment(folder: Path, text: str, shown: str) -> Iterator[str]:
    if (folder / "environment").exists():
        yield _line(False, f"{shown}/environment", "")
    else:
        _write(folder, {"environment": text})


def _write(folder: Path, files: Mapping[str, str]) -> None:
    folder.mkdir(exist_ok=True, mode=0o700)
    for name, text in files.items():
        write_whole(folder / name, text.encode())
        if name.endswith(".sh"):
            (folder / name).chmod(0o700)


def _line(made: bool, what: str, more: str) -> str:
    return f"{'made' if made else 'kept'} {what}{': ' if more else ''}{more}"
