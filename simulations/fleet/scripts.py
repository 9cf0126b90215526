"""What starts a fleet's processes, as text: shell scripts, systemd units, a compose file, environments.

Scripts find what they need beside themselves, so a folder may lie anywhere; units and compose only run the scripts.
A SuperNode that comes back before the server has noticed that it was gone is refused and ends (Flower's exit code 305,
which a shell sees as 1): whoever supervises it must start it again until the heartbeat has expired, a minute later.
"""

from __future__ import annotations

from pathlib import Path

from simulations.fleet.kit import Host, Kit
from simulations.flwr_command import QUIET

INSTALLED = "/etc/fedkd"
"""Where a host's folder lies on its host, for systemd."""

_QUIET = "# Quiet, and nothing fetched from anywhere:\n" + "\n".join(
    f"{key}={value}" for key, value in {**QUIET, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}.items()
)

_ENVIRONMENT = """\
# Yours to change: fedkd fleet init makes it once and then leaves it alone. KEY=VALUE, without quotes.
# Where the programs lie (flower-superlink, flower-supernode, fedkd):
FEDKD_PROGRAMS={programs}
# Where recordings lie:
FEDKD_DATA={data}
# Where `fedkd data prepare` keeps what it has read; else .cache/fedkd in the home of whoever runs. A container sees
# only what lies below FEDKD_DATA:
# FEDKD_PREPARED={data}/prepared
# What is kept between starts; else what systemd gives, or state/ beside this file:
# FEDKD_STATE=/var/lib/fedkd/{name}
{more}{quiet}
"""

_BEGIN = """\
set -eu
here=$(cd "$(dirname "$0")" && pwd)
set -a; . "$here/environment"; set +a
FEDKD_STATE=${FEDKD_STATE:-${STATE_DIRECTORY:-$here/state}}
PATH=$FEDKD_PROGRAMS:$PATH
FLWR_HOME=$FEDKD_STATE/flower
export FEDKD_STATE PATH FLWR_HOME
umask 077
mkdir -p "$FEDKD_STATE/work"
"""

_WORK = """\
cd "$FEDKD_STATE/work"  # empty: Python would import what lies in the directory that Flower's programs start from
"""

_SUPERNODE = """\
#!/bin/sh
# The SuperNode of {name}, in the foreground. Further options of flower-supernode may follow.
{begin}{work}exec flower-supernode --superlink {address} --root-certificates "$here/ca.crt" \\
  --auth-supernode-private-key "$here/key" --node-config "views=\\"{views}\\" state-dir=\\"$FEDKD_STATE\\" warm=true" \\
  --host 127.0.0.1 --port "$FEDKD_PORT" "$@"
"""

_SUPERLINK = """\
#!/bin/sh
# The SuperLink, in the foreground, on the loopback alone: Flower asks nobody who starts runs for a password, so only
# this machine may (gate.sh lets hosts in). Further options of flower-superlink may follow.
{begin}{work}exec flower-superlink --host 127.0.0.1 --port {link_port} --enable-supernode-auth \\
  --ssl-ca-certfile "$here/ca.crt" --ssl-certfile "$here/server.crt" --ssl-keyfile "$here/server.key" \\
  --database "$FEDKD_STATE/superlink.db" "$@"
"""

_GATE = """\
#!/bin/sh
# The one door that is open to the network, in the foreground: hosts reach the SuperLink through it, and nothing else.
{begin}ulimit -n "$(ulimit -H -n)"  # each connection is an open file
exec fedkd fleet gate "$here"
"""

_REGISTER = """\
#!/bin/sh
# Register every host's public key at the SuperLink of this machine; safe to run again.
{begin}export FLWR_HOME="$here/../flower-home"
failed=0
tries=0
until said=$(flwr supernode list fleet 2>&1); do
  tries=$((tries + 1))
  [ $tries -lt 10 ] || {{ echo "the SuperLink does not answer: $said" >&2; exit 1; }}
  sleep 2
done
for key in "$here"/keys/*.pub; do
  name=$(basename "$key" .pub)
  if said=$(flwr supernode register "$key" fleet --name "$name" 2>&1); then
    echo "$name: registered"
  else
    case $said in
      *"already in use"*) echo "$name: was registered before" ;;
      *) echo "$name: not registered: $said" >&2; failed=1 ;;
    esac
  fi
done
exit $failed
"""

