"""The place `ray`: persistent Ray actors that answer messages.

    fedkd run place=ray                                  one machine; hosts are dealt to one actor for each core
    fedkd run place=ray place.address=10.0.0.5:6379      a cluster that runs already

A machine of a cluster that holds a view's recordings says so when it joins:

    ray start --address=10.0.0.5:6379 --resources='{"view_v01": 1}'

Then every view that is offered so gets an actor of its own, pinned to its machine, and a view that no machine offers
does not take part. Recordings are looked for under the same `data_dir` on every machine, and fedkd must be installed
there. Ray neither encrypts nor asks who is there: a cluster belongs on a network that all its machines may trust;
across any other, use the fleet. docs/ray.md has the whole of it.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import ray
import torch
from flwr.app import Context, Message
from omegaconf import DictConfig
from ray._private import ray_constants

from fedkd.build import build
from fedkd.config import from_string, load
from fedkd.errors import UserError
from simulations.host_grid import HostGrid, new_context
from simulations.local import answer, cores
from simulations.remarks import show_plainly
from simulations.serve import memories, serve

SHARE = 0.001
"""Of a machine's resource for a view, an actor takes so much: several runs at once have an actor each there."""

PIN = "view_"
"""A custom resource of this prefix names a view whose recordings are on the machine."""


AT_HOME = "~/.local/state/fedkd"
"""Where the machines of a cluster keep their cameras' memories and final students, each on its own disk."""


class Disk(NamedTuple):
    """Where hosts keep their cameras' memories ("": nowhere), and final students ("": in the run's folder)."""

    memories: str
    students: str


def disk_of(memories: str, address: str | None, state_dir: str | None) -> Disk:
    """A machine of a cluster keeps all on its own disk: the run's folder, where `memories` lie, is the server's."""
    own = state_dir or (AT_HOME if address else "")
    return Disk(own if memories and own else memories, f"{own}/students" if address else "")


class HostActor:
    """One or more hosts in a process of Ray's."""

    def __init__(self, run_id: int, overrides: str, disk: Disk, views: str) -> None:
        show_plainly()
        torch.set_num_threads(1)
        self._run_id, self._overrides, self._disk, self._views = run_id, overrides, disk, views
        self._contexts: dict[int, Context] = {}

    def process(self) -> int:
        """Id of the process that answers."""
        return os.getpid()

    def answer(self, message: Message) -> Message:
        """The ClientApp's reply."""
        node = message.metadata.dst_node_id
        if node not in self._contexts:
            self._contexts[node] = new_context(self._run_id, node, self._overrides, *self._disk)
            self._contexts[node].node_config["views"] = self._views
        return answer(message, self._contexts[node])


class RayHosts:
    """Hosts on actors: an actor for each view of `pinned`, or `num_hosts` hosts dealt to `workers` actors.

    An actor that dies costs its views the message that it was at work on; Ray starts it again, and its cameras go on
    from what they wrote to the disk of their machine.
    """

    def __init__(
        self,
        num_hosts: int,
        run_id: int,
        overrides: str,
        disk: Disk,
        *,
        workers: int,
        pinned: Sequence[str] = (),
        patience: float,
    ) -> None:
        new_actor: Any = ray.remote(max_restarts=-1, max_task_retries=0)(HostActor)
        wishes: list[tuple[dict[str, Any], str]] = [({"num_cpus": 1}, "")] * min(workers, num_hosts)
        if pinned:
            wishes = [({"num_cpus": 0, "resources": {PIN + view: SHARE}}, view) for view in pinned]
        self.actors = [new_actor.options(**wish).remote(run_id, overrides, disk, views) for wish, views in wishes]
        self._nodes = range(1, (len(pinned) or num_hosts) + 1)
        self._wait_until_there([views for _, views in wishes], patience)

    def _wait_until_there(self, views: Sequence[str], patience: float) -> None:
        asked = [actor.process.remote() for actor in self.actors]
        answered, missing = ray.wait(asked, num_returns=len(asked), timeout=patience)
        ended = [(view, why) for call, view in zip(asked, views, strict=True) if (why := _why_not(call, answered))]
        if len(ended) + len(missing) == len(asked):
            said = "; ".join(dict.fromkeys(why for _, why in ended)) or "see `ray status`"
            raise UserError(f"expected {len(asked)} actors of Ray within {patience:.0f} s, got none; {said}.")
        for view, why in ended:
            print(f"fedkd: the actor{f' of {view}' if view else ''} {why}; the run goes without it.", file=sys.stderr)
        if missing:
            print(f"fedkd: {len(missing)} of {len(asked)} actors are not there yet; they may join.", file=sys.stderr)

    def node_ids(self) -> Sequence[int]:
        """1..n."""
        return self._nodes

    def submit(self, messages: Sequence[Message]) -> list[Future[Message]]:
        """Send each message to its host's actor; a future fails when the actor is gone."""
        return [self._ask(self.actors[m.metadata.dst_node_id % len(self.actors)], m) for m in messages]

    @staticmethod
    def _ask(actor: Any, message: Message) -> Future[Message]:
        future: Future[Message] = Future()
        asked: Future[Message] = actor.answer.remote(message).future()
        asked.add_done_callback(lambda done: _pass_on(done, future))
        return future

    def close(self) -> None:
        """End the actors."""
        for actor in self.actors:
            ray.kill(actor)


