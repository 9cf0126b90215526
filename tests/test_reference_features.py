"""Losses on features, attention and hints against their formulas, worked out by hand; float64 throughout."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from fedkd.learn.hints.feature import FeatureHint
from fedkd.learn.hints.shown import Shown
from fedkd.losses.channel_correlation import channel_correlation_loss
from fedkd.losses.channel_distribution import channel_distribution_loss
from fedkd.losses.contrastive import info_nce
from fedkd.losses.focal_channels import focal_channels
from fedkd.losses.relational import angle_loss, distance_loss
from fedkd.models.viewpoint_attention import MeanOfViews, ViewpointAttention
from fedkd.types import UNKNOWN


def exact(numbers: Any) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def same(got: Tensor, expected: Any) -> None:
    assert got.dtype == torch.float64
    np.testing.assert_allclose(got.detach().numpy(), expected, rtol=1e-12, atol=1e-15)


def test_channel_distribution() -> None:
    """Shu et al., equation 5: T^2 / |K| sum_K KL(teacher || student), here at T = 3 (where T^2 is not 2T).

    Channel 0: the teacher's 3 (ln 3, 0) at T = 3 is (3/4, 1/4), the student is even:
               KL = 3/4 ln(3/2) + 1/4 ln(1/2) = 3/4 ln 3 - ln 2; the other way it would be ln 2 - 1/2 ln 3.
    Channel 1: nothing between them. Channel 2: much, but it is focal nowhere.
    The first clip's focal channels are 0 and 1, the second's 0 alone: half as much, and as much.
    """
    teacher, student = exact([[3 * np.log(3), 0], [3, 3], [9, 0]]), exact([[5, 5], [7, 7], [0, 9]])
    focal = torch.tensor([[True, True, False], [True, False, False]])
    cost = channel_distribution_loss(student.expand(2, 3, 2), teacher.expand(2, 3, 2), focal, temperature=3.0)
    divergence = 0.75 * np.log(3) - np.log(2)
    same(cost, [9 * divergence / 2, 9 * divergence])


def test_channel_correlation() -> None:
    """Liu et al., equation 4, over focal channels: || R(F) - R(G) ||_F^2 / |K|^2.

    Teacher's cosines between channels 01, 02, 12: 3/5, 0, 4/5. Student's: 4/5, 0, 3/5. Each stands twice in R.
    All three focal: 2 (1/25 + 0 + 1/25) / 9. Channels 0 and 1 alone: 2 (1/25) / 4.
    """
    teacher, student = exact([[1, 0], [3, 4], [0, 2]]), exact([[2, 0], [4, 3], [0, 5]])
    focal = torch.tensor([[True, True, True], [True, True, False]])
    cost = channel_correlation_loss(student.expand(2, 3, 2), teacher.expand(2, 3, 2), focal)
    same(cost, [4 / 25 / 9, 2 / 25 / 4])


def test_focal_channels() -> None:
    """a_c = mean_s |F_cs| * |mean_s dz_y / dF_cs|: 1 x 0, 4 x 1, 1 x 2, 5 x 1/5.

    Slopes that cancel out speak for nothing, however steep (channel 0; Selvaraju et al., equation 1, average the slopes
    themselves); activity counts by its size (1), slopes too, once they are averaged (2); neither does alone (3).
    """
    features = exact([[[1, 1], [4, -4], [1, 1], [5, 5]]])
    slopes = exact([[[9, -9], [1, 1], [-3, -1], [0.2, 0.2]]])
    assert focal_channels(features, slopes, share=0.25).tolist() == [[False, True, False, False]]
    assert focal_channels(features, slopes, share=0.5).tolist() == [[False, True, True, False]]
    assert focal_channels(features, slopes, share=0.75).tolist() == [[False, True, True, True]]


def test_contrastive() -> None:
    """- 1/|P_i| sum_{j in P_i} ln(exp(cos_ij / k) / sum_n exp(cos_in / k)): van den Oord et al., equation 4; with more
    than one partner Khosla et al., equation 2, the logarithm inside the sum.

    Rows 0 and 1 are one event, rows 1 and 3 one class, and nobody labelled rows 0 and 2.
    """
    anchors, partners = [[1, 0], [0, 2], [3, 4], [4, 3]], [[5, 0], [8, 6], [0, 1], [-1, 0]]
    cosines = np.array(
        [[1, 4 / 5, 0, -1], [0, 3 / 5, 1, 0], [3 / 5, 24 / 25, 4 / 5, -3 / 5], [4 / 5, 1, 3 / 5, -4 / 5]]
    )
    like = ([0, 1], [0, 1, 3], [2], [1, 3])
    exps = np.exp(cosines / 0.5)
    expected = [-np.mean([np.log(exps[i, j] / exps[i].sum()) for j in mates]) for i, mates in enumerate(like)]
    events, labels = torch.tensor([7, 7, 8, 9]), torch.tensor([UNKNOWN, 4, UNKNOWN, 4])
    same(info_nce(exact(anchors), exact(partners), events, labels, temperature=0.5), expected)


def test_relational_distance_beyond_hubers_bend() -> None:
    """Park et al.: huber of lengths in units of a batch's mean length: x^2 / 2 up to 1, |x| - 1/2 beyond.

    Points 0, 1, 5 of a line are 1, 5, 4 apart (01, 02, 12), mean 10/3: 0.3, 1.5, 1.2.
    Points 0, 5, 4 are 5, 4, 1 apart: 1.5, 1.2, 0.3. Differences 1.2, 0.3, 0.9 cost 0.7, 0.045, 0.405.
    A sample's cost is the mean of its two.
    """
    cost = distance_loss(exact([[0], [1], [5]]), exact([[0, 0], [0, 5], [0, 4]]))
    same(cost, [(0.7 + 0.045) / 2, (0.7 + 0.405) / 2, (0.045 + 0.405) / 2])


def test_relational_angle_of_triangles() -> None:
    """Park et al.: huber of the cosines at each corner; a corner's mean is over B x B = 9 pairs (i, k) of others.

    A triangle of sides 3 4 5 has the cosines 0, 3/5, 4/5, an equilateral one 1/2, 1/2, 1/2. They differ by 1/2, 1/10,
    3/10, which costs 1/8, 1/200, 9/200, of (i, k) and again of (k, i).
    """
    student = exact([[0, 0], [3, 0], [0, 4]])
    cost = angle_loss(student, exact([[0, 0, 7], [1, 0, 7], [1 / 2, np.sqrt(3 / 4), 7]]))
    same(cost, [2 / 8 / 9, 2 / 200 / 9, 18 / 200 / 9])


def test_relational_angle_beyond_hubers_bend() -> None:
    """Points of a line, cosines 1 or -1: who lies between the others is 1 for the student, 0 for the teacher.
    At 0 and 1 they differ by 2, which costs 2 - 1/2, twice, over 9.
    """
    same(angle_loss(exact([[0], [1], [2]]), exact([[0], [1], [-1]])), [1 / 3, 1 / 3, 0])


def test_viewpoint_attention() -> None:
    """Ilse et al., equation 8: softmax_v(u . tanh(W e_v + b)).

    tanh(1/2 ln 3) = (3 - 1) / (3 + 1) = 1/2. With W = 1, b = (1, 0) and u = (2 ln 3, 2 ln 2), embeddings (1/2 ln 3, 0),
    (0, 1/2 ln 3), (0, 0) less b score ln 3, ln 2, 0: of three views 3, 2, 1 parts of 6, of the first two 3, 2 of 5.
    """
    attention = ViewpointAttention(2, hidden=2).double()
    with torch.no_grad():
        attention.project.weight.copy_(torch.eye(2))
        attention.project.bias.copy_(exact([1, 0]))
        attention.score.weight.copy_(exact([[2 * np.log(3), 2 * np.log(2)]]))
    half = np.log(3) / 2
    embeddings = exact([[half - 1, 0], [-1, half], [-1, 0]])[:, None].expand(3, 2, 2)  # V B E
    present = torch.tensor([[True, True], [True, True], [True, False]])
    same(attention(embeddings, present), [[3 / 6, 3 / 5], [2 / 6, 2 / 5], [1 / 6, 0]])
    same(MeanOfViews()(embeddings, present), [[1 / 3, 1 / 2], [1 / 3, 1 / 2], [1 / 3, 0]])


def test_feature_hint() -> None:
    """Romero et al., equation 3, of embeddings: the mean over channels of (W h_S + b - h_T)^2, h the means over time.

    h_S = (1 + 3) / 2 = 2; W = (1, 2), b = (0, 1) make it (2, 5); h_T = (1, 2): (1^2 + 3^2) / 2 = 5.
    """
    hint = FeatureHint(1, 2).double()
    with torch.no_grad():
        hint.project.weight.copy_(exact([[1], [2]]))
        hint.project.bias.copy_(exact([0, 1]))
    maps = exact([[[0, 1, 2], [4, 2, 0]]])  # B C T; the teacher's T need not be the student's
    cost = hint(exact([[[1, 3]]]), Shown(maps, torch.zeros_like(maps)), torch.tensor([0]), torch.tensor([0]))
    same(cost, [5])
