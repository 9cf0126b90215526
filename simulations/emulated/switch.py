"""A switch in user space: each host hangs on it by a link with a rate, a delay and a loss in each direction.

    python -m simulations.emulated.switch SEED PORT...     (in the namespace that holds the ports)

Orders come line by line on stdin, each answered by a line on stdout: ``link PORT {"rate": 20, ...}`` shapes a link,
``count`` gives what the links have carried. It ends when stdin does. The kernel's own emulator (netem) would do as
much, but is missing from many kernels; this needs packet sockets only, and its losses are drawn from a seed.
"""

from __future__ import annotations

import heapq
import itertools
import json
import math
import random
import select
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

BACKLOG = 0.4
"""Seconds that a frame may wait for its turn on a link; a link that is further behind drops it."""

_ALL_PROTOCOLS, _IGNORE_OUTGOING, _SOL_PACKET, _LONGEST = 3, 23, 263, 65_536


@dataclass(frozen=True, slots=True)
class Link:
    """What lies between a host and the switch, the same in both directions.

    rate   Mbit/s.
    delay  ms, one way.
    loss   share of the frames that are lost, 0 to 1.
    up     False: it is cut.

    ValueError for what no link can have.
    """

    rate: float = math.inf
    delay: float = 0.0
    loss: float = 0.0
    up: bool = True

    def __post_init__(self) -> None:
        if not (self.rate > 0 and self.delay >= 0 and 0 <= self.loss <= 1):
            raise ValueError(f"expected rate > 0, delay >= 0 and loss from 0 to 1, got {self}; up=False cuts a link.")


class Way:
    """One direction of a link: when a frame arrives at its other end, if it does."""

    def __init__(self, chance: random.Random) -> None:
        self.link, self.carried = Link(), 0
        self._free, self._chance = 0.0, chance

    def arrival(self, now: float, size: int) -> float | None:
        """When a frame of `size` bytes that starts `now` has arrived; None: it is lost."""
        begin = max(self._free, now)
        if not self.link.up or begin - now > BACKLOG or self._chance.random() < self.link.loss:
            return None
        self._free = begin + size * 8e-6 / self.link.rate
        self.carried += size
        return self._free + self.link.delay / 1000


class Port:
    """Where a host is plugged in."""

    def __init__(self, name: str, chance: random.Random) -> None:
        self.name, self.up, self.down = name, Way(chance), Way(chance)
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL_PROTOCOLS))
        self.socket.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.socket.bind((name, 0))
        self.socket.setblocking(False)


class Switch:
    """Ports, the frames under way between them, and the addresses that it has learnt."""

    def __init__(self, names: Sequence[str], seed: int) -> None:
        chance = random.Random(seed)
        self._ports = {name: Port(name, chance) for name in names}
        self._behind: dict[bytes, Port] = {}
        self._due: list[tuple[float, int, Callable[[Port, bytes], None], Port, bytes]] = []
        self._order = itertools.count()

    def serve(self) -> None:
        """Pass frames on and take orders until there are no more orders to come."""
        of_fd = {port.socket.fileno(): port for port in self._ports.values()}
        poll = select.epoll()
        for fd in (*of_fd, sys.stdin.fileno()):
            poll.register(fd, select.EPOLLIN)
        while True:
            for fd, _ in poll.poll(max(0.0, self._due[0][0] - time.monotonic()) if self._due else None):
                if fd in of_fd:
                    self._take(of_fd[fd])
                elif not (order := sys.stdin.readline()):
                    return
                else:
                    print(self._obey(order), flush=True)
            while self._due and self._due[0][0] <= time.monotonic():
                _, _, step, port, frame = heapq.heappop(self._due)
                step(port, frame)

    def _take(self, port: Port) -> None:
        """What a host has sent."""
        with suppress(BlockingIOError):
            while True:
                self._send(port.up, self._cross, port, port.socket.recv(_LONGEST))

    def _cross(self, port: Port, frame: bytes) -> None:
        """From one host's link to another's; to all others' while nobody knows where the address is."""
        self._behind[frame[6:12]] = port
        known = self._behind.get(frame[:6])
        for out in (known,) if known else self._ports.values():
            if out is not port:
                self._send(out.down, self._deliver, out, frame)

    def _deliver(self, port: Port, frame: bytes) -> None:
        with suppress(OSError):  # the host is gone, or too busy: lost
            port.socket.send(frame)

    def _send(self, way: Way, step: Callable[[Port, bytes], None], port: Port, frame: bytes) -> None:
        due = way.arrival(time.monotonic(), len(frame))
        if due is not None:
            heapq.heappush(self._due, (due, next(self._order), step, port, frame))

    def _obey(self, order: str) -> str:
        what, _, rest = order.strip().partition(" ")
        if what == "link":
            name, _, link = rest.partition(" ")
            port = self._ports[name]
            port.up.link = port.down.link = Link(**json.loads(link))
            return "ok"
        return json.dumps({name: [port.up.carried, port.down.carried] for name, port in self._ports.items()})


if __name__ == "__main__":
    Switch(sys.argv[2:], int(sys.argv[1])).serve()
