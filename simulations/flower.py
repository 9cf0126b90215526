"""The place `flower`: Flower's own simulation, by `flwr run`, from the first process to the last.

    fedkd run place=flower

What `flwr run` leaves to its user is done here. It starts a SuperLink that stays, asks whichever one answers on its
port, installs the project's dependencies anew for each run, and exits 0 whatever became of the run. Here a run has a
SuperLink and a Flower home (`FLWR_HOME`) of its own, which end with it, and a failed run is an error.

Flower wants an app folder. It is made for each run from the packages that this process runs, so that a checkout and an
installed fedkd behave alike and nothing else (results, tests, a virtual environment) is bundled.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fedkd.errors import UserError
from simulations.local import cores

PACKAGES = ("fedkd", "strategies", "clients", "simulations")

QUIET = {
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",  # else `uv sync` replaces CPU torch by a 5 GB one, every run
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ADDRESS": "local",  # else Flower joins any Ray cluster it finds on the machine
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # Ray's switch for laptops: off, it listens on the loopback alone
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "PYTHONUNBUFFERED": "1",
}

PYPROJECT = """
[project]
name = "fedkd"
version = "0.0.0"
description = "One run."
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "fedkd"
flwr-version-target = "{flwr}"

[tool.flwr.app.components]
serverapp = "strategies.app:app"
clientapp = "clients.app:app"

[tool.flwr.app.config]
overrides = ""
folder = ""
"""

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
    with _ends_on_sigterm(), tempfile.TemporaryDirectory(prefix="fedkd-flower-", dir="/tmp") as scratch:
        flower = _Flower(Path(scratch))
        config = flower.scratch / "run.toml"
        config.write_text(f"overrides = {json.dumps(overrides)}\nfolder = {json.dumps(str(folder))}\n")
        size = f"num-supernodes={supernodes} client-resources-num-cpus=1 init-args-num-cpus={workers}"
        with flower.superlink():
            app = _make_app(flower.scratch / "app")
            ran = flower.flwr("run", app, "ours", "--run-config", config, "--federation-config", size, "--stream")
            started = re.search(r"started run (\d+)", ran)
            listed = flower.flwr("ls", "ours", "--run-id", started[1], "--format", "json") if started else "{}"
        if folder.exists():
            (folder / "flower.log").write_text(ran, encoding="utf-8")
        _judge(_summary(folder), listed, ran)


class _Flower:
    """A Flower of our own: its home, its processes, its environment."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.port = free_port()
        home = scratch / "home"
        home.mkdir()
        (home / "config.toml").write_text(CONFIG.format(port=self.port))
        self.programs = Path(sys.executable).parent
        path = f"{self.programs}{os.pathsep}{os.environ.get('PATH', '')}"
        own = {"FLWR_HOME": str(home), "RAY_TMPDIR": str(scratch), "PATH": path}  # they find one another by PATH
        self.environment = {**os.environ, **QUIET, **own}

    def flwr(self, *arguments: str | Path) -> str:
        """What one command says, on both channels."""
        done = subprocess.run(
            [self.programs / "flwr", *map(str, arguments)],
            cwd=self.scratch, env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        return done.stdout

    @contextmanager
    def superlink(self) -> Iterator[None]:
        """A SuperLink for the time of the block; afterwards none of its processes is left."""
        log = self.scratch / "superlink.log"
        arguments = ["--insecure", "--simulation", "--host", "127.0.0.1", "--port", str(self.port)]
        with open(log, "wb") as sink:
            process = subprocess.Popen(
                [self.programs / "flower-superlink", *arguments],
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
        raise UserError(f"Flower's SuperLink did not start: {_last_line(log.read_text(errors='replace'))}")


def _make_app(folder: Path) -> Path:
    """The app folder that `flwr run` bundles: the four packages as this process runs them."""
    here = Path(__file__).parents[1]
    for package in PACKAGES:
        shutil.copytree(here / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "pyproject.toml").write_text(PYPROJECT.format(flwr=version("flwr")), encoding="utf-8")
    return folder


def _judge(summary: Mapping[str, Any], listed: str, said: str) -> None:
    """Nothing for a finished run; of a failed one, the sentence of whoever knows why."""
    try:
        [flowers] = json.loads(listed)["runs"]
    except (ValueError, KeyError):
        flowers = {"status": "unknown"}
    if summary.get("status") == "finished" and flowers["status"] == "finished:completed":
        return
    if reason := summary.get("reason"):
        raise UserError(reason)
    print(said, file=sys.stderr)
    raise UserError(f"Flower's run did not finish (its status: {flowers['status']}); what it said is above.")


def _summary(folder: Path) -> Mapping[str, Any]:
    path = folder / "summary.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def free_port() -> int:
    """A port of the loopback that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _ends_on_sigterm() -> Iterator[None]:
    """Let SIGTERM unwind as Ctrl-C does: otherwise Flower's processes would stay."""

    def unwind(*_: object) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, unwind)
    except ValueError:  # not in the main thread: whoever has it must see to it
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def end_all(find: Callable[[], list[int]]) -> None:
    """End the processes that `find` finds until there are none; those that take longer than 10 s are killed."""
    deadline = time.monotonic() + 10
    while left := find():
        late = time.monotonic() > deadline
        for pid in left:
            with suppress(ProcessLookupError):  # ended meanwhile
                os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
        time.sleep(0.5)


def started_in(folder: Path) -> list[int]:
    """Ids of the processes at work in a folder that only they know (Linux; elsewhere Flower's own watch must do)."""
    return [int(process.name) for process in Path("/proc").glob("[0-9]*") if folder in _at_work_in(process).parents]


def _at_work_in(process: Path) -> Path:
    try:
        return (process / "cwd").readlink() / "here"
    except OSError:  # ended meanwhile, or another user's
        return Path()
