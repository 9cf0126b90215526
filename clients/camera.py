"""One view at work: its recordings, its student, its teacher, and what it has been told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from clients.mentor import Mentor
from fedkd.errors import UserError, remark
from fedkd.learn.course import Course
from fedkd.learn.hints.shown import Shown
from fedkd.learn.lesson import Lesson, spread
from fedkd.learn.predict import confident_guesses
from fedkd.learn.pupil import Pupil
from fedkd.seeding import SeedPath, generator
from fedkd.types import UNKNOWN, Clips, EventLabels, SoftLabels, Tally, View
from fedkd.weights import digest, under

TEACHER = "teacher"
"""The first mentor's role."""

WHISPER = 2.0**-10
"""Weight of an untaught student's exam answers: they count where no other view saw the event, and hardly elsewhere."""


@dataclass(frozen=True, slots=True)
class Habits:
    """What the cameras of a run have in common beside their courses.

    common_start   all students start from the same weights (weights are averaged) rather than each from its own.
    threshold      confidence from which a student's own guess is a pseudo-label.
    teacher_voice  share of the teacher's opinion in what a view tells others, 0..1.
    paired         whether teachers answer about the clip that the student sees; False shows what a loader that shuffles
                   both sides by themselves costs.
    deaf_below     a view that lacks a smaller share of labels than this does not listen.
    awaits_teacher the first teacher comes by letter: where it is not there yet, none is taught in its place.
    """

    seed: int
    common_start: bool = False
    threshold: float = 0.9
    teacher_voice: float = 0.0
    paired: bool = True
    deaf_below: float = 0.0
    awaits_teacher: bool = False