@contextmanager
def cluster(address: str | None, workers: int) -> Iterator[None]:
    """A connection to Ray for the time of the block; without an address, a cluster of this machine, on its loopback."""
    if ray.is_initialized():
        raise UserError("expected a process without Ray, but it is connected to a cluster; call ray.shutdown() first.")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # as Ray will do by itself soon, and warns
    # Ray's switch for laptops: off, its processes listen on the loopback alone; an address of 127.0.0.1 does not do it
    ray_constants.ENABLE_RAY_CLUSTER = address is not None
    # an actor imports what this process does, installed or in a checkout at the same place: nothing is sent
    job = ray.job_config.JobConfig(_py_driver_sys_path=[str(Path(__file__).parents[1])])
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "job_config": job}
    with tempfile.TemporaryDirectory(prefix="fedkd-ray-", dir="/tmp") as scratch:  # Ray's sockets need a short path
        if address is None:
            settings |= {"num_cpus": workers, "num_gpus": 0, "include_dashboard": False}
            settings |= {"_temp_dir": scratch}
        else:
            _refuse_if_silent(address)
        ray.init(address=address or "local", **settings)
        try:
            yield
        finally:
            ray.shutdown()


def _refuse_if_silent(address: str) -> None:
    """A UserError within seconds; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, ValueError) as error:
        raise UserError(
            f"expected a Ray cluster at place.address={address}, such as 10.0.0.5:6379: {error}."
        ) from error


def offered(views: Sequence[str]) -> list[str]:
    """The views that machines of the cluster offer; none in a cluster that pins nothing."""
    pins = {name.removeprefix(PIN) for name in ray.cluster_resources() if name.startswith(PIN)}
    here, missing = [view for view in views if view in pins], [view for view in views if view not in pins]
    if pins and not here:
        raise UserError(f"expected machines that offer some of {', '.join(views)}, got {', '.join(sorted(pins))}.")
    if pins and missing:
        print(f"fedkd: no machine of the cluster offers {', '.join(missing)}; the run goes without.", file=sys.stderr)
    return here


def room(address: str, configs: Sequence[DictConfig]) -> int:
    """Runs that a cluster has cores for at once: one for each actor that a run has on a machine.

    Each run's server is a process of this machine, so there are not more of them than twice its cores.
    """
    views = {view for cfg in configs for view in build(cfg.data).view_names()}
    with cluster(address, 1):
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    actors = [sum(PIN + view in machine for view in views) for machine in machines]
    cpus = [int(machine.get("CPU", 0)) for machine in machines]
    for_each = [cores_there // wanted for cores_there, wanted in zip(cpus, actors, strict=True) if wanted]
    return max(1, min(min(for_each, default=sum(cpus)), 2 * cores()))


def _why_not(call: Any, answered: Sequence[Any]) -> str:
    """Why the actor that was called cannot start; "" where it can, or has not answered yet."""
    if call in answered:
        try:
            ray.get(call)
        except ray.exceptions.RayActorError as error:
            return _unable(error)
    return ""


def _unable(error: BaseException) -> str:
    """Why an actor cannot start, in one line (Ray's own text has twenty); "" of one that did, and is started again."""
    last = str(error).strip().splitlines()[-1].strip()
    return f"cannot start: {last}" if getattr(error, "actor_init_failed", False) else ""


def _pass_on(asked: Future[Message], future: Future[Message]) -> None:
    error = asked.exception()
    if error is None:
        future.set_result(asked.result())
    elif isinstance(error, ray.exceptions.RayActorError):
        future.set_exception(ConnectionError(f"the host's actor {_unable(error) or 'ended'}"))
    else:
        future.set_exception(error)


def run(
    overrides: str,
    folder: Path,
    num_views: int,
    *,
    workers: int | None,
    hosts: int | None,
    address: str | None,
    state_dir: str | None,
) -> None:
    """One run on Ray; the record goes to `folder`."""
    if address and state_dir and not state_dir.startswith(("/", "~")):
        raise UserError(
            f"expected a place.state_dir that every machine of the cluster understands, got '{state_dir}'; "
            "begin it with /, or with ~/ for a folder in each machine's own home."
        )
    torch.set_num_threads(1)
    cfg = load(from_string(overrides))
    num_hosts = hosts or num_views
    workers = min(workers or cores(), num_hosts)
    run_id = os.getpid()
    with cluster(address, workers):
        pinned = offered(build(cfg.data).view_names())
        disk, patience = disk_of(memories(folder, overrides), address, state_dir), float(cfg.patience)
        places = RayHosts(num_hosts, run_id, overrides, disk, workers=workers, pinned=pinned, patience=patience)
        serve(HostGrid(places, run_id), run_id, overrides, folder)
