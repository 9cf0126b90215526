"""A fleet kit at work on emulated hosts: real SuperLink, gate, SuperNodes, TLS and keys, over links of our making."""

from __future__ import annotations

import shlex
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from fedkd.errors import UserError
from simulations.emulated.network import Network
from simulations.fleet.kit import Kit, load_kit
from simulations.fleet.link import Node, nodes
from simulations.fleet.make import init

SERVER = "server"
"""Name of the host that the kit stays on."""

_AGAIN = 'while :; do sh "$0"; sleep 5; done'
"""What systemd would do."""


class Fleet:
    """The fleet's processes; they end with the network.

    network   with a host "server" and one of each name in `views`.
    folder    where the kit goes.
    views     {host: the views that it serves}.
    settings  {host: what to add to its `environment` file, such as FEDKD_DATA}.
    """

    def __init__(
        self,
        network: Network,
        folder: Path,
        views: Mapping[str, Sequence[str]],
        settings: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.network, self.folder, self.hosts = network, folder, tuple(views)
        typed = [f"{name}={','.join(served)}" for name, served in views.items()]
        list(init(folder, network.address(SERVER), typed))
        for name, added in (settings or {}).items():
            if crooked := [value for value in added.values() if shlex.quote(value) != value]:
                raise UserError(f"expected settings that a shell takes as they are, got {crooked[0]!r} for {name}.")
            with open(self.folder_of(name) / "environment", "a", encoding="utf-8") as file:
                file.writelines(f"{key}={value}\n" for key, value in added.items())

    @property
    def kit(self) -> Kit:
        """As `fedkd fleet init` made it."""
        return load_kit(self.folder, "fleet")

    def folder_of(self, name: str) -> Path:
        """A host's folder of the kit."""
        return self.folder / (SERVER if name == SERVER else f"hosts/{name}")

    def start(self) -> None:
        """Start everything, and wait until all hosts are online."""
        self.start_server()
        self.register()
        for name in self.hosts:
            self.start_host(name)
        self.wait_for(lambda: self.online() == set(self.hosts), "all hosts online")

    def start_server(self) -> None:
        """Start SuperLink and gate, and wait until they answer."""
        for script in ("superlink.sh", "gate.sh"):
            self.keep_up(SERVER, self.folder_of(SERVER) / script)
        self.wait_for(self.answers, "an answer of SuperLink and gate")

    def register(self) -> None:
        """Register every host's key."""
        done = self.network.start(SERVER, ["sh", self.folder / "server" / "register.sh"], stdout=subprocess.DEVNULL)
        if done.wait():
            raise UserError("expected every host's key to be registered; the lines above say which is not.")

    def start_host(self, name: str) -> None:
        """Start a host's SuperNode."""
        self.keep_up(name, self.folder_of(name) / "supernode.sh")

    def keep_up(self, name: str, script: Path) -> None:
        """Start a script on a host, and start it again whenever it ends."""
        with open(script.with_suffix(".log"), "ab") as log:
            self.network.start(name, ["sh", "-c", _AGAIN, script], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def begin(self, *words: str, **how: Any) -> subprocess.Popen[Any]:
        """Start a `fedkd` command on the server."""
        command = [sys.executable, "-m", "simulations.cli", *words]
        return self.network.start(SERVER, command, stdin=subprocess.DEVNULL, **how)

    def run(self, *overrides: str, **how: Any) -> int:
        """`fedkd run` on the fleet; its exit status."""
        return int(self.begin("run", *overrides, "place=fleet", f"place.kit='{self.folder}'", **how).wait())

    def nodes(self) -> list[Node]:
        """The hosts as the SuperLink sees them."""
        with self.network.at(SERVER):
            return nodes(self.kit)

    def online(self) -> set[str]:
        """Names of the hosts that are online; none while the SuperLink does not answer."""
        try:
            return {node.host for node in self.nodes() if node.online and node.host}
        except UserError:
            return set()

    def answers(self) -> bool:
        """Whether SuperLink and gate are up."""
        authority = ssl.create_default_context(cafile=self.folder / "ca" / "ca.crt")
        with self.network.at(SERVER):
            try:
                said = httpx.get(f"https://{self.kit.address}/health", verify=authority, trust_env=False)
            except httpx.TransportError:
                return False
        return said.status_code == httpx.codes.OK

    def wait_for(self, holds: Callable[[], bool], what: str, seconds: float = 180) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                raise UserError(f"expected {what} within {seconds:.0f} s; the scripts' logs in {self.folder} say why.")
            time.sleep(0.5)
