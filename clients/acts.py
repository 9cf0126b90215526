"""What a host does about each message (`clients.app` says which there are): its cameras act, each on its letter."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

import torch
from flwr.app import ConfigRecord, Context, Message, MetricRecord
from safetensors.torch import save

from clients.camera import Camera
from clients.memory import FIRST, START, Knows, Memory, Moment, students_folder
from clients.outfit import exam, owner
from fedkd.config import from_string
from fedkd.errors import UserError, reason_of
from fedkd.files import write_whole
from fedkd.types import EventLabels
from fedkd.wire import (
    Kind,
    Letter,
    about,
    address,
    letters,
    names,
    number,
    pack_events,
    pack_soft,
    pack_tally,
    pack_weights,
    unpack_events,
    unpack_soft,
    unpack_weights,
)


def hello(message: Message, context: Context) -> Message:
    """Which views this host serves, if its operator said so in the node config: ``views="v01,v02"``."""
    views = [name.strip() for name in str(context.node_config.get("views", "")).split(",") if name.strip()]
    return Message(address({}, ConfigRecord({"views": views})), reply_to=message)


def enrol(message: Message, context: Context) -> Message:
    """Set up the cameras; say how many clips and teachers each has and, if asked, which event labels it can tell."""
    wish = about(message.content)

    def act(name: str, camera: Camera, letter: Letter) -> Letter:
        counts = MetricRecord({"train": len(camera.view.train), "teachers": len(camera.mentors)})
        told: Letter = {Kind.EVENTS: pack_events(camera.event_labels())} if wish["tell"] else {}
        return {Kind.CLIPS: counts, **told}

    return _each_view(message, context, act, since=None, now=START)


def train_teacher(message: Message, context: Context) -> Message:
    """One round of the federated teacher: from the weights sent to the weights after this view's skeletons."""
    round = int(number(about(message.content), "round"))

    def act(name: str, camera: Camera, letter: Letter) -> Letter:
        if Kind.EVENTS in letter:
            camera.hear_events(unpack_events(letter[Kind.EVENTS]))
        if Kind.WEIGHTS in letter:
            camera.adopt_teacher(unpack_weights(letter[Kind.WEIGHTS]))
        tally = camera.train_teacher(round)
        return {Kind.TALLY: pack_tally(tally), Kind.WEIGHTS: pack_weights(camera.teacher.pupil.net.state_dict())}

    return _each_view(message, context, act, since=Moment(0, round - 1), now=Moment(0, round))


def train(message: Message, context: Context) -> Message:
    """One round of every student on this host."""
    wish = about(message.content)
    round = int(number(wish, "round"))

    def act(name: str, camera: Camera, letter: Letter) -> Letter:
        _listen(camera, letter, round)
        began = time.perf_counter()
        tally = camera.train(round)
        seconds = time.perf_counter() - began
        reply: Letter = {
            Kind.TALLY: pack_tally(tally),
            Kind.CLOCK: MetricRecord({"seconds": seconds, "lack": camera.lack}),
        }
        if wish.get("wants_soft"):
            reply[Kind.SOFT] = pack_soft(camera.speak())
        if wish.get("wants_weights"):
            reply[Kind.WEIGHTS] = pack_weights(camera.net(name).state_dict())
        return reply

    return _each_view(message, context, act, since=Moment(1, round - 1), now=Moment(1, round))


def evaluate(message: Message, context: Context) -> Message:
    """Every student's answers to its exam; at the end of a run the students are also written to this host's disk."""
    overrides = _overrides(context)
    wish = about(message.content)

    def act(name: str, camera: Camera, letter: Letter) -> Letter:
        if Kind.WEIGHTS in letter:
            camera.adopt(unpack_weights(letter[Kind.WEIGHTS]))
        asked = exam(overrides, name)
        reply: Letter = {
            Kind.ANSWERS: pack_soft(camera.sit(name, asked)),
            Kind.TRUTH: pack_events(EventLabels(asked.ids, asked.labels)),
            Kind.STUDENT: ConfigRecord({"digest": camera.digest(name)}),
        }
        if (teachers := camera.teacher_sits(asked)) is not None:
            reply[Kind.TEACHER_ANSWERS] = pack_soft(teachers)
        if wish.get("save_to"):
            reply |= _kept(camera, name, students_folder(message, context, str(wish["save_to"])))
        return reply

    now = Moment(1, int(number(wish, "round")))
    told = any(Kind.WEIGHTS in letter for letter in letters(message.content).values())
    return _each_view(message, context, act, since=now, now=now if told else None)


