"""The border to Flower: what travels, as Flower records, and how many bytes it is.

The parties meet only here. A message to a host carries one letter for each view the host serves: records under
``"<view>/<kind>"``. Arrays are raw little-endian bytes, and the ledger counts them and no file format's header. On
their way those of a record are one safetensors file, as Flower spends requests of their own on each array:

| kind            | record       | content                                             | bytes for N events, K classes |
|-----------------|--------------|-----------------------------------------------------|-------------------------------|
| events          | ArrayRecord  | `EventLabels`: ids uint32, classes uint8            | 5 N                           |
| soft            | ArrayRecord  | `SoftLabels`: ids uint32, probs and weight float16  | N (2 K + 6)                   |
| weights         | ArrayRecord  | a network's `state_dict`, float32                   | 4 a number                    |
| teacher         | ArrayRecord  | a taught teacher's, float32 if federated or float16 | 4 or 2 a number               |
| tally           | MetricRecord | each term's sum over the steps, and their count     | 8 a number                    |
| clips           | MetricRecord | how many training clips, and teachers, a view has   | 16                            |
| clock           | MetricRecord | seconds a round took, share of labels a view lacks  | 16                            |
| fresh           | ConfigRecord | a view may have lost what followed a round, or all  | 0, 1 or 8                     |
| failed          | ConfigRecord | why a view could not answer                         | its length                    |
| answers         | ArrayRecord  | at an exam: `SoftLabels` of the exam's clips        | as soft                       |
| truth           | ArrayRecord  | at an exam: their true classes, as `EventLabels`    | as events                     |
| student         | ConfigRecord | at an exam: the hash of a student's weights         | 64                            |
| teacher_answers | ArrayRecord  | at an exam: as answers, of the host's first teacher | as soft                       |
| unsaved         | ConfigRecord | at the last exam: why a student could not be kept   | its length                    |

No one but a view itself knows which events it filmed, so every view is told the labels of all events that others
labelled; of soft labels it is told those that it asked for. The names inside a record count too. Beside the letters a
message has one `about`: round, views, what is wished for.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from enum import StrEnum

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from safetensors import SafetensorError
from safetensors.numpy import load, save
from torch import Tensor

from fedkd.types import EventLabels, SoftLabels, Tally


class Kind(StrEnum):
    """What a letter's records are called."""

    EVENTS = "events"
    SOFT = "soft"
    WEIGHTS = "weights"
    TEACHER = "teacher"
    TALLY = "tally"
    CLIPS = "clips"
    CLOCK = "clock"
    FRESH = "fresh"
    FAILED = "failed"
    ANSWERS = "answers"
    TRUTH = "truth"
    STUDENT = "student"
    TEACHER_ANSWERS = "teacher_answers"
    UNSAVED = "unsaved"


Record = ArrayRecord | MetricRecord | ConfigRecord
Letter = dict[str, Record]
"""The records of one view in one message, by kind."""

_RAW, _FILE = "fedkd.raw", "safetensors"
_DTYPE = {str(dtype).removeprefix("torch."): dtype for dtype in (
    torch.float32, torch.float16, torch.float64, torch.int64, torch.int32, torch.uint32, torch.uint8, torch.bool,
)}  # fmt: skip
_NAME = {dtype: name for name, dtype in _DTYPE.items()}

assert sys.byteorder == "little", "raw arrays are little-endian; no big-endian machine was ever tried"


class WireError(ValueError):
    """A record that does not hold what its kind promises."""


def _pack(values: Tensor, dtype: torch.dtype) -> Array:
    numbers = values.detach().to(dtype).contiguous()
    return Array(_NAME[dtype], tuple(numbers.shape), _RAW, numbers.numpy().tobytes())


def _unpack(record: Record, name: str) -> Tensor:
    array = record.get(name)
    if not isinstance(array, Array):
        raise WireError(f"expected an array '{name}' in an ArrayRecord, got {type(record).__name__} {sorted(record)}.")
    dtype, count = _DTYPE.get(array.dtype), math.prod(array.shape)
    if dtype is None or array.stype != _RAW or len(array.data) != count * dtype.itemsize:
        raise WireError(
            f"expected '{name}' as raw bytes of one of {', '.join(_DTYPE)}, {count} numbers in shape "
            f"{list(array.shape)}, got {len(array.data)} bytes of {array.dtype} as '{array.stype}'."
        )
    if not count:
        return torch.empty(array.shape, dtype=dtype)
    return torch.frombuffer(bytearray(array.data), dtype=dtype).view(array.shape)


def _columns(record: Record, **dtypes: torch.dtype) -> list[Tensor]:
    """The arrays of a record that has these, of these types, and no others."""
    columns = {name: _unpack(record, name) for name in (*dtypes, *record)}
    if wrong := sorted(name for name, column in columns.items() if dtypes.get(name) != column.dtype):
        expected = ", ".join(f"{name} {_NAME[dtype]}" for name, dtype in dtypes.items())
        raise WireError(
            f"expected the arrays {expected}, got {', '.join(f'{n} {_NAME[columns[n].dtype]}' for n in wrong)}."
        )
    return [columns[name] for name in dtypes]


def pack_soft(labels: SoftLabels) -> ArrayRecord:
    """Soft labels for the wire: probabilities and weights rounded to float16.

    The error is at most 2^-11 of a number above 6e-5, and 2^-25 of 1 below.
    """
    return ArrayRecord(
        {
            "ids": _pack(labels.ids, torch.uint32),
            "probs": _pack(labels.probs, torch.float16),
            "weight": _pack(labels.weight, torch.float16),
        }
    )


