"""Online distillation: a teacher and its students learn in the same steps, from the labels and from one another.

Xu, Wu, Li, Jin, Wang, Liu. Cross-modality online distillation for multi-view action recognition. Neurocomputing 456,
2021, pages 384-393. RECONSTRUCTED from its abstract, which names two stages and viewpoint-aware attention; here both
stages are terms of one loss. Of an event that several views filmed, attention makes one embedding and one answer:
    h = sum_v w_v e_v,   z = sum_v w_v z_v      of the teacher T and of the students S, each side with its own attention
Cross-modality aggregated transfer (CAT):
    L_T = CE(y, z_T) + a D(p_S, z_T)            L_S = CE(y, z_S) + a D(p_T, z_S) + b H(h_S, h_T)
Multi-view features strengthening (MFS), on each clip of the event:
    L_v = CE(y, z_v) + c |e_v - h_S|^2 / C
D is the objective's loss, H its hint (`hint=feature`: mean squared difference after a projection), C the number of
channels; the other side's p, h_T in H, and h_S in MFS are targets without slope. One teacher sees the skeletons of all
views; each view has a student of its own, which alone answers for it afterwards.

A view by itself has w = 1, h = e and no MFS. What is left is a teacher and a student who learn from one another: so
does a host of a federation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from fedkd.learn.augment import Augment
from fedkd.learn.course import Course
from fedkd.learn.fit import batches_of
from fedkd.learn.hints.shown import Shown, reveal, showing
from fedkd.learn.lesson import Lesson
from fedkd.learn.objective import Objective, total
from fedkd.learn.pupil import Pupil
from fedkd.models.shows_maps import ShowsMaps
from fedkd.models.viewpoint_attention import MeanOfViews, ViewpointAttention
from fedkd.seeding import SeedPath, generator, global_chance
from fedkd.types import UNKNOWN, UNSEEN, Tally


@dataclass(frozen=True, slots=True)
class Footage:
    """Each view's clips [n ...], as the students and as the teacher are taught on them."""

    students: Sequence[Tensor]
    teacher: Sequence[Tensor]


@dataclass(frozen=True, slots=True)
class Sight:
    """What nets make of B events that V views filmed; zeros where a view did not."""

    maps: Float[Tensor, "V B C U"]
    logits: Float[Tensor, "V B K"]
    present: Bool[Tensor, "V B"]

    def together(self, attention: nn.Module) -> tuple[Float[Tensor, "B C U"], Float[Tensor, "B K"]]:
        """One map and one answer for each event."""
        weight = attention(self.maps.mean(3), self.present)  # V B
        return (weight[..., None, None] * self.maps).sum(0), (weight[..., None] * self.logits).sum(0)


@dataclass(frozen=True, slots=True)
class Scene:
    """A batch of events as the students see it.

    part          what is known of these events.
    maps, logits  what the students make of each event together.
    """

    part: Lesson
    seen: Sight
    maps: Float[Tensor, "B C U"]
    logits: Float[Tensor, "B K"]


@dataclass(frozen=True, slots=True)
class Guide:
    """What the teacher makes of the same events."""

    net: ShowsMaps
    maps: Float[Tensor, "B C U"]
    logits: Float[Tensor, "B K"]

    def shown(self, part: Lesson) -> Shown:
        """Its features, for hints."""
        return reveal(self.net, self.maps, part.labels)