def _kept(camera: Camera, view: str, folder: Path) -> Letter:
    """Write a view's student to this host's disk; a disk that is full costs the file, and is told, but not the exam."""
    try:
        write_whole(folder / f"{view}.safetensors", save(dict(camera.voice(view).state_dict())), durable=True)
    except UserError as error:
        return {Kind.UNSAVED: ConfigRecord({"reason": reason_of(error)})}
    return {}


def _listen(camera: Camera, letter: Letter, round: int) -> None:
    """Take in what the server tells before the student's round."""
    if Kind.EVENTS in letter:
        camera.hear_events(unpack_events(letter[Kind.EVENTS]))
    if Kind.SOFT in letter:
        camera.hear_consensus(unpack_soft(letter[Kind.SOFT]), round)
    if Kind.TEACHER in letter:
        camera.adopt_teacher(unpack_weights(letter[Kind.TEACHER]))
    if Kind.WEIGHTS in letter:
        camera.adopt(unpack_weights(letter[Kind.WEIGHTS]))


def _each_view(
    message: Message,
    context: Context,
    act: Callable[[str, Camera, Letter], Letter],
    *,
    since: Moment | None,
    now: Moment | None,
) -> Message:
    """Let the camera of every view the message is for act on its letter.

    since  the moment that a camera must not have passed yet; None: it begins.
    now    the moment at which it then stands, and is remembered; None: nothing of it has changed.

    A view that fails says so; the others on its host go on. A camera that may have forgotten what it was told says that
    too, and is told again; one that had to begin anew in the middle of a run, or to go back, is named.
    """
    torch.set_num_threads(1)  # one thread, so that the bits do not depend on the host's number of cores
    overrides, received = _overrides(context), letters(message.content)
    memory = Memory(message, context, overrides)
    cameras: dict[str, Camera] = {}
    replies: dict[str, Letter] = {}
    for view in names(about(message.content), "views"):
        name, fresh = owner(overrides, view), Letter()
        try:
            if name not in cameras:
                cameras[name], fresh = _recalled(memory, name, since)
            replies[view] = {**act(view, cameras[name], received.get(view, {})), **fresh}
        except Exception as error:
            replies[view] = {Kind.FAILED: ConfigRecord({"reason": reason_of(error)})}
            if cameras.pop(name, None) is not None:
                memory.doubt(name)
    if now is not None:
        memory.remember(cameras, now)
    return Message(address(replies), reply_to=message)


def _recalled(memory: Memory, name: str, since: Moment | None) -> tuple[Camera, Letter]:
    """(a camera, which begins where `since` is None; what it says of what it may have forgotten)."""
    if since is None:
        return memory.anew(name), {}
    camera, knows, stands = memory.recall(name, since)
    match knows:
        case Knows.ALL:
            return camera, {}
        case Knows.SOME:
            return camera, {Kind.FRESH: ConfigRecord({"stands": max(stands, FIRST).round})}
        case Knows.NOTHING:
            return camera, {Kind.FRESH: ConfigRecord({"anew": True} if since > FIRST else {})}


def _overrides(context: Context) -> tuple[str, ...]:
    return _parsed(str(context.run_config.get("overrides", "")))


@lru_cache(maxsize=8)
def _parsed(overrides: str) -> tuple[str, ...]:
    return tuple(from_string(overrides))


ACTS: Mapping[str, Callable[[Message, Context], Message]] = {
    "query.hello": hello,
    "query.wait": hello,
    "query.join": hello,
    "query.enrol": enrol,
    "train.teacher": train_teacher,
    "train": train,
    "evaluate": evaluate,
}
"""By the kind of message."""