_UNIT = """\
# {what}
# cp {unit} /etc/systemd/system/ && systemctl daemon-reload && systemctl enable --now {unit}
[Unit]
Description=fedkd: {description}
Wants=network-online.target
After={after}
StartLimitIntervalSec=0

[Service]
User=fedkd
ExecStart=/bin/sh {start}
# Whatever it ended with, 305 among them, it is started again: after 5 s, then ever later, after a minute at most.
Restart=always
RestartSec=5
# Of systemd 254 and later; an older one waits 5 s each time.
RestartSteps=5
RestartMaxDelaySec=60
StateDirectory=fedkd/{name}
StateDirectoryMode=0700
NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem={protect}
ProtectHome=read-only

[Install]
WantedBy=multi-user.target
"""

_COMPOSE = """\
# docker compose --env-file environment up -d      (docs/fleet.md says how the image is built)
services:
  supernode:
    image: ${{FEDKD_IMAGE:-fedkd:{version}}}
    command: ["sh", "/kit/supernode.sh"]
    user: ${{FEDKD_USER:-1000:1000}}  # must be able to read key, and to write state, which must be there
    init: true  # reaps warm processes, whose parent ends long before them
    environment:
      FEDKD_STATE: /state
    volumes:
      - .:/kit:ro
      - ./state:/state
      - ${{FEDKD_DATA}}:${{FEDKD_DATA}}:ro
    restart: always  # with a back-off, so past exit code 305 too
    read_only: true
    tmpfs: [/tmp]
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
"""


def host_files(kit: Kit, host: Host) -> dict[str, str]:
    """{file: text} of a host's folder, without what is secret and without what is its operator's."""
    unit = f"fedkd-{host.name}.service"
    return {
        "supernode.sh": _SUPERNODE.format(
            name=host.name, begin=_BEGIN, work=_WORK, address=kit.address, views=",".join(host.views)
        ),
        unit: _UNIT.format(
            what=f"Expects this folder at {INSTALLED}/{host.name}, owned by a user fedkd.",
            unit=unit, description=f"camera host {host.name} (Flower SuperNode)",
            after="network-online.target time-sync.target", start=f"{INSTALLED}/{host.name}/supernode.sh",
            name=host.name, protect="strict",
        ),
        "compose.yaml": _COMPOSE.format(version=kit.versions["fedkd"]),
    }  # fmt: skip


def server_files(kit: Kit) -> dict[str, str]:
    """{file: text} of the server's folder, without what is secret and without what is its operator's."""
    folder = kit.folder / "server"
    about = {"what": "Expects the kit to be owned by a user fedkd.", "name": "server", "protect": "full"}
    return {
        "superlink.sh": _SUPERLINK.format(begin=_BEGIN, work=_WORK, link_port=kit.link_port),
        "gate.sh": _GATE.format(begin=_BEGIN),
        "register.sh": _REGISTER.format(begin=_BEGIN),
        "fedkd-superlink.service": _UNIT.format(
            unit="fedkd-superlink.service", description="Flower SuperLink, on the loopback",
            after="network-online.target time-sync.target", start=_quoted(folder / "superlink.sh"), **about,
        ),
        "fedkd-gate.service": _UNIT.format(
            unit="fedkd-gate.service", description="gate of the SuperLink",
            after="network-online.target fedkd-superlink.service", start=_quoted(folder / "gate.sh"), **about,
        ),
    }  # fmt: skip


def _quoted(path: Path) -> str:
    """A path as one word of a unit's command (man 5 systemd.service, "Command lines")."""
    text = str(path)
    for special, instead in {"\\": r"\\", '"': r"\"", "%": "%%", "$": "$$"}.items():
        text = text.replace(special, instead)
    return f'"{text}"'


def environment_file(name: str, programs: Path, port: int | None = None) -> str:
    """What differs from machine to machine.

    port  of a host's SuperNode, on its loopback.
    """
    more = "" if port is None else f"# Of the SuperNode, on the loopback:\nFEDKD_PORT={port}\n"
    return _ENVIRONMENT.format(name=name, programs=programs, data="/srv/recordings", more=more, quiet=_QUIET)


def flower_config(kit: Kit) -> str:
    """Flower's own config.toml, for whoever starts runs on the server's machine."""
    return (
        f'[superlink]\ndefault = "fleet"\n\n[superlink.fleet]\naddress = "127.0.0.1:{kit.link_port}"\n'
        f'root-certificates = "{kit.folder / "server" / "ca.crt"}"\n'
    )


def read_environment(folder: Path) -> dict[str, str]:
    """The settings in a folder's `environment`."""
    lines = (folder / "environment").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
