"""What a phase costs on a fleet with warm and with cold cameras, beside Flower's own floor; and memory over rounds.

    python -m simulations.bench.fleet             # half an hour on two quiet cores, as root; results/bench/fleet.md

Three hosts on emulated links that cost nothing. A phase is a message to every host and their answers; fedkd's rounds
have one each here, but for the last, which is left out. The floor is an app that answers at once
(`simulations.bench.floor`), once with Flower's own looks for answers and once with fedkd's. Contenders follow one
another, and then again, each time another one first; a ratio is between medians of the same repeat.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import pandas as pd
from rich.console import Console

from fedkd.environment import environment
from simulations.bench.out import add_out
from simulations.bench.table import as_markdown, on_screen, spread
from simulations.emulated.fleet import SERVER, Fleet
from simulations.emulated.network import Network
from simulations.emulated.switch import Link
from simulations.fleet.place import FleetCommand
from simulations.local import cores

VIEWS = {"cam1": ["v01"], "cam2": ["v02"], "cam3": ["v03"]}
JOB = ("data=tiny", "student=imu_tcn", "teacher=none", "speak_after=1", "speak_every=1")
FLOORS = {"floor": "server", "steady": "steady_server"}
CONTENDERS = {
    "floor": "Flower's floor",
    "steady": "the same, looked at twice a second",
    "warm": "fedkd, warm",
    "cold": "fedkd, cold",
}
HEADINGS = ("contender", "a phase, s", "/ floor", "phases")
PROGRAMS = {
    "SuperLink": (SERVER, "flower-superlink"),
    "ServerApp": (SERVER, "flwr-serverapp"),
    "gate": (SERVER, "fleet gate"),
    "SuperNode of cam1": ("cam1", "flower-supernode"),
    "warm process of cam1": ("cam1", "clients.warm_process"),
}
MEMORY_HEADINGS = ("process", "MB after {early} rounds", "MB after {all} rounds")

Weighed = dict[int, Mapping[str, float]]
"""{round: {process: MB}}."""

_PAGE = """# What a phase costs on a fleet

`{command}`, commit {commit}; 3 hosts on emulated links without delay, {cores} cores, load at the start {load:.1f}.
Median (least-most) of the phases; ratios of medians of the same repeat.

From `fedkd fleet init` to the end of the first round: {first:.0f} s, once.

{table}"""

_MEMORY = """
Memory, resident, over one run of a phase each round:

{memory}"""


def phases(fleet: Fleet, contender: str, rounds: int, folder: Path) -> list[float]:
    """Seconds of each phase of one run but the first, with which the app comes to the hosts."""
    if contender in FLOORS:
        return floor(fleet, FLOORS[contender], rounds, folder)[1:]
    make_warm(fleet, contender == "warm")
    ends = watched(fleet, rounds, folder)
    return [later - earlier for earlier, later in pairwise(ends[:-1])]


def floor(fleet: Fleet, server: str, rounds: int, folder: Path) -> list[float]:
    """Seconds of each phase of an app that does nothing."""
    with tempfile.TemporaryDirectory(prefix="fedkd-floor-", dir="/tmp") as scratch, fleet.network.at(SERVER):
        flower = FleetCommand(fleet.folder, Path(scratch))
        apps = (f"simulations.bench.floor:{server}", "simulations.bench.floor:client")
        flower("log", flower.start(str(rounds), folder, *apps), "fleet", "--stream")
    return list(map(float, json.loads((folder / "floor.json").read_text())))


def watched(fleet: Fleet, rounds: int, folder: Path, weighed: Weighed | None = None) -> list[float]:
    """When each round of a run had ended; `weighed` takes the processes' memory after each."""
    words = (f"rounds={rounds}", f"evaluate_every={rounds}", f"results_dir='{folder}'")
    asked = ("run", *JOB, *words, "place=fleet", f"place.kit='{fleet.folder}'")
    process, ends = fleet.begin(*asked, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL), list[float]()
    while process.poll() is None:
        for summary in folder.rglob("summary.json"):
            if json.loads(summary.read_text()).get("rounds_done", 0) > len(ends):
                ends.append(time.monotonic())
                if weighed is not None:
                    weighed[len(ends)] = weigh(fleet)
        time.sleep(0.02)
    if process.returncode or len(ends) < rounds:
        raise SystemExit(f"the run ended with {process.returncode} after {len(ends)} rounds; {folder} has its record.")
    return ends


