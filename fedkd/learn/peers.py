"""Students of several views in one place who teach one another, after a teacher who has seen all of them.

Liu, Liu, Tian. IJCCC 20(5), 2025. RECONSTRUCTED from its abstract: a skeleton teacher guides a student for each view,
pseudo-labels help, and the views' students learn consistency from one another. That they do so as in deep mutual
learning (Zhang et al., CVPR 2018, which it cites) is a guess. Of each clip that view v has of an event:
    L_v = w_s CE(y, z_v) + w_t D(p_T, z_v) + w_c 1/(|P|-1) sum_{u in P, u != v} KL(p_u || p_v) + w_p CE(y', z_v)
          + w_h H(e_v, h_T)
P are the views that filmed the event, p_T and h_T the teacher's answer and features over all of them (their mean), y' a
confident guess of students together, H the objective's hint. The teacher's course comes first, from the labels alone;
p_T, h_T and p_u are targets without slope.

A federation has, once in a while, the views' pooled soft labels in the place of p_u, those of v itself among them;
`objective.consensus` weighs both.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from fedkd.learn.online import Guide, OnlineCourse, Scene
from fedkd.losses.mutual import mutual_loss


@dataclass(frozen=True, slots=True)
class PeerCourse(OnlineCourse):
    """How a teacher, and then the students of several views together, are taught."""

    attention: bool = False
    teacher_first: bool = True

    def stages(
        self, scene: Scene, guide: Guide | None, hints: Iterable[nn.Module], listening: float
    ) -> list[dict[str, Tensor]]:
        """L_v's terms, on each of the P clips of a batch of events."""
        objective, (view, event) = self.students.objective, scene.seen.present.nonzero(as_tuple=True)
        part = scene.part.rows(event)
        if guide is not None:
            part = replace(part, teachers=guide.logits.detach().softmax(1)[event][None])
        terms = objective.terms(scene.seen.logits[view, event], part, listening)
        if objective.consensus and len(scene.seen.present) > 1:
            terms["consensus"] = objective.consensus * peers_say(scene.seen.logits, scene.seen.present)[view, event]
        for hint in hints:
            if guide is not None:
                shown, maps = guide.shown(scene.part).rows(event), scene.seen.maps[view, event]
                terms["hint"] = objective.hint * hint(maps, shown, part.labels, part.events)
        return [terms]


def peers_say(logits: Float[Tensor, "V B K"], present: Bool[Tensor, "V B"]) -> Float[Tensor, "V B"]:
    """Of each view's clip the mean of KL(p_u || p_v) over the other views that filmed the event; 0 where none did."""
    probs = logits.detach().softmax(2)
    losses = torch.zeros_like(logits[..., 0])
    for v in range(len(logits)):
        for u in range(len(logits)):
            both = (present[u] & present[v]).nonzero().squeeze(1)
            if u != v and len(both):
                losses[v, both] = losses[v, both] + mutual_loss(logits[v, both], probs[u, both][None])
    return losses / (present.sum(0) - 1).clamp(min=1)
