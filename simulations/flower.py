"""The place `flower`: Flower's own simulation, by `flwr run`, from the first process to the last.

    fedkd run place=flower

What `flwr run` leaves to its user is done here. It starts a SuperLink that stays, asks whichever one answers on its
port, installs the project's dependencies anew for each run, and exits 0 whatever became of the run. Here a run has a
SuperLink and a Flower home (`FLWR_HOME`) of its own, which end with it even where it is killed, and a failed run is an
error.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedkd.errors import UserError
from simulations.flwr_command import (
    PROGRAMS,
    environment,
    flwr,
    is_under_way,
    judge,
    last_line,
    make_app,
    run_config,
    summary,
)
from simulations.guardian import guarded
from simulations.live import watch
from simulations.local import cores
from simulations.processes import end_all, ends_on_sigterm, free_port, started_in
from simulations.serve import drop_memories, memories

RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ADDRESS": "local",  # else Flower joins any Ray cluster it finds on the machine
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # Ray's switch for laptops: off, it listens on the loopback alone
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}

CONFIG = """
[superlink]
default = "ours"

[superlink.ours]
address = "127.0.0.1:{port}"
insecure = true
"""


def run(overrides: str, folder: Path, num_views: int, *, supernodes: int | None, workers: int | None) -> None:
    """One run in Flower's simulation; the record goes to `folder`, Flower's own log to `flower.log` in it."""
    supernodes = supernodes or num_views
    workers = min(workers or cores(), supernodes)
    with (
        ends_on_sigterm(),
        tempfile.TemporaryDirectory(prefix="fedkd-flower-", dir="/tmp") as scratch,
        guarded(Path(scratch)),
    ):
        flower = _Flower(Path(scratch))
        config = run_config(flower.scratch / "run.toml", overrides, folder, memories(folder, overrides))
        size = f"num-supernodes={supernodes} client-resources-num-cpus=1 init-args-num-cpus={workers}"
        with flower.superlink(), watch(folder):
            app = make_app(flower.scratch / "app")
            ran = flower.flwr("run", app, "ours", "--run-config", config, "--federation-config", size, "--stream")
            started = re.search(r"started run (\d+)", ran)
            listed = flower.flwr("ls", "ours", "--run-id", started[1], "--format", "json") if started else "{}"
            while started and is_under_way(listed):  # its stream of words may end before it does
                ran = flower.flwr("log", started[1], "ours", "--stream")
                listed = flower.flwr("ls", "ours", "--run-id", started[1], "--format", "json")
        if folder.exists():
            (folder / "flower.log").write_text(ran, encoding="utf-8")
        judge(summary(folder), listed, ran)
    drop_memories(folder)


class _Flower:
    """A Flower of our own: its home, its processes, its environment."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.port = free_port()
        home = scratch / "home"
        home.mkdir()
        (home / "config.toml").write_text(CONFIG.format(port=self.port))
        self.environment = environment(home, RAY_TMPDIR=str(scratch), **RAY)

    def flwr(self, *arguments: str | Path) -> str:
        """What one command says, on both channels."""
        return flwr(*arguments, cwd=self.scratch, env=self.environment)

    @contextmanager
    def superlink(self) -> Iterator[None]:
        """A SuperLink for the time of the block; afterwards none of its processes is left."""
        log = self.scratch / "superlink.log"
        arguments = ["--insecure", "--simulation", "--host", "127.0.0.1", "--port", str(self.port)]
        with open(log, "wb") as sink:
            process = subprocess.Popen(
                [PROGRAMS / "flower-superlink", *arguments],
                cwd=self.scratch, env=self.environment, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink,
                start_new_session=True,  # Ctrl-C is for us: we end it
            )  # fmt: skip
        try:
            self._wait_until_up(process, log)
            yield
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            end_all(lambda: started_in(self.scratch))

    def _wait_until_up(self, process: subprocess.Popen[bytes], log: Path) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=1):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise UserError(f"Flower's SuperLink did not start: {last_line(log.read_text(errors='replace'))}")
