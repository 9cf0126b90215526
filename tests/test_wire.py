"""What is packed is what is unpacked, and the ledger counts its bytes."""

import pickle

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from fedkd import wire
from fedkd.types import EventLabels, SoftLabels, Tally
from fedkd.wire import (
    Kind,
    Record,
    WireError,
    about,
    address,
    letters,
    pack_events,
    pack_soft,
    pack_tally,
    pack_weights,
    unpack_events,
    unpack_soft,
    unpack_tally,
    unpack_weights,
)


@given(st.integers(0, 40), st.integers(2, 30), st.integers(0, 2**31))
def test_soft_labels_round_trip_within_half_precision(num_events: int, num_classes: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    ids = np.sort(random.choice(2**32 - 1, num_events, replace=False)).astype(np.int64)
    probs = random.dirichlet(np.full(num_classes, 0.1), num_events).astype(np.float32).reshape(num_events, num_classes)
    sent = SoftLabels(
        torch.from_numpy(ids), torch.from_numpy(probs), torch.from_numpy(random.random(num_events)).float()
    )
    record = pack_soft(sent)
    came = unpack_soft(record)
    assert came.ids.equal(sent.ids)
    assert torch.allclose(came.probs, sent.probs, atol=2**-10)
    assert record.count_bytes() == num_events * (2 * num_classes + 6) + len("idsprobsweight")


def test_event_labels_cost_five_bytes_each() -> None:
    labels = EventLabels(torch.tensor([3, 2**32 - 1]), torch.tensor([0, 255]))
    record = pack_events(labels)
    came = unpack_events(record)
    assert came.ids.equal(labels.ids) and came.classes.equal(labels.classes)
    assert record.count_bytes() == 2 * 5 + len("idsclasses")


def test_a_class_that_does_not_fit_a_byte_is_refused() -> None:
    with pytest.raises(WireError, match="class 256"):
        pack_events(EventLabels(torch.tensor([1]), torch.tensor([256])))


def test_weights_keep_their_bits_unless_halved() -> None:
    state = {"w": torch.randn(3, 2), "steps": torch.tensor(7)}
    exact, halved = unpack_weights(pack_weights(state)), unpack_weights(pack_weights(state, half=True))
    assert exact["w"].equal(state["w"]) and exact["steps"].equal(state["steps"])
    assert halved["w"].dtype == torch.float32 and halved["w"].equal(state["w"].half().float())


def test_a_tally_keeps_sums_and_count() -> None:
    tally = Tally(3, {"supervised": 4.5})
    assert unpack_tally(pack_tally(tally)) == tally


def test_the_table_lists_every_kind_that_travels() -> None:
    header, _, *rows = [line.split("|")[1].strip() for line in (wire.__doc__ or "").splitlines() if line[:1] == "|"]
    assert header == "kind" and rows == list(Kind)


def test_letters_find_their_views_in_name_order() -> None:
    told = {"v02": {"tally": pack_tally(Tally(1))}, "v01": {"tally": pack_tally(Tally(2))}}
    content = address(told, ConfigRecord({"views": ["v01", "v02"], "round": 1}))
    assert list(letters(content)) == ["v01", "v02"]
    assert about(content)["round"] == 1


@given(st.integers(0, 2**31))
def test_a_letter_comes_as_it_was_written(seed: int) -> None:
    torch.manual_seed(seed)
    state = {
        "conv.weight": torch.randn(3, 2),
        "steps": torch.tensor(7),
        "none": torch.empty(0, 2),
        "on": torch.ones(2) > 0,
    }
    letter = {
        "weights": pack_weights(state), "soft": SOFT, "events": pack_events(EventLabels(*torch.ones(2, 1).long())),
        "tally": pack_tally(Tally(2)), "teacher": pack_weights(state, half=True),
    }  # fmt: skip
    assert letters(address({"v/01": letter})) == {"v/01": letter}


def test_however_many_arrays_a_record_has_they_are_one_on_their_way() -> None:
    content = address({"v01": {"weights": pack_weights({str(n): torch.ones(n) for n in range(40)})}})
    assert len(content["v01/weights"]) == 1


def test_what_several_messages_tell_is_kept_once() -> None:
    files: dict[int, Record] = {}
    one, two = (address({view: {"soft": SOFT}}, files=files) for view in ("v01", "v02"))
    assert one["v01/soft"] is two["v02/soft"]


def _file(data: bytes) -> ArrayRecord:
    return ArrayRecord({"safetensors": Array("uint8", (len(data),), "safetensors", data)})


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        (_file(save({"w": torch.ones(2)})[:-1]), "a safetensors file of arrays that numpy can read, got"),
        (_file(pickle.dumps({"w": 1})), "a safetensors file of arrays that numpy can read, got"),
        (_file(save({"w": torch.ones(2, dtype=torch.bfloat16)})), "numpy can read, got: 'BF16'"),
        (pack_weights({"w": torch.ones(2), "b": torch.ones(2)}), "one safetensors file, got b, w"),
        (ArrayRecord({**_file(save({})), "w": Array("uint8", (1,), "x", b"0")}), "got safetensors, w"),
    ],
    ids=["truncated", "a pickle", "numbers of another type", "without a file", "more beside the file"],
)
def test_what_is_no_file_of_arrays_is_refused_in_a_sentence(record: ArrayRecord, sentence: str) -> None:
    with pytest.raises(WireError, match=sentence):
        letters(RecordDict({"v01/weights": record}))


SOFT = pack_soft(SoftLabels(torch.tensor([1]), torch.tensor([[0.5, 0.5]]), torch.ones(1)))


@pytest.mark.parametrize(
    "record",
    [
        ArrayRecord(
            {"ids": Array("uint32", (2,), "fedkd.raw", b"\0" * 7), "probs": Array("float16", (2, 2), "x", b"")}
        ),
        ArrayRecord({}),
        MetricRecord({"ids": 1}),
        ArrayRecord({**SOFT, "more": SOFT["ids"]}),
        ArrayRecord({**SOFT, "ids": pack_weights({"ids": torch.tensor([1])})["ids"]}),
    ],
    ids=["truncated", "empty", "another record", "one array too many", "ids that others could not be told"],
)
def test_a_broken_record_is_refused_in_a_sentence(record: ArrayRecord) -> None:
    with pytest.raises(WireError, match="expected"):
        unpack_soft(record)
