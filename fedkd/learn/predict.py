"""Asking a net: probabilities of clips, and which guesses are confident enough to learn from."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from fedkd.types import UNKNOWN


@torch.no_grad()
def predict(net: nn.Module, clips: Tensor, *, batch: int = 128) -> Float[Tensor, "N K"]:
    """The net's probabilities, clip by clip, at temperature 1."""
    net.eval()
    return torch.cat([net(part).softmax(1) for part in clips.split(batch)])


def confident_guesses(probs: Float[Tensor, "N K"], threshold: float) -> Int[Tensor, "N"]:
    """Of clips without a label the likeliest class where it is likely enough for its class, UNKNOWN elsewhere.

    The threshold falls for classes the net is not yet sure of: tau_c = threshold * n_c / max n, where n_c counts the
    clips without a label that it gives to c above `threshold` (FlexMatch: Zhang et al., NeurIPS 2021, https://arxiv.org/abs/2110.08263,
    eq. 5-6), but never below half of it.
    """
    confidence, guess = probs.max(1)
    sure = torch.bincount(guess[confidence >= threshold], minlength=probs.shape[1]).float()
    if sure.max() == 0:
        return torch.full_like(guess, UNKNOWN)
    bar = threshold * (sure / sure.max()).clamp(min=0.5)
    return torch.where(confidence >= bar[guess], guess, UNKNOWN)
