"""Adaptive-confidence semantic loss: for each clip the student mimics the teacher to trust most, or the true label.

Ni, Ngu, Yan. Progressive Cross-modal Knowledge Distillation for Human Action Recognition. ACM MM 2022.
https://arxiv.org/abs/2208.08090. RECONSTRUCTED: the abstract says that the student "adaptively selects either one of
the teacher models or the ground-truth label"; how it selects is this project's choice, every step of it a setting:
    k = argmax_k t_k(y),   c = t_k(y)                                            (the teacher surest of the truth)
    L = CE(y, z)                                    if k's first choice is not y, or c < threshold
        (1 - a c) CE(y, z) + a c D(t_k, z)          otherwise,                   a = `share`, D = KD at T

A clip without a true label follows the teacher with the surest first choice, at a = 1, if it reaches the threshold, and
costs nothing otherwise. Semantic is the name alone: the abstract does not say how a class's meaning enters.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from fedkd.losses.kd import kd_loss
from fedkd.types import UNKNOWN


def adaptive_confidence_loss(
    student_logits: Float[Tensor, "B K"],
    teacher_probs: Float[Tensor, "M B K"],
    labels: Int[Tensor, "B"],
    *,
    share: float = 0.9,
    threshold: float = 0.5,
    temperature: float = 4.0,
    label_smoothing: float = 0.0,
) -> Float[Tensor, "B"]:
    """Per-sample loss in nats, of one student under M teachers."""
    known = labels != UNKNOWN
    wanted = torch.where(known, labels, teacher_probs.amax(0).argmax(1))  # B
    confidence, chosen = teacher_probs[:, torch.arange(len(labels)), wanted].max(0)  # B, B
    mimicked = teacher_probs[chosen, torch.arange(len(labels))]  # B K
    trusted = (mimicked.argmax(1) == wanted) & (confidence >= threshold)
    weight = torch.where(trusted, torch.where(known, share * confidence, confidence), 0.0)
    hard = cross_entropy(
        student_logits, labels, reduction="none", ignore_index=UNKNOWN, label_smoothing=label_smoothing
    )
    return (1 - weight) * hard + weight * kd_loss(student_logits, mimicked, temperature=temperature)
