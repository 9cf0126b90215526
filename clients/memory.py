"""Where cameras live between messages, and how far back they can go.

A process that stays (a local worker, a Ray actor of ours) keeps them as they are. Where the host has a folder for them
(`state-dir`), each camera's state is also on the host's own disk after every round, so that a process, a host or the
server may die at any moment and the run goes on with the same bits: a server that was killed in a round asks for that
round again, and a camera that has learned from it already goes back to where it stood before. Where there is neither,
as in a plain `flwr run` in simulation, a camera's state travels in `Context.state`, which never leaves the host.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from flwr.app import ConfigRecord, Context, Message

from clients.camera import Camera
from clients.outfit import forget_recordings, new_camera
from fedkd.errors import UserError, remark
from fedkd.sealed import seal, unseal

KEPT_MOMENTS = 3
"""Moments of a camera on disk: the last, the one a killed server goes back to, and one more should a file be torn."""

KEPT_DAYS = 14
"""Days after which what a run left on a host's disk is of no use to anybody."""


class Moment(NamedTuple):
    """After which round: of a federated teacher (stage 0), or of the students (stage 1)."""

    stage: int
    round: int


START, FIRST = Moment(0, 0), Moment(1, 0)
"""Before everything, and before the students' first round: what is lost by then can be told and learned again."""


class Knows(Enum):
    """What a camera that is recalled remembers of its run."""

    ALL = "all that it was told"
    SOME = "what it was told once"
    NOTHING = "nothing"


class Recalled(NamedTuple):
    """A camera, what it knows of its run, and after which moment it stands."""

    camera: Camera
    knows: Knows
    stands: Moment


_HERE: dict[tuple[int, int], dict[str, tuple[Moment, Camera]]] = {}
"""(Flower's run, node) -> the cameras this process keeps, each with the moment at which it stands."""


class Memory:
    """What a host remembers of the run that a message belongs to."""

    def __init__(self, message: Message, context: Context, overrides: tuple[str, ...]) -> None:
        self.overrides, self._context = overrides, context
        self._stays = bool(context.node_config.get("resident", False))
        self._here = _HERE.setdefault((context.run_id, context.node_id), {}) if self._stays else {}
        self.folder = _folder(message, context)

    def anew(self, name: str) -> Camera:
        """A fresh camera; what was remembered of one by this name is forgotten."""
        self._here.pop(name, None)
        if self.folder is not None:
            _drop_old_runs(self.folder)
            for path in self._moments(name).values():
                path.unlink(missing_ok=True)
        return new_camera(self.overrides, name)

    def recall(self, name: str, until: Moment) -> Recalled:
        """A camera as it last stood, but no later than `until`; and what it knows of what it was told by then.

        One that stands before `until` may have lost what was told in the rounds between, or never have heard it. It
        says so until it is remembered again, so in its answer to one train message and in those to exams before that:
        whoever hears it must tell it again, however late the answer.
        """
        if name in self._here and (self._here[name][0] <= until or self.folder is None):
            stands, camera = self._here[name]
            return Recalled(camera, Knows.ALL, stands)
        camera = new_camera(self.overrides, name)
        if self.folder is None:
            known = not self._stays and self._restore_from_context(camera, name)
            return Recalled(camera, Knows.ALL if known else Knows.NOTHING, until if known else START)
        found = self._restore_from_disk(camera, name, until)
        if found is None:
            return Recalled(camera, Knows.NOTHING, START)
        return Recalled(camera, Knows.ALL if found == until or until.round == 0 else Knows.SOME, found)

    def doubt(self, name: str) -> None:
        """A camera failed in the middle of a round: where there is a disk, go by what is written there."""
        if self.folder is not None:
            self._here.pop(name, None)

    def remember(self, cameras: Mapping[str, Camera], moment: Moment) -> None:
        """Keep cameras as they stand at `moment`, for the next message."""
        if self._stays:
            self._here |= {name: (moment, camera) for name, camera in cameras.items()}
        if self.folder is not None:
            for name, camera in cameras.items():
                self._write(name, camera, moment)
        elif not self._stays:
            packed = self._context.state.get("cameras", ConfigRecord())
            assert isinstance(packed, ConfigRecord)
            states = {name: camera.packed() for name, camera in cameras.items()}
            self._context.state["cameras"] = ConfigRecord({**packed, **states})

    def _restore_from_context(self, camera: Camera, name: str) -> bool:
        packed = self._context.state.get("cameras")
        state = packed.get(name) if isinstance(packed, ConfigRecord) else None
        if isinstance(state, bytes):
            camera.unpack(state)
        return isinstance(state, bytes)

    def _restore_from_disk(self, camera: Camera, name: str, until: Moment) -> Moment | None:
        """By the last whole file up to `until`: a torn one is said and passed by."""
        for moment, path in sorted(self._moments(name).items(), reverse=True):
            if moment <= until:
                try:
                    camera.restore(unseal(path)[0])
                except UserError as error:
                    remark(f"{error} {name} goes back to what it remembers from before.")
                else:
                    return moment
        return None

    def _write(self, name: str, camera: Camera, moment: Moment) -> None:
        """One more moment on disk, and those that nobody will ask for gone; a disk that is full costs no round."""
        assert self.folder is not None
        try:
            seal(self.folder / f"{name}.{moment.stage}-{moment.round}.safetensors", camera.state())
        except UserError as error:
            remark(f"{name} cannot remember its round: {error}")
            return
        moments = self._moments(name)
        past = [other for other in sorted(moments) if other <= moment]
        for other in moments.keys() - set(past[-KEPT_MOMENTS:]):  # later ones are of a future that is made again
            moments[other].unlink(missing_ok=True)

    def _moments(self, name: str) -> dict[Moment, Path]:
        """The moments of a camera that are on disk."""
        assert self.folder is not None
        pattern = re.compile(re.escape(name) + r"\.([01])-(\d+)\.safetensors")
        there = self.folder.iterdir() if self.folder.is_dir() else ()
        found = {path: pattern.fullmatch(path.name) for path in there}
        return {Moment(int(said[1]), int(said[2])): path for path, said in found.items() if said}


