"""What a network costs a round: a fleet of twelve hosts, over links of a memory's speed and over those of a home.

    python -m simulations.bench.network           # an hour on two cores, as root; results/bench/network.md

Each host is a network namespace with a SuperNode and a view of its own (`simulations.emulated`). Network time is what a
host's SuperNode spends between "Receiving" a round's message and having it, and between "Sending" the reply and having
sent it. The hosts share this machine's cores, so it is more than nothing without any delay: what the links add is the
difference of the two, of the same run over each kind of link in one sitting.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pandas as pd
from rich.console import Console

from fedkd.environment import environment
from simulations.bench.out import add_out
from simulations.bench.table import as_markdown, on_screen, spread
from simulations.emulated.fleet import SERVER, Fleet
from simulations.emulated.network import Network
from simulations.emulated.switch import Link
from simulations.local import cores

LINKS = {"none": Link(), "20 Mbit/s, 50 ms, 1 % loss": Link(rate=20, delay=25, loss=0.01)}
"""Between each host and the server: 25 ms each way, and each way a frame of a hundred is lost."""

JOB = (
    "data=tiny", "data.num_classes=12", "data.clips=360", "data.labels=0.1", "data.channels=12", "student=imu_tcn",
    "teacher=none", "min_views=2", "speak_after=1", "speak_every=1",
)  # fmt: skip

EXCHANGES = ("distil", "fedavg")

HEADINGS = (
    "exchange", "links", "slowest host of a round, s", "median host, s", "sent, kB a host and round",
    "received, kB a host and round", "rounds",
)  # fmt: skip

_PAGE = """# What a network costs a round

`{command}`, commit {commit}; {hosts} hosts with a view each, on {cores} cores, load at the start {load:.1f}. Median
(least-most). Network time is what a host's SuperNode spends between "Receiving" a round's message and having it, and
between "Sending" its reply and having sent it: on a machine that all hosts share, its processors are in it too. kB are
whole frames, with TLS, heartbeats, questions for work, and the app as it comes to the hosts with the first round.

The links add to the network time of a round's slowest host, medians of runs of one repeat subtracted: {adds}.

{table}"""

_BEGINS, _ENDS = re.compile(r"(Receiving|Sending): train message"), re.compile(r"(Received|Sent) successfully")
_ROUND = re.compile(r"ROUND [0-9a-f]+/(\d+)\]")


@dataclass
class Watch:
    """What a SuperNode says, by the clock: {round: seconds on the network}."""

    seconds: dict[int, float] = field(default_factory=dict)
    _round: int = 0
    _began: float | None = None

    def hear(self, line: str, now: float) -> None:
        """Take one line down."""
        if found := _ROUND.search(line):
            self._round = int(found[1])
        elif _BEGINS.search(line):
            self._began = now
        elif self._began is not None and _ENDS.search(line):
            self.seconds[self._round] = self.seconds.get(self._round, 0.0) + now - self._began
            self._began = None


class TimedFleet(Fleet):
    """A fleet whose SuperNodes are listened to."""

    def __init__(self, network: Network, folder: Path, views: Mapping[str, Sequence[str]]) -> None:
        super().__init__(network, folder, views)
        self.watches = {name: Watch() for name in views}

    def keep_up(self, name: str, script: Path) -> None:
        """Start a script on a host, and write down when its SuperNode said what."""
        if name == SERVER:
            super().keep_up(name, script)
            return
        process = self.network.start(
            name, ["sh", script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        threading.Thread(target=self._listen, args=(name, process), daemon=True).start()

    def _listen(self, name: str, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.watches[name].hear(line, time.monotonic())


@dataclass(frozen=True)
class Round:
    """One round of one run: seconds on the network of the slowest host and of the median one; bytes a host."""

    exchange: str
    links: str
    repeat: int
    round: int
    slowest: float
    median: float
    sent: float
    received: float


def measure(fleet: TimedFleet, exchange: str, links: str, repeat: int, rounds: int, results: Path) -> Iterator[Round]:
    """One run; its rounds but the first, with which the app comes to the hosts. Bytes are the run's, by round."""
    for name in fleet.hosts:
        fleet.watches[name] = Watch()
        fleet.network.link(name, LINKS[links])
    before = fleet.network.carried()
    words = (f"strategy={exchange}", f"rounds={rounds}", f"evaluate_every={rounds}", f"data.views={len(fleet.hosts)}")
    if fleet.run(*JOB, *words, f"results_dir='{results}'", stdout=subprocess.DEVNULL):
        said = (fleet.folder_of(SERVER) / "superlink.log").read_text(errors="replace").splitlines()[-60:]
        raise SystemExit("\n".join([*said, f"{exchange} over {links} failed; above are the SuperLink's last words."]))
    after = fleet.network.carried()
    sent, received = (
        statistics.mean((after[name][way] - before[name][way]) / rounds for name in fleet.hosts) for way in (0, 1)
    )
    for number in range(2, rounds + 1):
        seconds = [watch.seconds[number] for watch in fleet.watches.values() if number in watch.seconds]
        yield Round(exchange, links, repeat, number, max(seconds), statistics.median(seconds), sent, received)


