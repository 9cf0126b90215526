"""``fedkd fleet init | check | status | gate``."""

from __future__ import annotations

import argparse
from pathlib import Path

from simulations.flwr_command import PROGRAMS
from simulations.screen import screen


def add_fleet(parser: argparse.ArgumentParser) -> None:
    """Give the parser of `fedkd fleet` its verbs."""
    verbs = parser.add_subparsers(required=True, metavar="init | check | status | gate")
    made = verbs.add_parser("init", help="make certificates, keys and a folder for each machine; add or drop hosts")
    made.add_argument("folder", type=Path, help="the fleet's, new or there already")
    made.add_argument("--server", metavar="HOST[:PORT]", help="as hosts reach it; a DNS name or an IP address")
    made.add_argument("--host", metavar="NAME=VIEW[,VIEW..]", action="append", default=[], help="once for each host")
    made.add_argument("--drop", metavar="NAME", action="append", default=[], help="take this host out of the fleet")
    made.add_argument("--days", type=float, default=365, help="days the server's certificate is valid (default 365)")
    made.add_argument("--renew", action="store_true", help="make the server's certificate anew, its key stays")
    made.add_argument("--link-port", type=int, help="the SuperLink's port, on the server's loopback (default 8000)")
    made.add_argument("--programs", type=Path, default=PROGRAMS, help="where Flower's programs lie (here: %(default)s)")
    made.set_defaults(act=_init)
    checked = verbs.add_parser(
        "check", help="is this machine ready? A host's folder there; on the server FOLDER/server"
    )
    checked.add_argument("folder", type=Path, help="a host's folder there; on the server FOLDER/server")
    checked.add_argument(
        "overrides", nargs="*", metavar="key=value", help="the host's recordings, such as data=nw_ucla"
    )
    checked.set_defaults(act=_check)
    told = verbs.add_parser("status", help="who is there, and how far the run is; on the server's machine")
    told.add_argument("folder", type=Path, help="the fleet's")
    told.add_argument(
        "result",
        type=Path,
        nargs="?",
        help="the run's result folder, if the run was not started by `fedkd run place=fleet` here",
    )
    told.set_defaults(act=_status)
    gate = verbs.add_parser("gate", help="let hosts in to the SuperLink, and nobody else (server/gate.sh runs this)")
    gate.add_argument("folder", type=Path, help="FOLDER/server")
    gate.set_defaults(act=_gate)


def _init(asked: argparse.Namespace) -> None:
    from simulations.fleet.make import init

    for line in init(
        asked.folder, asked.server, asked.host,
        drop=asked.drop, days=asked.days, renew=asked.renew, link_port=asked.link_port, programs=asked.programs,
    ):  # fmt: skip
        print(line)


def _check(asked: argparse.Namespace) -> int:
    from simulations.fleet.check import check
    from simulations.fleet.kit import load_kit

    wrong = 0
    for finding in check(load_kit(asked.folder, "host", "server"), asked.overrides):
        print(finding, flush=True)
        wrong += finding.ok is False
    return int(wrong > 0)


def _status(asked: argparse.Namespace) -> None:
    from simulations.fleet.kit import load_kit
    from simulations.fleet.status import status

    screen(soft_wrap=True).print(status(load_kit(asked.folder, "fleet"), asked.result))


def _gate(asked: argparse.Namespace) -> None:
    from simulations.fleet.gate import serve
    from simulations.fleet.kit import load_kit

    serve(load_kit(asked.folder, "server"))