class Camera:
    """A view's student and teacher, and the acts a message can ask of them."""

    def __init__(self, view: View, student: Course, teachers: Mapping[str, Course], habits: Habits) -> None:
        self.view = view
        self.course, self.habits = student, habits
        self.told = EventLabels.none()
        self.consensus = SoftLabels.empty(view.num_classes)
        self.first_heard = 0  # the round whose letter brought the first consensus; 0: none yet
        # a teacher of what this host did not record is another host's; that some host has one is the server's to see
        seeing = {role: course for role, course in teachers.items() if self._recorded(course.seen)}
        self.mentors = {role: Mentor(course, self._new_teacher(course, role), view) for role, course in seeing.items()}
        if absent := [role for role in teachers if role not in seeing]:
            remark(f"{view.name} goes without {', '.join(absent)}: it recorded nothing that they see.")
        self.pupil = self._new_student()

    # What it knows

    @property
    def labels(self) -> Tensor:
        """True class of each training clip, from this view or told by another; UNKNOWN otherwise.  N"""
        own = self.view.train.labels
        return torch.where(own != UNKNOWN, own, self.told.classes_of(self.view.train.ids))

    @property
    def lack(self) -> float:
        """Share of the training clips whose class is unknown: how much this view needs the others, 0..1."""
        return float((self.labels == UNKNOWN).float().mean())

    @property
    def listens(self) -> bool:
        """Whether this view lacks enough to listen to a consensus."""
        return self.lack > 0 and self.lack >= self.habits.deaf_below

    @property
    def teacher(self) -> Mentor:
        """The first mentor, which may also come from elsewhere."""
        if TEACHER not in self.mentors:
            raise UserError(
                f"{self.view.name} recorded nothing that the teacher sees, so it cannot take part in teaching.origin="
                "federated, lab, file or online; use teaching.origin=local."
            )
        return self.mentors[TEACHER]

    def event_labels(self) -> EventLabels:
        """The true classes this view can tell others: of shared events it labelled itself."""
        train = self.view.train
        tell = self.view.shared & (train.labels != UNKNOWN)
        return EventLabels(train.ids[tell], train.labels[tell])

    # What it is told

    def hear_events(self, labels: EventLabels) -> None:
        """Remember true classes told by others."""
        self.told = labels

    def hear_consensus(self, consensus: SoftLabels, round: int) -> None:
        """Remember the latest consensus, told before `round`; one of nothing is none."""
        if not bool((consensus.weight > 0).any()):
            return
        if self.listens and not self.first_heard:
            self.first_heard = round
        self.consensus = consensus

    def adopt(self, weights: Mapping[str, Tensor]) -> None:
        """Take over a student that was taught elsewhere."""
        self.pupil.adopt(weights)

    def adopt_teacher(self, weights: Mapping[str, Tensor]) -> None:
        """Take over a teacher that was taught elsewhere."""
        self.teacher.adopt(weights)

    # What it does

    def net(self, view: str) -> nn.Module:
        """The student of a view, as it learns: the one there is."""
        return self.pupil.net

    def voice(self, view: str) -> nn.Module:
        """The student of a view, as it answers."""
        return self.pupil.voice

    def train_teacher(self, round: int) -> Tally:
        """One round of the teacher on this view's skeletons, with the labels known so far."""
        return self.teacher.learn(self.labels, round, self._chance(TEACHER))

    def train(self, round: int) -> Tally:
        """One round of the student on all that is known and believed of its clips."""
        self._teach_mentors()
        return self.course.teach(
            self.pupil,
            self._lesson(round),
            round,
            self._chance("student"),
            listening=self._listening(round),
        )

    def speak(self) -> SoftLabels:
        """This view's beliefs about shared events that nobody labelled; it abstains while it has learned nothing."""
        asked = self.view.shared & (self.labels == UNKNOWN)
        clips = self.view.train.rows(asked)
        if len(clips) == 0:
            return SoftLabels.empty(self.view.num_classes)
        spoken_for = TEACHER in self.mentors and self.teacher.taught
        teacher_share = self.habits.teacher_voice if spoken_for else 0.0
        if teacher_share == 1.0:
            return SoftLabels.of(clips.ids, self.teacher.answers()[asked])
        probs = self.course.ask(self.voice(self.view.name), clips.stream(self.course.modality))
        if teacher_share:
            probs = probs.lerp(self.teacher.answers()[asked], teacher_share)
        return SoftLabels.of(clips.ids, probs, torch.full((len(clips),), float(self.pupil.taught)))

    def sit(self, view: str, exam: Clips) -> SoftLabels:
        """The student's answers to a view's exam; an untaught one must guess, in a whisper.

        Of an exam in other modalities than the student's nothing is answered: there recordings are pooled, and that
        view's were the teachers'.
        """
        if len(exam) == 0 or not exam.has(self.course.modality):
            return SoftLabels.empty(self.view.num_classes)
        probs = self.course.ask(self.voice(view), exam.stream(self.course.modality))
        return SoftLabels.of(exam.ids, probs, torch.full((len(exam),), 1.0 if self.pupil.taught else WHISPER))

    def teacher_sits(self, exam: Clips) -> SoftLabels | None:
        """The first teacher's answers to an exam; None where there is none, it is untaught, or sees nothing of it."""
        mentor = self.mentors.get(TEACHER)
        if mentor is None or not mentor.taught or len(exam) == 0 or not exam.has(mentor.course.modality):
            return None
        return mentor.asked(exam)

    def digest(self, view: str = "") -> str:
        """sha256 of the weights that answer for the student."""
        return digest(self.voice(view).state_dict())

    # How it survives between messages

    def state(self) -> dict[str, Tensor]:
        """Everything this camera learned and was told, as flat tensors."""
        flat = {f"pupil.{name}": value for name, value in self.pupil.state().items()}
        for role, mentor in self.mentors.items():
            flat |= {f"mentor.{role}.{name}": value for name, value in mentor.pupil.state().items()}
        flat |= {"told.ids": self.told.ids, "told.classes": self.told.classes}
        flat |= {"consensus.ids": self.consensus.ids, "consensus.probs": self.consensus.probs}
        flat |= {"consensus.weight": self.consensus.weight, "first_heard": torch.tensor(self.first_heard)}
        return flat

    def restore(self, flat: Mapping[str, Tensor]) -> None:
        """Go on from a `state()`, with the same bits."""
        self.pupil.restore(under("pupil.", flat))
        for role, mentor in self.mentors.items():
            mentor.pupil.restore(under(f"mentor.{role}.", flat))
        self.told = EventLabels(flat["told.ids"], flat["told.classes"])
        self.consensus = SoftLabels(flat["consensus.ids"], flat["consensus.probs"], flat["consensus.weight"])
        self.first_heard = int(flat["first_heard"])

    def packed(self) -> bytes:
        """The `state()` in the safetensors format."""
        return save_tensors({name: value.contiguous() for name, value in self.state().items()})

    def unpack(self, state: bytes) -> None:
        """Go on from a `packed()` state."""
        self.restore(load_tensors(state))

    # Inside

    def _recorded(self, modalities: str) -> bool:
        """Whether its clips have all of these, "a+b"."""
        return self.view.train.has(modalities)

    def _new_teacher(self, course: Course, role: str) -> Pupil:
        shape = clip_shape(self.view, course, role)
        return course.new_pupil(shape, self.view.num_classes, (self.habits.seed, role))

    def _new_student(self) -> Pupil:
        shape = clip_shape(self.view, self.course, "student")
        teachers = [mentor.pupil.net for mentor in self.mentors.values()]
        return self.course.new_pupil(shape, self.view.num_classes, self._start(self.view.name), teachers)

    def _start(self, view: str) -> SeedPath:
        """The chance that a view's student starts from."""
        whose = () if self.habits.common_start else (view,)
        return self.habits.seed, "student", *whose

    def _listening(self, round: int) -> float:
        """How much the student listens to the consensus in this round, 0..1."""
        hears = self.listens and self.first_heard > 0
        return self.lack * self.course.objective.ramp(round - self.first_heard) if hears else 0.0

    def _chance(self, role: str) -> tuple[int, str, str]:
        return self.habits.seed, role, self.view.name

    def _teach_mentors(self) -> None:
        """Each mentor that nobody taught is taught here, by the labels and by the mentors before it."""
        first = self.mentors.get(TEACHER)
        if self.habits.awaits_teacher and first is not None and not first.taught:
            return  # those after it wait too
        before: list[Mentor] = []
        for role, mentor in self.mentors.items():
            if not mentor.taught and (self.labels != UNKNOWN).any():
                mentor.learn_here(self.labels, self._chance(role), before)
            if mentor.taught:
                before.append(mentor)

    def _teachers_say(self, about: Tensor) -> Tensor | None:
        """What each taught mentor answers about the training clips of rows `about`; None where nobody guides.  M N K"""
        taught = [mentor for mentor in self.mentors.values() if mentor.taught]
        if not taught or not self.course.objective.teacher:
            return None
        return torch.stack([mentor.answers() for mentor in taught])[:, about]

    def _teachers_show(self, about: Tensor) -> list[Shown]:
        """Each mentor's features of those clips, for a student that takes hints; none until all are taught."""
        if not self.pupil.hints or not all(mentor.taught for mentor in self.mentors.values()):
            return []
        return [mentor.features(self.labels).rows(about) for mentor in self.mentors.values()]

    def _clips_teachers_see(self, round: int) -> Tensor:
        """Rows of the training clips that teachers speak of: the student's own, or (not `paired`) others by chance."""
        if self.habits.paired:
            return torch.arange(len(self.view.train))
        chance = generator(*self._chance("student"), "mispaired", round)
        return torch.randperm(len(self.view.train), generator=chance)

    def _lesson(self, round: int) -> Lesson:
        train = self.view.train
        clips = train.stream(self.course.taught_on)
        consensus, trust = spread(self.consensus, train.ids)
        about = self._clips_teachers_see(round)
        said, shown = self._teachers_say(about), self._teachers_show(about)
        return Lesson(clips, train.events, self.labels, said, consensus, trust, self._guesses(), shown)

    def _guesses(self) -> Tensor:
        """The student's confident guesses about the training clips that nobody labelled; UNKNOWN otherwise.  N"""
        unknown = self.labels == UNKNOWN
        guesses = torch.full_like(self.labels, UNKNOWN)
        if self.course.objective.pseudo and unknown.any():
            guesses[unknown] = confident_guesses(self._own_answers()[unknown], self.habits.threshold)
        return guesses

    def _own_answers(self) -> Tensor:
        """What the student answers about its training clips.  N K"""
        return self.course.ask(self.voice(self.view.name), self.view.train.stream(self.course.modality))


def clip_shape(view: View, course: Course, role: str) -> tuple[int, ...]:
    """The shape of what the net of a course sees of a view's clips; a UserError where the view has no such stream."""
    if not view.train.has(course.seen):
        missing = ", ".join(sorted(set(course.seen.split("+")) - set(view.train.streams)))
        there = ", ".join(view.train.streams)
        raise UserError(f"the {role} sees {missing}, but {view.name} has {there}; choose another {role}=.")
    return tuple(view.train.stream(course.modality).shape[1:])
