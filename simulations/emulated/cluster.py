"""A Ray cluster on emulated hosts: a head without cameras, and machines that offer views."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedkd.errors import UserError
from simulations.emulated.network import Network
from simulations.ray_hosts import PIN

HEAD = "server"
PORT = 6379
_RAY = Path(sys.executable).parent / "ray"
_APART = 'mount --bind "$0" "$1" && shift && mount -t tmpfs tmpfs /dev/shm && exec "$@"'
"""Ray's machines tell one another apart by their files; these share a disk, so each gets places of its own."""

_ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_RAY_CLUSTER": "1"}


class Cluster:
    """The cluster's processes; they end with the network.

    network  with a host "server" and one of each name in `views`.
    folder   for the machines' own files and logs.
    views    {host: the views that it offers}.
    cores    that each machine says it has.
    """

    def __init__(self, network: Network, folder: Path, views: Mapping[str, Sequence[str]], cores: int) -> None:
        self.network, self.folder, self.views, self.cores = network, folder, dict(views), cores
        self.address = f"{network.address(HEAD)}:{PORT}"
        # not Ray's own place, which others may use; a short path, since sockets lie below it
        self._files = tempfile.TemporaryDirectory(prefix="fedkd-ray-", dir="/tmp", ignore_cleanup_errors=True)

    def start(self) -> None:
        """Start every machine, and wait until all have joined."""
        alone = ("--num-cpus=0", "--include-dashboard=false", f"--temp-dir={self._files.name}")
        self._start(HEAD, [], "--head", f"--port={PORT}", *alone)
        for name in self.views:
            self.join(name)
        deadline = time.monotonic() + 120
        while (there := self.machines()) < len(self.views) + 1:
            if time.monotonic() > deadline:
                raise UserError(f"expected {len(self.views) + 1} machines of Ray within 120 s, got {there}.")
            time.sleep(1)

    def join(self, name: str) -> None:
        """Start a machine that offers its views."""
        own: Path = self.folder / name
        own.mkdir(parents=True, exist_ok=True)
        offered = json.dumps({PIN + view: 1 for view in self.views[name]})
        apart: list[str | Path] = ["unshare", "--mount", "sh", "-c", _APART, own, self._files.name]
        self._start(name, apart, f"--address={self.address}", f"--num-cpus={self.cores}", f"--resources={offered}")

    def begin(self, *words: str, **how: Any) -> subprocess.Popen[Any]:
        """Start a `fedkd` command on the head."""
        command = [sys.executable, "-m", "simulations.cli", *words, "place=ray", f"place.address='{self.address}'"]
        return self.network.start(HEAD, command, stdin=subprocess.DEVNULL, env=_environment(), **how)

    def machines(self) -> int:
        """Machines that are in the cluster."""
        code = (
            f"import ray; ray.init('{self.address}', logging_level='ERROR', log_to_driver=False); "
            "print('machines', sum(n['Alive'] for n in ray.nodes()))"
        )
        asked = self.network.start(
            HEAD, [sys.executable, "-c", code], env=_environment(), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        found = re.search(r"^machines (\d+)$", asked.communicate()[0], re.MULTILINE)  # Ray may have a word to say too
        return int(found[1]) if found else 0

    def _start(self, name: str, apart: Sequence[str | Path], *options: str) -> None:
        command: list[str | Path] = [_RAY, "start", f"--node-ip-address={self.network.address(name)}", *options]
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / f"{name}.log", "ab") as log:
            self.network.start(
                name, (*apart, *command, "--disable-usage-stats", "--block"),
                env=_environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip


def _environment() -> dict[str, str]:
    return {**os.environ, **_ENVIRONMENT}
