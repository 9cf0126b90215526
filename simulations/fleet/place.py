"""The place `fleet`: a run on real hosts, through the SuperLink of a kit.

    fedkd run place=fleet place.kit=FOLDER

To be started on the server's machine: nobody else may start runs, and there the ServerApp writes the record.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fedkd.errors import UserError, remark
from fedkd.files import held, write_whole
from simulations.fleet.kit import load_kit
from simulations.flwr_command import (
    by_hand,
    environment,
    flwr,
    is_over,
    is_under_way,
    judge,
    last_line,
    make_app,
    run_config,
    summary,
)
from simulations.live import watch
from simulations.processes import ends_on_sigterm, undisturbed

A_MINUTE = 60.0
"""Seconds from the end of a record by which Flower has taken note of it."""

SERVER_APP = "simulations.fleet.app:app"
LAST_RUN = "last_run.json"
"""In the kit's folder: the last run's id, and where its record goes."""


def run(overrides: str, folder: Path, num_views: int, *, kit: str | None) -> None:
    """One run on a fleet; the record goes to `folder` on this machine, Flower's own log to `flower.log` in it."""
    if kit is None:
        raise UserError("place=fleet needs place.kit=FOLDER, the folder that fedkd fleet init made.")
    fleet = load_kit(kit, "fleet")
    with ends_on_sigterm(), tempfile.TemporaryDirectory(prefix="fedkd-fleet-") as scratch:
        flower = FleetCommand(fleet.folder, Path(scratch))
        run_id, began = "", datetime.now(UTC).replace(microsecond=0)  # Flower writes whole seconds down
        try:  # nothing that happens to this command may leave the hosts at work
            run_id = flower.start(overrides, folder)
            _write_down(fleet.folder / LAST_RUN, run_id, folder)
            with watch(folder):
                said, listed = flower.follow(run_id, folder)
        except BaseException:
            with undisturbed():
                for known in [run_id] if run_id else flower.under_way_since(began):
                    flower.stop(known)
            raise
    if not is_over(listed):
        raise UserError("the SuperLink has ended during the run; start server/superlink.sh, and run again.")
    if os.access(folder, os.W_OK | os.X_OK):
        (folder / "flower.log").write_text(said, encoding="utf-8")
    elif '"finished:completed"' in listed:
        raise UserError(
            f"the run is done, but its record is not in {folder}, or not this user's to write: it is on the server's "
            "machine, in a /tmp that systemd keeps apart, or of the SuperLink's user; run there, as that user, with a "
            "results_dir elsewhere (docs/fleet.md)."
        )
    judge(summary(folder), listed, said)


def _write_down(path: Path, run_id: str, folder: Path) -> None:
    """Where the run's record goes, for `fedkd fleet status`; a run that is under way needs nothing of it."""
    try:
        write_whole(path, json.dumps({"run-id": run_id, "folder": str(folder)}).encode())
    except UserError as error:
        remark(
            f"the run goes on, but fedkd fleet status will not find its record, {folder}, and may show an earlier run: "
            f"{error.__cause__}."
        )


class FleetCommand:
    """`flwr`, as one who may start runs on a kit's SuperLink."""

    def __init__(self, kit: Path, scratch: Path) -> None:
        self._scratch = scratch
        self._environment = environment(kit / "flower-home")

    def __call__(self, *arguments: str | Path) -> str:
        """What one command says, on both channels."""
        return flwr(*arguments, cwd=self._scratch, env=self._environment)

    def follow(self, run_id: str, folder: Path) -> tuple[str, str]:
        """What a run says, and how it is listed when it is over or nobody is at work on it any more.

        Flower's stream of words may end before the run does (seen in a round that stood still for minutes).
        """
        while True:
            said = self("log", run_id, "fleet", "--stream")
            listed = self.listed(run_id)
            if not is_under_way(listed):
                return said, listed
            if os.access(folder, os.W_OK | os.X_OK) and not held(folder):
                return said, self._listed_at_last(run_id)
            time.sleep(1.0)

    def _listed_at_last(self, run_id: str) -> str:
        """How a run is listed of which no more is written: it may just be over."""
        until = time.monotonic() + A_MINUTE
        while is_under_way(listed := self.listed(run_id)):
            if time.monotonic() > until:
                break
            time.sleep(1.0)
        return listed

    def listed(self, run_id: str) -> str:
        """What the SuperLink says of one run."""
        return self("ls", "fleet", "--run-id", run_id, "--format", "json")

    def under_way_since(self, began: datetime) -> list[str]:
        """Ids of the runs that the SuperLink took since then and that are not over."""
        new = (run for run in self.runs() if datetime.fromisoformat(run["pending-at"]) >= began)
        return [run["run-id"] for run in new if not run["status"].startswith("finished")]

    def stop(self, run_id: str) -> None:
        """End a run; where the SuperLink does not do it, say how to."""
        said = self("stop", run_id, "fleet", "--format", "json")
        answer = _json(said)
        if not answer.get("success") and not is_over(self.listed(run_id)):
            command = by_hand(self._environment["FLWR_HOME"], "stop", run_id, "fleet")
            remark(f"run {run_id} may go on on the fleet, since it was not stopped ({_why(answer, said)}): {command}")

    def runs(self, *which: str) -> list[dict[str, Any]]:
        """What the SuperLink knows of its runs, the latest first; none where it does not answer."""
        found: list[dict[str, Any]] = _json(self("ls", "fleet", *which, "--format", "json")).get("runs", [])
        return found

    def start(self, overrides: str, folder: Path, *apps: str) -> str:
        """Hand a run over to the SuperLink; its id. `apps`: a ServerApp and a ClientApp in place of ours."""
        app = make_app(self._scratch / "app", *(apps or (SERVER_APP,)))
        config = run_config(self._scratch / "run.toml", overrides, folder)
        said = self("run", app, "fleet", "--run-config", config, "--format", "json")
        started = _json(said)
        if not started.get("success"):
            raise UserError(f"the SuperLink took no run: {_why(started, said)}. Is it up, on this machine?")
        return str(started["run-id"])


def _why(answer: dict[str, Any], said: str) -> str:
    """Why a command did not do what it should."""
    return last_line(answer.get("error-message", said)).rstrip(".")


def _json(said: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(said[said.find("{") :])
    except ValueError:
        return {}
    return found
