"""Views at work whose teacher and students learn together: one view by itself, or all of them in one place.

A federated host has a studio for each of its views. In the papers' settings one studio has all views' recordings, and
the clips of one event are looked at side by side (`fedkd.learn.online`, `fedkd.learn.peers`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from clients.camera import TEACHER, Camera, Habits, clip_shape
from fedkd.data.meet import meet
from fedkd.data.pool import POOLED
from fedkd.learn.course import Course
from fedkd.learn.lesson import Lesson, spread
from fedkd.learn.online import Footage, OnlineCourse
from fedkd.learn.pupil import Pupil
from fedkd.types import UNSEEN, Tally, View


class Studio(Camera):
    """A camera with a student for each of its views, and one teacher."""

    def __init__(self, views: Sequence[View], together: OnlineCourse, habits: Habits) -> None:
        self.views, self.together = views, together
        events, self.rows = meet([view.train for view in views])
        nobody, nothing = torch.zeros(len(events), dtype=torch.bool), events.rows(torch.arange(0))
        everything = View(POOLED, views[0].classes, events, nobody, nothing, nothing)
        view = everything if len(views) > 1 else views[0]
        super().__init__(view, together.students, {TEACHER: together.teacher}, habits)

    def net(self, view: str) -> nn.Module:
        """The student of a view, as it learns."""
        return self.pupil.net.get_submodule(view)

    def voice(self, view: str) -> nn.Module:
        """The student of a view, as it answers."""
        return self.pupil.voice.get_submodule(view)

    def adopt(self, weights: Mapping[str, Tensor]) -> None:
        """Take over a student of the one view that was taught elsewhere."""
        self.pupil.adopt({f"{self.view.name}.{name}": value for name, value in weights.items()})

    def train(self, round: int) -> Tally:
        """One round of the students and their teacher on all that is known and believed of the events."""
        teacher, lesson, footage = self.teacher.pupil, self._lesson(round), self._footage()
        if self.together.teacher_first and not teacher.taught:
            self.together.teach_teacher_first(teacher, lesson, footage, self._chance(TEACHER))
        return self.together.teach(
            self.pupil,
            teacher,
            lesson,
            footage,
            round,
            self._chance("student"),
            listening=self._listening(round),
        )

    def _recorded(self, modalities: str) -> bool:
        return all(view.train.has(modalities) for view in self.views)

    def _new_teacher(self, course: Course, role: str) -> Pupil:
        shape, *_ = [clip_shape(view, course, role) for view in self.views]
        return self.together.new_teacher(shape, self.view.num_classes, (self.habits.seed, role))

    def _new_student(self) -> Pupil:
        shape, *_ = [clip_shape(view, self.course, "student") for view in self.views]
        starts = {view.name: self._start(view.name) for view in self.views}
        return self.together.new_students(shape, self.view.num_classes, starts, self.teacher.pupil)

    def _lesson(self, round: int) -> Lesson:
        consensus, trust = spread(self.consensus, self.view.train.ids)
        return Lesson(self.rows, self.view.train.events, self.labels, None, consensus, trust, self._guesses())

    def _own_answers(self) -> Float[Tensor, "N K"]:
        """Of every training event the mean of what its views' students answer."""
        summed = torch.zeros(len(self.rows), self.view.num_classes)
        for view, rows in zip(self.views, self.rows.T, strict=True):
            probs = self.course.ask(self.voice(view.name), view.train.stream(self.course.modality))
            summed[rows != UNSEEN] += probs[rows[rows != UNSEEN]]
        return summed / (self.rows != UNSEEN).sum(1, keepdim=True)

    def _footage(self) -> Footage:
        students, teacher = self.course.taught_on, self.teacher.course.taught_on
        return Footage(*([view.train.stream(name) for view in self.views] for name in (students, teacher)))