@dataclass(frozen=True, slots=True)
class OnlineCourse:
    """How a teacher and its students are made and taught together.

    students, teacher  their courses; the students' says how many steps, over batches of how many events.
    attention          over the views of an event; False: their mean.
    strengthen         c, the weight of MFS' pull; its cross-entropy stays, or no student learned to answer alone.
    teacher_first      the teacher's course comes before the students', and then it stays as it is: the offline
                       distillation that online distillation is compared with.
    """

    students: Course
    teacher: Course
    attention: bool = True
    strengthen: float = 1.0
    teacher_first: bool = False

    def new_teacher(self, clip_shape: tuple[int, ...], num_classes: int, path: SeedPath) -> Pupil:
        """A teacher and its attention over views."""
        with global_chance(path, "start"):
            net = showing(self.teacher.make(clip_shape, num_classes))
            return Pupil(net, self.teacher.schooling, attention=self._new_attention(net))

    def new_students(
        self, clip_shape: tuple[int, ...], num_classes: int, paths: Mapping[str, SeedPath], teacher: Pupil
    ) -> Pupil:
        """A net by each view's name and seed path, their attention, and what takes the teacher's features, if any."""
        nets = nn.ModuleDict()
        for view, path in paths.items():
            with global_chance(path, "start"):
                net = nets[view] = showing(self.students.make(clip_shape, num_classes))
        with global_chance(path, "layers"):
            attention = self._new_attention(net)
            make = self.students.hint
            hints = [] if make is None else [make(net.num_maps, showing(teacher.net).num_maps)]
        return Pupil(nets, self.students.schooling, hints, attention)

    def teach_teacher_first(self, teacher: Pupil, lesson: Lesson, footage: Footage, path: SeedPath) -> None:
        """The whole course of the teacher, from the labels alone; nothing where there are none."""
        known = (lesson.labels != UNKNOWN).nonzero().squeeze(1)
        if not len(known):
            return
        course, steps = self.teacher, self.teacher.schooling.steps(len(lesson.labels))
        for round in range(1, course.rounds + 1):
            chance = generator(*path, "batches", round)
            batches = batches_of(known, course.schooling.batch, chance)
            with global_chance(path, "dropout", round):
                for _ in range(steps):
                    part = lesson.rows(next(batches))
                    shown = self._teachers_sight(teacher.net.train(), footage, part, course.augment, chance)
                    _, logits = shown.together(_attention_of(teacher))
                    teacher.descend(total(course.objective.terms(logits, part, 0.0)), course.rounds * steps)

    def teach(
        self,
        students: Pupil,
        teacher: Pupil,
        lesson: Lesson,
        footage: Footage,
        round: int,
        path: SeedPath,
        *,
        listening: float = 0.0,
    ) -> Tally:
        """Round `round` of the students, and in the same steps of their teacher.

        The tally holds the terms of L_S and L_v, those of one name added up. Without a label and without a consensus
        there is nothing to begin from, unless it is a teacher that guides: the tally's count is then 0.
        """
        course, tally = self.students, Tally()
        if not (course.objective.useful(lesson, listening).any() or self._guides(students, teacher, lesson)):
            return tally
        steps = course.schooling.steps(len(lesson.labels))
        students_steps = students.course_steps(steps, round, course.rounds)
        teachers_steps = teacher.course_steps(steps, round, course.rounds)
        chance = generator(*path, "batches", round)
        batches = batches_of(torch.arange(len(lesson.labels)), course.schooling.batch, chance)
        students.net.train()
        guide = showing(teacher.voice.eval() if self.teacher_first else teacher.net.train())
        guides = teacher.taught or not self.teacher_first  # a teacher without a label to learn from has nothing to say
        with global_chance(path, "dropout", round):
            for _ in range(steps):
                part = lesson.rows(next(batches))
                seen = watch(students.net.children(), _filmed(footage.students, part), part, course.augment, chance)
                shown = self._teachers_sight(guide, footage, part, self.teacher.augment, chance)
                scene = Scene(part, seen, *seen.together(_attention_of(students)))
                guidance = Guide(guide, *shown.together(_attention_of(teacher)))

                stages = self.stages(scene, guidance if guides else None, students.hints, listening)
                students.descend(torch.stack([total(terms) for terms in stages]).sum(), students_steps)
                if not self.teacher_first:
                    answer = transfer(guidance.logits, scene.logits, part, self.teacher.objective, 0.0)
                    teacher.descend(total(answer), teachers_steps)
                for terms in stages:
                    tally += Tally(0, {name: float(losses.detach().mean()) for name, losses in terms.items()})
                tally += Tally(1)
        return tally

    def stages(
        self, scene: Scene, guide: Guide | None, hints: Iterable[nn.Module], listening: float
    ) -> list[dict[str, Tensor]]:
        """The students' terms of a batch: L_S, and where several views are in one place L_v."""
        part, objective = scene.part, self.students.objective
        stages = [transfer(scene.logits, guide.logits if guide else None, part, objective, listening)]
        for hint in hints:
            if guide is not None:
                stages[0]["hint"] = objective.hint * hint(scene.maps, guide.shown(part), part.labels, part.events)
        if len(scene.seen.present) > 1:
            stages.append(strengthen(scene.seen, scene.maps, part, objective, listening, self.strengthen))
        return stages

    def _guides(self, students: Pupil, teacher: Pupil, lesson: Lesson) -> bool:
        """Whether the teacher has learned something, or is about to, that the students learn by."""
        objective = self.students.objective
        heard = bool(objective.teacher) or bool(objective.hint and students.hints)
        return heard and (teacher.taught or bool(self.teacher.objective.useful(lesson, 0.0).any()))

    def _new_attention(self, net: ShowsMaps) -> nn.Module:
        return ViewpointAttention(net.num_maps) if self.attention else MeanOfViews()

    def _teachers_sight(
        self, net: nn.Module, footage: Footage, part: Lesson, augment: Augment | None, chance: torch.Generator
    ) -> Sight:
        """What the teacher, which is one for all views, makes of a batch of events."""
        return watch([net], [torch.cat(_filmed(footage.teacher, part))], part, augment, chance)