def unpack_soft(record: Record) -> SoftLabels:
    """The soft labels of a record, rows normalised again after rounding."""
    ids, probs, weight = _columns(record, ids=torch.uint32, probs=torch.float16, weight=torch.float16)
    probs = probs.float() / probs.float().sum(1, keepdim=True)
    return SoftLabels(ids.to(torch.int64), probs, weight.float())


def pack_events(labels: EventLabels) -> ArrayRecord:
    """Event labels for the wire; at most 256 classes."""
    if len(labels) and not 0 <= int(labels.classes.min()) <= int(labels.classes.max()) <= 255:
        wrong = [c for c in labels.classes.tolist() if not 0 <= c <= 255]
        raise WireError(f"expected classes 0..255 for one byte each, got class {wrong[0]}.")
    return ArrayRecord({"ids": _pack(labels.ids, torch.uint32), "classes": _pack(labels.classes, torch.uint8)})


def unpack_events(record: Record) -> EventLabels:
    """The event labels of a record."""
    ids, classes = _columns(record, ids=torch.uint32, classes=torch.uint8)
    return EventLabels(ids.to(torch.int64), classes.to(torch.int64))


def pack_weights(state: Mapping[str, Tensor], *, half: bool = False) -> ArrayRecord:
    """A `state_dict` for the wire; with `half`, floating-point weights are rounded to float16."""
    return ArrayRecord(
        {
            name: _pack(value, torch.float16 if half and value.is_floating_point() else value.dtype)
            for name, value in state.items()
        }
    )


def unpack_arrays(record: Record) -> dict[str, Tensor]:
    """The tensors of a record just as they travel: `pack_weights` of them is the same record."""
    return {name: _unpack(record, name) for name in record}


def unpack_weights(record: Record) -> dict[str, Tensor]:
    """The `state_dict` of a record; float16 weights come back as float32."""
    state = unpack_arrays(record)
    return {name: value.float() if value.dtype == torch.float16 else value for name, value in state.items()}


def pack_tally(tally: Tally) -> MetricRecord:
    """Sums and their count."""
    return MetricRecord({"count": tally.count, **{name: float(total) for name, total in tally.sums.items()}})


def unpack_tally(record: Record) -> Tally:
    """The tally of a record."""
    sums = {name: number(record, name) for name in record if name != "count"}
    return Tally(int(number(record, "count")), sums)


def number(record: Record, name: str) -> float:
    """A number in a record."""
    value = record.get(name)
    if not isinstance(value, int | float):
        raise WireError(f"expected a number '{name}' in the record, got {type(value).__name__}.")
    return float(value)


def names(record: Record, name: str) -> list[str]:
    """A list of names in a record."""
    value = record.get(name)
    if not isinstance(value, list):
        raise WireError(f"expected a list '{name}' in the record, got {type(value).__name__}.")
    return [str(item) for item in value]


def _as_file(record: Record) -> Record:
    """A record whose arrays, if it has any, are one safetensors file."""
    if not isinstance(record, ArrayRecord) or not record:
        return record
    file = save({name: np.frombuffer(array.data, array.dtype).reshape(array.shape) for name, array in record.items()})
    return ArrayRecord({_FILE: Array("uint8", (len(file),), _FILE, file)})


def _from_file(record: Record) -> Record:
    """The record that became such a file."""
    if not isinstance(record, ArrayRecord) or not record:
        return record
    file = record.get(_FILE)
    if file is None or len(record) > 1:
        raise WireError(
            f"expected the arrays of a record as one safetensors file, got {', '.join(sorted(record))}; is the other "
            "side a fedkd of this version?"
        )
    try:
        arrays = load(file.data)
    except (SafetensorError, KeyError) as error:  # a KeyError is a type of number that numpy has not
        raise WireError(f"expected a safetensors file of arrays that numpy can read, got: {error}.") from error
    return ArrayRecord({name: Array(str(a.dtype), a.shape, _RAW, a.tobytes()) for name, a in arrays.items()})


def address(
    letters: Mapping[str, Letter], about: ConfigRecord | None = None, files: dict[int, Record] | None = None
) -> RecordDict:
    """One message's content: the letters of its views, and what concerns the message as a whole.

    files  records of earlier messages as they travel, by `id`: what several messages tell is packed, and kept, once.
    """
    files = {} if files is None else files
    for record in (record for letter in letters.values() for record in letter.values()):
        if id(record) not in files:
            files[id(record)] = _as_file(record)
    content = RecordDict(
        {f"{view}/{kind}": files[id(record)] for view, letter in letters.items() for kind, record in letter.items()}
    )
    if about is not None:
        content["about"] = about
    return content


def about(content: RecordDict) -> ConfigRecord:
    """What concerns the message as a whole: round, views, wishes."""
    record = content.get("about")
    if not isinstance(record, ConfigRecord):
        raise WireError("expected a ConfigRecord 'about' in the message; is the other side a fedkd of this version?")
    return record


def letters(content: RecordDict) -> dict[str, Letter]:
    """The letters of a message's content by view, in name order."""
    found: dict[str, Letter] = {}
    for key in sorted(content):
        view, slash, kind = key.rpartition("/")
        if slash:
            found.setdefault(view, {})[kind] = _from_file(content[key])
    return found
