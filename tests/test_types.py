"""The nouns keep their promises."""

import pytest
import torch

from fedkd.seeding import generator, opaque_id, seed_of
from fedkd.types import UNKNOWN, Clips, EventLabels, SoftLabels, Tally, View, located


def test_soft_labels_of_any_order_are_sorted_with_their_rows() -> None:
    labels = SoftLabels.of(torch.tensor([7, 3]), torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    assert labels.ids.tolist() == [3, 7]
    assert labels.probs.tolist() == [[0, 1], [1, 0]]
    assert len(labels.rows(torch.tensor([True, False]))) == 1


@pytest.mark.parametrize(
    ("ids", "probs", "weight", "rule"),
    [
        ([1, 1], [[1.0, 0.0]] * 2, [1.0, 1.0], "strictly increasing"),
        ([1, 2], [[0.9, 0.0]] * 2, [1.0, 1.0], "sum to 1"),
        ([1, 2], [[1.5, -0.5]] * 2, [1.0, 1.0], "sum to 1"),
        ([1, 2], [[1.0, 0.0]] * 2, [1.0, -1.0], ">= 0"),
        ([1, 2], [[1.0, 0.0]] * 2, [1.0, float("nan")], ">= 0"),
    ],
)
def test_what_is_no_soft_label_is_refused(ids: list, probs: list, weight: list, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        SoftLabels(torch.tensor(ids), torch.tensor(probs), torch.tensor(weight))


def test_an_event_told_twice_is_kept_once() -> None:
    labels = EventLabels.of(torch.tensor([5, 2, 5]), torch.tensor([1, 0, 2]))
    assert labels.ids.tolist() == [2, 5] and labels.classes.tolist() == [0, 1]
    assert labels.classes_of(torch.tensor([1, 2, 5, 9])).tolist() == [UNKNOWN, 0, 1, UNKNOWN]
    assert EventLabels.none().classes_of(torch.tensor([1])).tolist() == [UNKNOWN]


def test_what_is_asked_of_is_located_or_not_there() -> None:
    there, at = located(torch.tensor([2, 5, 9]), torch.tensor([9, 1, 5, 6, 10]))
    assert there.tolist() == [True, False, True, False, False] and at.tolist() == [2, 1]
    there, at = located(torch.empty(0, dtype=torch.int64), torch.tensor([1]))
    assert there.tolist() == [False] and not len(at)


def test_clips_need_one_row_of_every_modality_for_each_event() -> None:
    with pytest.raises(ValueError, match="one rgb row"):
        Clips(torch.tensor([1, 2]), torch.tensor([0, 0]), {"rgb": torch.zeros(3, 1)})


@pytest.mark.parametrize("part", ["train", "valid", "test"])
@pytest.mark.parametrize("label", [-2, 3, 99])
def test_a_view_needs_labels_of_its_classes(part: str, label: int) -> None:
    def clips(labels: list[int]) -> Clips:
        return Clips(torch.arange(3), torch.tensor(labels), {})

    parts = {name: clips([0, UNKNOWN, 2]) for name in ("train", "valid", "test")}
    shared = torch.ones(3, dtype=torch.bool)
    assert View("v01", ("a", "b", "c"), shared=shared, **parts).num_classes == 3
    with pytest.raises(ValueError, match=rf"View v01 needs labels of its 3 classes, 0..2, or UNKNOWN, got {label}"):
        View("v01", ("a", "b", "c"), shared=shared, **parts | {part: clips([0, 1, label])})


def test_tallies_add_up_in_any_order() -> None:
    a, b = Tally(2, {"x": 3.0}), Tally(1, {"y": 1.0})
    assert a + b == b + a == Tally(3, {"x": 3.0, "y": 1.0})
    assert dict((a + b).means())["x"] == 1.0 and dict(Tally().means()) == {}


def test_chance_depends_on_its_name_alone() -> None:
    assert seed_of(0, "a", 1) == seed_of(0, "a", 1) != seed_of(0, "a", "1")
    assert torch.rand(3, generator=generator(0, "b")).equal(torch.rand(3, generator=generator(0, "b")))
    assert 0 <= opaque_id("s01/a01") < 2**32