def _attention_of(pupil: Pupil) -> nn.Module:
    assert pupil.attention is not None, "who is taught here was made here"
    return pupil.attention


def watch(
    nets: Iterable[nn.Module],
    clips: Sequence[Tensor],
    part: Lesson,
    augment: Augment | None,
    chance: torch.Generator,
) -> Sight:
    """What nets make of their clips of a batch of events; all clips together are in the order of views."""
    maps, logits = [], []
    for net, mine in zip(nets, clips, strict=True):
        if len(mine):
            maps.append(showing(net).maps(mine if augment is None else augment(mine, chance)))
            logits.append(showing(net).read(maps[-1]))
    present = part.clips.T != UNSEEN  # V B
    return Sight(_laid_out(torch.cat(maps), present), _laid_out(torch.cat(logits), present), present)


def transfer(
    logits: Float[Tensor, "B K"],
    others_logits: Float[Tensor, "B K"] | None,
    part: Lesson,
    objective: Objective,
    listening: float,
) -> dict[str, Float[Tensor, "B"]]:
    """CAT's terms on one side, but for H: what it learns by itself, and from the other side (None: it has no say)."""
    others = None if others_logits is None else others_logits.detach().softmax(1)[None]  # 1 B K
    return objective.terms(logits, replace(part, teachers=others), listening)


def strengthen(
    seen: Sight, maps: Float[Tensor, "B C U"], part: Lesson, objective: Objective, listening: float, pull: float
) -> dict[str, Float[Tensor, "P"]]:
    """MFS' terms, on each of the P clips of a batch of events; `maps` are those of all views together."""
    view, event = seen.present.nonzero(as_tuple=True)
    terms = objective.terms(seen.logits[view, event], part.rows(event), listening)
    gap = seen.maps[view, event].mean(2) - maps.detach().mean(2)[event]
    return terms | {"hint": pull * gap.square().mean(1)}


def _filmed(streams: Sequence[Tensor], part: Lesson) -> list[Tensor]:
    """Each view's clips of a batch of events."""
    return [stream[row[row != UNSEEN]] for stream, row in zip(streams, part.clips.T, strict=True)]


def _laid_out(made: Float[Tensor, "P ..."], present: Bool[Tensor, "V B"]) -> Float[Tensor, "V B ..."]:
    """What was made of P clips, view by view, along views and events."""
    table = made.new_zeros(*present.shape, *made.shape[1:])
    table[present] = made
    return table