def rows(measured: Sequence[Round]) -> Iterator[tuple[str, ...]]:
    """One row for each exchange and kind of link."""
    for exchange in EXCHANGES:
        for links in LINKS:
            mine = [one for one in measured if (one.exchange, one.links) == (exchange, links)]
            yield (
                exchange,
                links,
                spread([one.slowest for one in mine], "{:.2f}"),
                spread([one.median for one in mine], "{:.2f}"),
                spread(sorted({one.sent / 1000 for one in mine}), "{:.0f}"),
                spread(sorted({one.received / 1000 for one in mine}), "{:.0f}"),
                str(len(mine)),
            )


def added(measured: Sequence[Round], exchange: str) -> str:
    """What the links add to the network time of a round's slowest host: medians of each repeat, subtracted."""
    mine = pd.DataFrame(map(asdict, measured)).query("exchange == @exchange")
    fast, slow = (mine[mine.links == links].groupby("repeat").slowest.median() for links in LINKS)
    return spread(list(slow - fast), "{:.2f}")


def parser() -> argparse.ArgumentParser:
    """The command's."""
    parser = argparse.ArgumentParser(prog="python -m simulations.bench.network", description="What a network costs.")
    parser.add_argument("--hosts", type=int, default=12, help="with a view each (12)")
    parser.add_argument("--rounds", type=int, default=6, help="of each run (6)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each exchange over each kind of link (3)")
    add_out(parser)
    return parser


def main() -> None:
    """Measure, print, and keep."""
    asked = parser().parse_args()
    views = {f"cam{number}": [f"v{number:02d}"] for number in range(1, asked.hosts + 1)}
    load, measured = os.getloadavg()[0], list[Round]()
    with (
        tempfile.TemporaryDirectory(prefix="fedkd-", dir="/tmp") as scratch,
        Network({SERVER: Link(), **dict.fromkeys(views, Link())}) as network,
    ):
        fleet = TimedFleet(network, Path(scratch) / "kit", views)
        fleet.start()
        for repeat in range(asked.repeats):
            for exchange in EXCHANGES:
                for links in LINKS:
                    results = Path(scratch) / f"{exchange}-{list(LINKS).index(links)}-{repeat}"
                    measured += measure(fleet, exchange, links, repeat, asked.rounds, results)
            keep(asked, load, measured)


def keep(asked: argparse.Namespace, load: float, measured: Sequence[Round]) -> None:
    """Print and write what the repeats so far have measured."""
    body = list(rows(measured))
    Console(highlight=False).print(on_screen("a round's network time", HEADINGS, body))
    adds = "; ".join(f"{exchange} {added(measured, exchange)} s" for exchange in EXCHANGES)
    print(f"The links add to a round: {adds}.")
    asked.out.mkdir(parents=True, exist_ok=True)
    page = _PAGE.format(
        command=shlex.join(["python", "-m", "simulations.bench.network", *sys.argv[1:]]),
        commit=environment()["commit"], hosts=asked.hosts, load=load, cores=cores(), adds=adds,
        table=as_markdown(HEADINGS, body),
    )  # fmt: skip
    (asked.out / "network.md").write_text(page, encoding="utf-8")
    pd.DataFrame(map(asdict, measured)).to_csv(asked.out / "network.csv", index=False)
    print(f"kept in {asked.out / 'network'}.md and .csv")


if __name__ == "__main__":
    main()
