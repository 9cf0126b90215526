"""Laws of every rule in conf/consensus: a new YAML brings its own tests.

Rows sum to 1; the order of views does not matter, to the bit; unanimous views keep their class; weight 0 is as good as
absence; an event that nobody weighs is left out; trust is the sum over those who spoke.
"""

from __future__ import annotations

import itertools
from functools import partial
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from fedkd.consensus.enhanced_era import enhanced_era
from fedkd.consensus.viewpoint_attention import viewpoint_attention
from fedkd.types import Consensus, SoftLabels

CONF = Path(__file__).parents[1] / "fedkd" / "conf" / "consensus"
RULES: dict[str, Consensus] = {path.stem: instantiate(OmegaConf.load(path)) for path in sorted(CONF.glob("*.yaml"))}
every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
quickly = settings(deadline=None, max_examples=20)


@st.composite
def views(draw: st.DrawFn, *, min_views: int = 1, unanimous: bool = False) -> list[SoftLabels]:
    """Views of up to eight events, each seeing some of them and abstaining from some of those."""
    num_classes = draw(st.integers(2, 6))
    chance = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
    scale = draw(st.sampled_from([0.0, 1.0, 5.0, 200.0]))  # from shrugs to exact zeros and ones
    favourites = torch.randint(num_classes, (8,), generator=chance)
    tables = []
    for _ in range(draw(st.integers(min_views, 4))):
        ids = torch.randperm(8, generator=chance)[: draw(st.integers(0, 8))].sort().values
        logits = scale * torch.randn(len(ids), num_classes, generator=chance)
        if unanimous:
            logits[torch.arange(len(ids)), favourites[ids]] = logits.amax(1) + 0.5
        weight = torch.rand(len(ids), generator=chance) * (torch.rand(len(ids), generator=chance) > 0.3)
        tables.append(SoftLabels(ids, logits.softmax(1), weight))
    return tables


@every_rule
@quickly
@given(tables=views())
def test_rows_are_probabilities_of_the_events_somebody_weighed(rule: Consensus, tables: list[SoftLabels]) -> None:
    agreed = rule(tables)
    trust: dict[int, float] = {}
    for table in tables:
        for event, weight in zip(table.ids.tolist(), table.weight.tolist(), strict=True):
            trust[event] = trust.get(event, 0.0) + weight
    assert agreed.ids.tolist() == sorted(event for event, weight in trust.items() if weight > 0)
    torch.testing.assert_close(agreed.weight, torch.tensor([trust[e] for e in agreed.ids.tolist()]).reshape(-1))
    torch.testing.assert_close(agreed.probs.sum(1), torch.ones(len(agreed)))
    assert agreed.probs.dtype == agreed.weight.dtype == torch.float32


@every_rule
@quickly
@given(tables=views(min_views=2))
def test_order_of_views_does_not_matter_to_the_bit(rule: Consensus, tables: list[SoftLabels]) -> None:
    first = rule(tables)
    for order in itertools.islice(itertools.permutations(tables), 24):
        again = rule(order)
        assert torch.equal(again.ids, first.ids)
        assert torch.equal(again.probs, first.probs)
        assert torch.equal(again.weight, first.weight)


@every_rule
@quickly
@given(tables=views(unanimous=True))
def test_a_unanimous_class_is_kept(rule: Consensus, tables: list[SoftLabels]) -> None:
    agreed = rule(tables)
    said = {int(event): int(c) for t in tables for event, c in zip(t.ids, t.probs.argmax(1), strict=True)}
    assert agreed.probs.argmax(1).tolist() == [said[event] for event in agreed.ids.tolist()]


@every_rule
@quickly
@given(tables=views())
def test_weight_zero_is_as_good_as_absence(rule: Consensus, tables: list[SoftLabels]) -> None:
    silent = SoftLabels.of(torch.arange(9), torch.eye(tables[0].num_classes)[torch.zeros(9, dtype=torch.int64)])
    silent = SoftLabels(silent.ids, silent.probs, torch.zeros(9))
    spoken = [table.rows(table.weight > 0) for table in tables]
    with_silence, without = rule([*tables, silent]), rule(spoken)
    assert torch.equal(with_silence.ids, without.ids)
    torch.testing.assert_close(with_silence.probs, without.probs, rtol=1e-6, atol=1e-7)
    assert torch.equal(with_silence.weight, without.weight)


@every_rule
def test_a_lone_voice_weighs_less_than_three(rule: Consensus) -> None:
    probs = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]])
    both, one = SoftLabels.of(torch.tensor([4, 9]), probs), SoftLabels.of(torch.tensor([4]), probs[:1])
    assert rule([one, both, one]).weight.tolist() == [3.0, 1.0]


@every_rule
def test_a_heavier_view_wins(rule: Consensus) -> None:
    ids = torch.tensor([0])
    heavy = SoftLabels.of(ids, torch.tensor([[0.8, 0.2]]), torch.tensor([3.0]))
    light = SoftLabels.of(ids, torch.tensor([[0.2, 0.8]]), torch.tensor([1.0]))
    assert rule([heavy, light]).probs.argmax() == 0


@every_rule
def test_nobody_speaking_gives_an_empty_table(rule: Consensus) -> None:
    assert len(rule([SoftLabels.empty(4), SoftLabels.empty(4)])) == 0


@every_rule
def test_views_that_agree_on_nothing_but_a_shrug_stay_uniform(rule: Consensus) -> None:
    shrug = SoftLabels.of(torch.tensor([1]), torch.full((1, 4), 0.25))
    torch.testing.assert_close(rule([shrug, shrug]).probs, torch.full((1, 4), 0.25))


@pytest.mark.parametrize("rule", [partial(viewpoint_attention, temperature=1e-4), partial(enhanced_era, beta=2e4)])
def test_however_sharp_a_rule_is_its_rows_are_probabilities(rule: Consensus) -> None:
    """Powers that overflow, or underflow, are not powers of the odds."""
    ids, probs = torch.tensor([3, 4]), torch.tensor([[0.9, 0.1], [0.55, 0.45]])
    agreed = rule([SoftLabels.of(ids, probs), SoftLabels.of(ids, probs.flip(1)), SoftLabels.of(ids, probs)])
    assert agreed.probs.argmax(1).tolist() == [0, 0] and (agreed.probs[0, 0] > 0.89)


@every_rule
@pytest.mark.parametrize("tables", [[], [SoftLabels.empty(3), SoftLabels.empty(4)]], ids=["none", "classes differ"])
def test_errors_teach(rule: Consensus, tables: list[SoftLabels]) -> None:
    with pytest.raises(ValueError, match="over the same classes"):
        rule(tables)
