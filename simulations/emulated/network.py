"""Emulated hosts: each a network namespace with an address of its own, if need be with a fraction of a core."""

from __future__ import annotations

import ctypes
import fcntl
import itertools
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fedkd.errors import UserError
from simulations.emulated.switch import Link
from simulations.processes import end_all

CPU = Path("/sys/fs/cgroup/cpu")
"""Where the kernel's limits of processors are (cgroup v1)."""

_PERIOD = 100_000  # us
_NETNS = Path("/run/netns")
_NEW_NET = 0x40000000
_SIOCETHTOOL, _SET_CHECKSUM, _SET_SEGMENTS = 0x8946, 0x17, 0x1F
_LIBC = ctypes.CDLL(None, use_errno=True)
_counter = itertools.count()


def missing() -> str:
    """Why no network can be emulated here; "" where one can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "network namespaces need root, on Linux"
    if absent := [program for program in ("ip", "nsenter") if shutil.which(program) is None]:
        return f"{' and '.join(absent)} not found (iproute2, util-linux)"
    name = f"fedkd-{os.getpid()}-try"
    try:
        _ip("netns", "add", name)
        _ip("-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
    except UserError as error:
        return f"no network namespaces here: {error}"
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return ""


class Network:
    """Hosts on one switch, for the time of a `with` block; afterwards their processes and namespaces are gone.

    links  what each host hangs on the switch by, {name: Link}.
    cores  share of a core that a host's processes have together; hosts that are not named have all there are.
    seed   of the frames that links lose.
    """

    def __init__(self, links: Mapping[str, Link], *, cores: Mapping[str, float] | None = None, seed: int = 0) -> None:
        if why := missing():
            raise UserError(f"expected to emulate a network, but {why}.")
        if cores and not (CPU / "cpu.cfs_quota_us").exists():
            raise UserError(f"expected the cpu controller of cgroup v1 at {CPU} for shares of a core, found none.")
        self._prefix = f"fedkd-{os.getpid()}-{next(_counter)}-"
        self._links, self._cores, self._seed = dict(links), dict(cores or {}), seed
        self._ports = {name: f"port{index}" for index, name in enumerate(links)}
        self._switch: subprocess.Popen[str]

    def __enter__(self) -> Network:
        _sweep()
        try:
            self._make()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._remove()

    def address(self, name: str) -> str:
        """A host's IP address."""
        return f"10.77.0.{1 + list(self._links).index(name)}"

    def start(self, name: str, command: Sequence[str | Path], **how: Any) -> subprocess.Popen[Any]:
        """Start a process on a host."""
        limited = ["sh", "-c", f'echo $$ > {self._group(name)}/cgroup.procs && exec "$@"', "sh"]
        where = ["nsenter", f"--net={_NETNS / self._namespace(name)}", *(limited if name in self._cores else ())]
        return subprocess.Popen([*where, *map(str, command)], **how)

    @contextmanager
    def at(self, name: str) -> Iterator[None]:
        """Within the block this thread, and what it starts, is on that host's network."""
        with open("/proc/thread-self/ns/net") as here, open(_NETNS / self._namespace(name)) as there:
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(here.fileno())

    def link(self, name: str, link: Link) -> None:
        """Shape a host's link anew."""
        self._links[name] = link
        self._order(f"link {self._ports[name]} {json.dumps(asdict(link))}")

    @property
    def links(self) -> Mapping[str, Link]:
        """Each host's link as it is."""
        return self._links

    def carried(self) -> dict[str, tuple[int, int]]:
        """{host: (bytes it has sent, bytes it was sent)}, whole frames, lost ones left out."""
        counted = json.loads(self._order("count"))
        return {name: tuple(counted[port]) for name, port in self._ports.items()}

    def processes(self, name: str, program: str = "") -> list[int]:
        """Ids of the processes on a host whose command line has `program` in it."""
        said = _ip("netns", "pids", self._namespace(name))
        return [pid for pid in map(int, said.split()) if program in _command_line(pid)]

    def kill(self, name: str, program: str = "") -> None:
        """Kill these processes, as a power cut would."""
        for pid in self.processes(name, program):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _make(self) -> None:
        switch = self._namespace("")
        _ip("netns", "add", switch)
        for name, port in self._ports.items():
            here = self._namespace(name)
            _ip("netns", "add", here)
            _ip("-n", here, "link", "add", "eth0", "type", "veth", "peer", "name", port, "netns", switch)
            with self.at(name):
                with suppress(OSError):  # there is none
                    Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1")
                _send_whole_frames("eth0")
            _ip("-n", here, "addr", "add", f"{self.address(name)}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip("-n", here, "link", "set", device, "up")
            _ip("-n", switch, "link", "set", port, "up")
            if name in self._cores:
                self._limit(name)
        self._switch = subprocess.Popen(
            ["nsenter", f"--net={_NETNS / switch}", sys.executable, "-m", "simulations.emulated.switch",
             str(self._seed), *self._ports.values()],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        for name, link in self._links.items():
            self.link(name, link)

    def _remove(self) -> None:
        for name in self._links:
            self.end(name)
        if hasattr(self, "_switch"):
            self._switch.communicate()
        _remove(self._prefix)

    def end(self, name: str) -> None:
        """End a host's processes, in their own way if they find it within 10 s."""
        if (_NETNS / self._namespace(name)).exists():
            end_all(lambda: self.processes(name))

    def _limit(self, name: str) -> None:
        group = self._group(name)
        group.mkdir()
        (group / "cpu.cfs_period_us").write_text(str(_PERIOD))
        (group / "cpu.cfs_quota_us").write_text(str(int(self._cores[name] * _PERIOD)))

    def _order(self, order: str) -> str:
        assert self._switch.stdin is not None and self._switch.stdout is not None
        with suppress(BrokenPipeError):
            self._switch.stdin.write(order + "\n")
            self._switch.stdin.flush()
        if not (answer := self._switch.stdout.readline()):
            raise UserError("expected an answer of the network's switch, but it has ended; its words are above.")
        return answer

    def _namespace(self, name: str) -> str:
        return f"{self._prefix}{name}"

    def _group(self, name: str) -> Path:
        return CPU / self._namespace(name)


def _sweep() -> None:
    """Remove what networks of killed processes have left."""
    for left in _NETNS.glob("fedkd-*"):
        pid = re.match(r"fedkd-(\d+)-", left.name)
        if pid and not Path(f"/proc/{pid[1]}").exists():
            with suppress(UserError):  # another process does the same
                _remove(left.name)


def _remove(prefix: str) -> None:
    for namespace in _NETNS.glob(f"{prefix}*"):
        for pid in map(int, _ip("netns", "pids", namespace.name).split()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _ip("netns", "del", namespace.name)
    for group in CPU.glob(f"{prefix}*"):
        _until_empty(group)
        group.rmdir()


def _until_empty(group: Path) -> None:
    deadline = time.monotonic() + 10
    while (group / "cgroup.procs").read_text() and time.monotonic() < deadline:
        time.sleep(0.05)


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"`ip {' '.join(arguments)}` failed: {done.stderr.strip()}")
    return done.stdout


def _enter(descriptor: int) -> None:
    if _LIBC.setns(descriptor, _NEW_NET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _send_whole_frames(device: str) -> None:
    """No frame may leave its host larger than the network allows, or without its checksum: no device is behind it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for setting in (_SET_CHECKSUM, _SET_SEGMENTS):
            value = ctypes.create_string_buffer(struct.pack("II", setting, 0))
            request = struct.pack("16sP", device.encode(), ctypes.addressof(value))
            fcntl.ioctl(any_socket.fileno(), _SIOCETHTOOL, request)


def _command_line(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""
