"""A run as it goes: round, accuracy, bytes, time left.

    with watch(folder):
        server_app(grid, context)

The view reads the run's record (`fedkd.record`) as it grows, and nothing else: so it serves every place, and a run does
not know that it is watched. On a terminal it is a panel that vanishes when the run ends (`fedkd show` is what stays);
elsewhere it is one plain line a round.

A process must not be forked beside a running thread: a place that forks its hosts enters `watch` after that.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fedkd.errors import UserError
from fedkd.record import FUSED
from fedkd.results import MEAN, Result, heading, load
from fedkd.words import human_bytes, human_seconds, percent

_POLL_SECONDS = 0.5  # a look costs a `stat`, and a few milliseconds after each round
REMINDER_SECONDS = 30.0
"""Between two lines about one wait, where there is no terminal."""

_SPARKS = "▁▂▃▄▅▆▇█"
_SPARK_ROUNDS = 30


@contextmanager
def watch(folder: Path, console: Console | None = None) -> Iterator[None]:
    """Show the run that writes to `folder`, which need not exist yet, for the time of the block."""
    # Progress is no output: what a command prints stays its own, also when it is piped on.
    watcher = _Watcher(folder, console or Console(stderr=True, highlight=False))
    watcher.thread.start()
    try:
        yield
    finally:
        watcher.over.set()
        watcher.thread.join()  # from here on nothing more is printed, and it is safe to fork again


class _Watcher:
    """The thread that looks, and what it saw."""

    def __init__(self, folder: Path, console: Console) -> None:
        self.folder, self.console = folder, console
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run, name="live view", daemon=True)
        self._began = time.monotonic()
        self._round_ends: dict[int, float] = {}  # when each round was first seen done
        self._seen: list[tuple[int, int]] = []
        self._result: Result | None = None
        self._told = self._result.rounds_done if self._look() and self._result else 0  # of a run that goes on

    def _run(self) -> None:
        if self.console.is_terminal:
            self._on_a_terminal()
        else:
            self._line_by_line()

    def _on_a_terminal(self) -> None:
        with Live(console=self.console, auto_refresh=False, transient=True) as screen:
            while not self.over.wait(_POLL_SECONDS):
                self._look()
                screen.update(self._panel(), refresh=True)

    def _line_by_line(self) -> None:
        told, reminded, ended = self._told, -math.inf, False
        while not ended:
            ended = self.over.wait(_POLL_SECONDS)  # and then one last look, for the last round
            if self._look() and self._result is not None:
                for number in range(told + 1, self._result.rounds_done + 1):
                    self.console.print(line(self._result, number, self._seconds_left()), soft_wrap=True, markup=False)
                told = self._result.rounds_done
                waiting = str(self._result.summary.get("waiting", ""))
                if waiting and time.monotonic() - reminded > REMINDER_SECONDS:
                    self.console.print(waiting, soft_wrap=True, markup=False)
                    reminded = time.monotonic()
                elif not waiting:
                    reminded = -math.inf

    def _look(self) -> bool:
        """Read the record if it changed; whether it did."""
        try:
            state = [_state(self.folder / name) for name in ("rounds.csv", "summary.json")]
            if state == self._seen:
                return False
            self._result = load(self.folder)
        except (OSError, UserError):
            return False  # not there yet, or half made: the next look will tell
        self._seen = state
        if "rounds_done" in self._result.summary:  # from the end of enrolment on, which is round 0
            self._round_ends.setdefault(self._result.rounds_done, time.monotonic())
        return True

    def _seconds_left(self) -> float | None:
        """By the mean time of the rounds that were watched."""
        if self._result is None or len(self._round_ends) < 2:
            return None
        (first, begin), (last, end) = min(self._round_ends.items()), max(self._round_ends.items())
        a_round = (end - begin) / (last - first)
        due = end + a_round * (self._result.summary["rounds"] - last)
        return max(due - time.monotonic(), 0.0)

    def _panel(self) -> RenderableType:
        elapsed = time.monotonic() - self._began
        if self._result is None:
            return Text(f"waiting for the hosts, {human_seconds(round(elapsed))}", style="dim")
        return panel(self._result, elapsed, self._seconds_left())


def line(result: Result, number: int, seconds_left: float | None) -> str:
    """One round in one line of plain text."""
    rows = result.rounds[result.rounds["round"] == number]
    exams = rows.dropna(subset="accuracy").set_index("view")["accuracy"]
    figures = [f"{view} {percent(exams[view])}" for view in (*result.views, FUSED) if view in exams.index]
    failed = rows[~rows["status"].isin(["ok", "enrolled"])]
    return "  ".join(
        [
            f"round {number}/{result.summary['rounds']}",
            *figures,
            *(f"{view} failed" for view in failed["view"]),
            human_bytes(result.bytes_so_far().get(number)),
            *([f"{human_seconds(seconds_left)} left"] if seconds_left else []),
        ]
    )


def panel(result: Result, elapsed: float, seconds_left: float | None) -> RenderableType:
    """The run so far on one screen."""
    rounds, done = int(result.summary["rounds"]), result.rounds_done
    clock = f"{human_seconds(round(elapsed))}" + (
        f", {human_seconds(round(seconds_left))} left" if seconds_left else ""
    )
    progress = Table.grid(padding=(0, 2), expand=True)
    progress.add_column(no_wrap=True)
    progress.add_column(ratio=1)
    progress.add_column(no_wrap=True, justify="right")
    progress.add_row(f"{done} of {rounds} rounds", ProgressBar(total=rounds, completed=done), clock)

    views = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 3, 0, 0))
    views.add_column("view", no_wrap=True)
    for name in ("accuracy", "best"):
        views.add_column(name, justify="right", no_wrap=True)
    views.add_column("by round", no_wrap=True)
    views.add_column("", overflow="ellipsis", no_wrap=True)
    for view in (*result.views, MEAN, FUSED):
        history = result.history(view)
        now, best = (history.iloc[-1], history.max()) if len(history) else (None, None)
        style = "bold" if view == FUSED else ""
        views.add_row(
            Text(view, style), Text(percent(now), style), Text(percent(best), "dim"),
            Text(_spark(list(history)), "cyan"), Text(_trouble(result, view), "red"),
        )  # fmt: skip

    up, down = (human_bytes(result.summary[key]) for key in ("bytes_up", "bytes_down"))
    title = Text(f"{heading(result)}, place {result.summary['place']}", style="bold")
    waiting = [Text(said, "yellow")] if (said := result.summary.get("waiting")) else []
    body = Group(progress, "", views, "", Text(f"up {up}  down {down}"), *waiting)
    return Panel(body, title=title, title_align="left", border_style="dim", padding=(1, 2))


def _state(path: Path) -> tuple[int, int]:
    """What changes when a file does: time in nanoseconds, bytes."""
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size


def _spark(values: list[float]) -> str:
    """Accuracies of the last rounds as a row of bars, each on a scale from 0 to 1."""
    return "".join(_SPARKS[min(int(value * len(_SPARKS)), len(_SPARKS) - 1)] for value in values[-_SPARK_ROUNDS:])


def _trouble(result: Result, view: str) -> str:
    """The view's last failure, if it had one."""
    own = [failure for failure in result.failures if failure["view"] == view]
    return f"failed in round {own[-1]['round']}: {own[-1]['reason']}" if own else ""