def make_warm(fleet: Fleet, warm: bool) -> None:
    """Restart the SuperNodes with or without warm processes."""
    for name in fleet.hosts:
        fleet.network.end(name)
        script = fleet.folder_of(name) / "supernode.sh"
        text = script.read_text().replace("warm=true", "warm=?").replace("warm=false", "warm=?")
        script.write_text(text.replace("warm=?", f"warm={str(warm).lower()}"))
        fleet.start_host(name)
    fleet.wait_for(lambda: fleet.online() == set(fleet.hosts), "all hosts online")


def weigh(fleet: Fleet) -> Mapping[str, float]:
    """Resident MB of each of PROGRAMS."""
    return {
        what: sum(map(_resident, fleet.network.processes(host, program))) for what, (host, program) in PROGRAMS.items()
    }


def _resident(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except OSError:  # ended meanwhile
        return 0.0


def rows(measured: pd.DataFrame) -> list[tuple[str, ...]]:
    """One row a contender."""
    medians = measured.groupby(["contender", "repeat"]).seconds.median()
    found: list[tuple[str, ...]] = []
    for name, shown in CONTENDERS.items():
        mine = measured[measured.contender == name].seconds
        ratio = spread(list(medians[name] / medians["floor"]), "{:.2f}")
        found.append((shown, spread(list(mine), "{:.2f}"), ratio, str(len(mine))))
    return found


def parser() -> argparse.ArgumentParser:
    """The command's."""
    parser = argparse.ArgumentParser(prog="python -m simulations.bench.fleet", description="What a phase costs.")
    parser.add_argument("--rounds", type=int, default=16, help="of each run (16)")
    parser.add_argument("--repeats", type=int, default=3, help="how often each contender runs (3)")
    parser.add_argument("--memory-rounds", type=int, default=200, help="of the run that is weighed (200); 0: none")
    add_out(parser)
    return parser


def main() -> None:
    """Measure, print, and keep."""
    asked = parser().parse_args()
    load, measured, weighed = os.getloadavg()[0], [], Weighed()
    with (
        tempfile.TemporaryDirectory(prefix="fedkd-", dir="/tmp") as scratch,
        Network({SERVER: Link(), **dict.fromkeys(VIEWS, Link())}) as network,
    ):
        began = time.monotonic()
        fleet = Fleet(network, Path(scratch) / "kit", VIEWS)
        fleet.start()
        first = watched(fleet, 2, Path(scratch) / "first")[0] - began
        for repeat in range(asked.repeats):
            for contender in _turned(list(CONTENDERS), repeat):
                folder = Path(scratch) / f"{contender}-{repeat}"
                for seconds in phases(fleet, contender, asked.rounds, folder):
                    measured.append({"contender": contender, "repeat": repeat, "seconds": seconds})
        keep(asked, load, first, pd.DataFrame(measured), weighed)
        if asked.memory_rounds:
            make_warm(fleet, True)
            watched(fleet, asked.memory_rounds, Path(scratch) / "memory", weighed)
            keep(asked, load, first, pd.DataFrame(measured), weighed)


def keep(asked: argparse.Namespace, load: float, first: float, measured: pd.DataFrame, weighed: Weighed) -> None:
    """Print and write what there is so far: the phases, and the memory once it has been weighed."""
    console = Console(highlight=False)
    console.print(on_screen("a phase on a fleet", HEADINGS, rows(measured)))
    asked.out.mkdir(parents=True, exist_ok=True)
    page = _PAGE.format(
        command=shlex.join(["python", "-m", "simulations.bench.fleet", *sys.argv[1:]]), commit=environment()["commit"],
        load=load, cores=cores(), first=first, table=as_markdown(HEADINGS, rows(measured)),
    )  # fmt: skip
    if weighed:
        early = min(20, max(weighed))
        memory = [(what, f"{weighed[early][what]:.0f}", f"{weighed[max(weighed)][what]:.0f}") for what in PROGRAMS]
        headings = [heading.format(early=early, all=max(weighed)) for heading in MEMORY_HEADINGS]
        console.print(on_screen("memory", headings, memory))
        page += _MEMORY.format(memory=as_markdown(headings, memory))
    (asked.out / "fleet.md").write_text(page, encoding="utf-8")
    measured.to_csv(asked.out / "fleet.csv", index=False)
    print(f"kept in {asked.out / 'fleet'}.md and .csv")


def _turned(names: Sequence[str], turn: int) -> list[str]:
    """Another one first each time."""
    return [*names[turn % len(names) :], *names[: turn % len(names)]]


if __name__ == "__main__":
    main()