def forget(run_id: int) -> None:
    """Let go of a finished run's cameras and recordings in this process."""
    for key in [key for key in _HERE if key[0] == run_id]:
        del _HERE[key]
    forget_recordings()


def forget_others(run_id: int) -> None:
    """Let go of what this process keeps of other runs than this."""
    for other in {run for run, _ in _HERE} - {run_id}:
        forget(other)


def students_folder(message: Message, context: Context, folder: str) -> Path:
    """Where the final students go: to the run's `folder`, unless that is on another machine than this host.

    Then its node config says where to: a place across machines by `students-dir`, an operator by `state-dir`. A place
    on one machine has its `state-dir` in the run config.
    """
    own, state_dir = (str(context.node_config.get(name, "")) for name in ("students-dir", "state-dir"))
    if not own and not state_dir:
        return Path(folder)
    return (Path(own) if own else Path(state_dir) / "students").expanduser() / _run_of(message)


def _folder(message: Message, context: Context) -> Path | None:
    """Where this host keeps its memory of the message's run, if it has a place for it."""
    state_dir = str(context.node_config.get("state-dir") or context.run_config.get("state-dir") or "")
    run = _run_of(message)
    return Path(state_dir).expanduser() / run if state_dir and run else None


def _run_of(message: Message) -> str:
    """The name of the message's run, or "": it names a folder, so nothing but its 16 digits is taken."""
    run = message.metadata.group_id.partition("/")[0]
    return run if re.fullmatch(r"[0-9a-f]{16}", run) else ""


def _drop_old_runs(folder: Path) -> None:
    """Remove what runs of long ago left beside this one's memory."""
    others = folder.parent.iterdir() if folder.parent.is_dir() else ()
    for other in others:
        with suppress(FileNotFoundError):  # another host on this machine does the same
            old = re.fullmatch(r"[0-9a-f]{16}", other.name) and _days_old(other) > KEPT_DAYS
            if old and other != folder:  # a run may go on after that time
                shutil.rmtree(other, ignore_errors=True)


def _days_old(folder: Path) -> float:
    return (time.time() - folder.stat().st_mtime) / 86400
