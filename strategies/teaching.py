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

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from flwr.app import ArrayRecord
from flwr.serverapp import Grid
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from fedkd.average import Form, average, form, form_of_most, refuse_other
from fedkd.errors import UserError
from fedkd.learn.course import Course
from fedkd.learn.lesson import plain_lesson
from fedkd.types import Clips
from fedkd.wire import Kind, Letter, pack_weights, unpack_tally
from strategies.answers import part, understood, weights_in
from strategies.exchange import Exchange
from strategies.failures import Failures, reasons, too_few
from strategies.post import Post


def federate(
    post: Post,
    grid: Grid,
    first: Mapping[str, Letter],
    num_clips: Mapping[str, int],
    *,
    rounds: int,
    timeout: float,
    needed: int,
    hold: Callable[[], Exchange],
) -> tuple[ArrayRecord, Failures]:
    """The teacher's weights after `rounds` of federated averaging, and who missed one.

    first   what each view is told until it has answered, and again where it may have lost it.
    needed  the quorum: views whose hosts are there,
    hold    and how an exchange stands once it was waited for.

    Raises UserError where fewer are there, or none could teach it.
    """
    told, weights, heard = dict(first), ArrayRecord(), set[str]()
    missed: Failures = {}
    for round in range(1, rounds + 1):
        post.ask(grid, "train.teacher", told, {"round": round}, timeout=timeout)
        exchange = hold()
        learned, nonsense = understood(exchange.letters, _learned)
        states = {view: state for view, state in learned.items() if state}
        expected = form(weights) or form_of_most(states.values())  # type: ignore[arg-type]
        taught, others = understood(states, partial(_alike, expected))
        failures = {**exchange.failures, **nonsense, **others}
        missed |= {view: f"in round {round} of the teacher: {reason}" for view, reason in failures.items()}
        if (there := len(first) - len(exchange.lost)) < needed:
            raise UserError(too_few(there, len(first), needed, f"in round {round} of the teacher", failures))
        counts = [num_clips[view] for view in taught]
        if not any(counts):
            why = reasons(failures) or "no view has a label"
            raise UserError(f"no view could teach the teacher in round {round}: {why}.")
        weights = pack_weights(average(list(taught.values()), counts))
        heard = (heard | exchange.letters.keys()) - post.forgetful()
        told = {view: {**({} if view in heard else letter), Kind.WEIGHTS: weights} for view, letter in first.items()}
    return weights, missed


def _learned(view: str, letter: Letter) -> Mapping[str, Tensor]:
    """The weights of a view's teacher; none where it had nothing to learn by."""
    return weights_in(letter) if unpack_tally(part(letter, Kind.TALLY)).count > 0 else {}


def _alike(expected: Form, view: str, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The weights, if they are of the form that is averaged."""
    refuse_other(form(state), expected)
    return state


def in_the_lab(course: Course, clips: Clips | None, num_classes: int, seed: int) -> dict[str, Tensor]:
    """The teacher's weights after the whole course on the server's own labelled skeletons."""
    if clips is None:
        raise UserError(
            "teaching.origin=lab needs labelled skeletons at the server, and this data set has none; "
            "use teaching.origin=local, federated or file."
        )
    if not clips.has(course.seen):
        missing = ", ".join(sorted(set(course.seen.split("+")) - set(clips.streams)))
        raise UserError(
            f"expected recordings of {missing}, which the teacher sees, in the server's lab, got "
            f"{', '.join(clips.streams)}; choose another teacher=, or teaching.origin=local, federated or file."
        )
    shape = tuple(clips.stream(course.modality).shape[1:])
    pupil = course.new_pupil(shape, num_classes, (seed, "teacher"))
    lesson = plain_lesson(clips.stream(course.taught_on), clips.labels, num_classes)
    for round in range(1, course.rounds + 1):
        course.teach(pupil, lesson, round, (seed, "teacher", "lab"))
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
    return {Kind.TEACHER: pack_weights({name: value.detach() for name, value in state.items()}, half=True)}
