"""The job that the place tests run everywhere: three tiny views, a teacher, two rounds. About a second once it runs."""

import csv
import json
from collections import Counter
from contextlib import suppress
from pathlib import Path

from simulations.run import run_one

JOB = (
    "data=tiny", "data.labels=0.4", "student=imu_tcn", "teacher=tcn", "teaching.rounds=1",
    "strategy=distil", "speak_after=1", "rounds=2",
)  # fmt: skip


def run(results: Path, *overrides: str) -> Path:
    """The job with these overrides; its result folder."""
    return run_one([*JOB, f"results_dir='{results}'", *overrides])


def only_folder(results: Path) -> Path:
    """The result folder of the one run there was."""
    [path] = results.rglob("summary.json")
    return path.parent


def summary(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text())


def statuses(folder: Path) -> dict[tuple[int, str], str]:
    """(round, view) -> status, from rounds.csv."""
    with open(folder / "rounds.csv", newline="") as file:
        return {(int(row["round"]), row["view"]): row["status"] for row in csv.DictReader(file)}


def late_rounds(folder: Path) -> dict[tuple[int, str], list[int]]:
    """(round, view) -> the earlier rounds whose late answers counted in it, from rounds.csv, where there are any."""
    with open(folder / "rounds.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["late"]]
    return {(int(row["round"]), row["view"]): [int(round) for round in row["late"].split()] for row in rows}


def no_answer_counted_twice(folder: Path) -> None:
    """A view's answer to a round counted in that round, or late in one later round, or in none."""
    late = [(earlier, at, view) for (at, view), rounds in late_rounds(folder).items() for earlier in rounds]
    assert all(earlier < at for earlier, at, _ in late)
    in_time = [answer for answer, status in statuses(folder).items() if status == "ok" and answer[1] != "fused"]
    counted = Counter([*in_time, *((earlier, view) for earlier, _, view in late)])
    assert [answer for answer, times in counted.items() if times > 1] == []


def started_with(name: str, value: Path) -> list[int]:
    """Ids of the processes that were started with this setting in their environment (Linux)."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # ended meanwhile, or another user's
            if f"{name}={value}".encode() in environment.read_bytes().split(b"\0"):
                found.append(int(environment.parent.name))
    return found
