"""How the skeleton teacher comes to be, before the first round (or, online, in the rounds themselves).

| origin    | who teaches it                                             | what travels                          |
|-----------|------------------------------------------------------------|---------------------------------------|
| local     | every view its own, on its own skeletons                   | nothing                               |
| online    | every view its own, in the same steps as its student       | nothing                               |
| federated | the views together, by federated averaging                 | its weights, both ways, every round   |
| lab       | the server, on its own labelled skeletons (other subjects) | its weights once, float16, to a view  |
| file      | somebody before; a safetensors file                        | its weights once, float16, to a view  |
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from flwr.app import ArrayRecord
from flwr.serverapp import Grid
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from fedkd.errors import UserError
from fedkd.learn.course import Course
from fedkd.learn.lesson import plain_lesson
from fedkd.types import Clips
from fedkd.wire import Letter, number, pack_weights, unpack_weights
from strategies.fedavg import average
from strategies.post import Post, reasons


def federate(
    post: Post, grid: Grid, first: Mapping[str, Letter], num_clips: Mapping[str, int], *, rounds: int, timeout: float
) -> ArrayRecord:
    """The teacher's weights after `rounds` of federated averaging; `first` tells the views event labels beforehand."""
    told = dict(first)
    weights = ArrayRecord()
    for round in range(1, rounds + 1):
        answers, failures = post.ask(grid, "train.teacher", told, {"round": round}, timeout=timeout)
        taught = {view: letter for view, letter in answers.items() if _taught(letter)}
        if not taught:
            why = reasons(failures) or "no view has a label"
            raise UserError(f"no view could teach the teacher in round {round}: {why}.")
        states = [unpack_weights(letter["weights"]) for letter in taught.values()]
        weights = pack_weights(average(states, [num_clips[view] for view in taught]))
        told = {view: {"weights": weights} for view in first}
    return weights


def _taught(letter: Letter) -> bool:
    """Whether a view's teacher learned something, and nothing else than numbers."""
    learned = number(letter["tally"], "count") > 0
    return learned and all(bool(w.isfinite().all()) for w in unpack_weights(letter["weights"]).values())


def in_the_lab(course: Course, clips: Clips | None, num_classes: int, seed: int) -> dict[str, Tensor]:
    """The teacher's weights after the whole course on the server's own labelled skeletons."""
    if clips is None:
        raise UserError(
            "teaching.origin=lab needs labelled skeletons at the server, and this data set has none; "
            "use teaching.origin=local, federated or file."
        )
    stream = clips.streams[course.modality]
    pupil = course.new_pupil(tuple(stream.shape[1:]), num_classes, (seed, "teacher"))
    for round in range(1, course.rounds + 1):
        course.teach(pupil, plain_lesson(stream, clips.labels, num_classes), round, (seed, "teacher", "lab"))
    return pupil.voice.state_dict()


def from_file(path: str) -> dict[str, Tensor]:
    """A teacher's weights from a safetensors file."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"expected the teacher's weights in the safetensors file {Path(path)}, got: {error}."
        ) from error


def push(state: Mapping[str, Tensor]) -> Letter:
    """A letter that brings a teacher to a view, rounded to float16."""
    return {"teacher": pack_weights({name: value.detach() for name, value in state.items()}, half=True)}
