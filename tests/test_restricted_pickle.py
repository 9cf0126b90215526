"""Foreign pickles: arrays come through, and nothing else that a pickle may ask for is looked up, let alone called."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
from collections import OrderedDict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedkd.data.restricted_pickle import load_arrays
from fedkd.errors import UserError


class Reduces:
    """Pickled as a call."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call, self.arguments


class Built(Reduces):
    """Pickled as a call, on whose result a state is then set."""

    def __init__(self, call: Any, arguments: tuple[Any, ...], state: tuple[Any, ...]) -> None:
        super().__init__(call, *arguments)
        self.state = state

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call, self.arguments, self.state


def an_array(shape: tuple[int, ...], code: str, state: tuple[Any, ...], raw: bytes) -> Built:
    """An array as numpy writes it, of a type whose state says what it likes."""
    reconstruct, (_, start, kind), _ = np.zeros(1).__reduce__()  # type: ignore[misc]
    of = Built(np.dtype, (code, False, True), state)
    return Built(reconstruct, (np.ndarray, start, kind), (1, shape, of, False, raw))


def written(tmp_path: Path, content: object, protocol: int = 4) -> Path:
    path = tmp_path / "clips.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_in_plain_containers_come_through(tmp_path: Path, protocol: int) -> None:
    made = {
        "split": {"a": ["x", "y"]},
        "annotations": [
            {"keypoint": np.arange(6, dtype=np.float16).reshape(1, 2, 3), "label": np.int64(3), "shape": (2, 3)},
            {"keypoint": np.asfortranarray(np.eye(2, dtype=np.float32)), "ok": True, "none": None},
        ],
    }
    read = load_arrays(written(tmp_path, made, protocol))
    assert read["split"] == made["split"] and read["annotations"][0]["label"] == 3
    for one, other in zip(read["annotations"], made["annotations"], strict=True):
        assert one["keypoint"].dtype == other["keypoint"].dtype and np.array_equal(one["keypoint"], other["keypoint"])


@pytest.mark.parametrize("core", ["numpy.core", "numpy._core"])
def test_what_numpy_1_and_2_wrote(tmp_path: Path, core: str) -> None:
    path = written(tmp_path, [np.arange(3)], protocol=2)
    text = path.read_bytes().replace(b"cnumpy._core.multiarray\n", f"c{core}.multiarray\n".encode())
    assert f"c{core}.multiarray\n".encode() in text
    path.write_bytes(text)
    assert load_arrays(path)[0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize(
    ("call", "arguments", "name"),
    [
        (os.system, ("touch {mark}",), "system"),
        (subprocess.Popen, (["touch", "{mark}"],), "Popen"),
        (eval, ("open({mark!r}, 'w')",), "eval"),
        (open, ("{mark}", "w"), "open"),
        (partial, (print,), "partial"),
        (np.load, ("{mark}",), "load"),
        (OrderedDict, (), "OrderedDict"),
    ],
)
def test_anything_else_is_refused_and_does_not_run(
    tmp_path: Path, call: Any, arguments: tuple[Any, ...], name: str, protocol: int
) -> None:
    mark = tmp_path / "ran"
    filled = [a.format(mark=str(mark)) if isinstance(a, str) else a for a in arguments]
    filled = [[part.format(mark=str(mark)) for part in a] if isinstance(a, list) else a for a in filled]
    path = written(tmp_path, {"annotations": [np.zeros(2), Reduces(call, *filled)]}, protocol)
    with pytest.raises(UserError, match=rf"asks for [\w.]+\.{name} as it is read"):
        load_arrays(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    "stream",
    [
        b"cnumpy\nndarray.__class__\n.",  # a dotted path through something allowed
        b"\x80\x04\x8c\x05numpy\x8c\x16ndarray.__subclasses__\x93.",
        b"\x80\x04\x8c\x0bnumpy._core\x8c\x05\x6d\x75\x6c\x74\x69\x93.",
        b"cnumpy._core.multiarray\nos\n.",
    ],
)
def test_paths_through_what_is_allowed_are_refused(tmp_path: Path, stream: bytes) -> None:
    path = tmp_path / "clips.pkl"
    path.write_bytes(stream)
    with pytest.raises(UserError, match="asks for numpy"):
        load_arrays(path)


def test_a_truncated_file_and_no_file_are_one_sentence(tmp_path: Path) -> None:
    path = written(tmp_path, [np.arange(1000)])
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(UserError, match="is no whole pickle"):
        load_arrays(path)
    path.write_bytes(b"not a pickle")
    with pytest.raises(UserError, match="is no whole pickle"):
        load_arrays(path)
    with pytest.raises(UserError, match="cannot be read"):
        load_arrays(tmp_path / "nowhere.pkl")


def test_persistent_ids_are_refused(tmp_path: Path) -> None:
    class Persistent(pickle.Pickler):
        def persistent_id(self, obj: object) -> str | None:
            return "elsewhere" if isinstance(obj, Reduces) else None

    stream = io.BytesIO()
    Persistent(stream).dump([Reduces(os.getcwd)])
    path = tmp_path / "clips.pkl"
    path.write_bytes(stream.getvalue())
    with pytest.raises(UserError, match="is no whole pickle"):
        load_arrays(path)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_bytes_do_not_become_addresses_of_objects(tmp_path: Path, protocol: int) -> None:
    """A type of objects whose flags deny it made numpy take the file's bytes for addresses: a crash, or worse."""
    attack = an_array((1,), "O8", (3, "|", None, None, None, -1, -1, 0), b"A" * 8)
    with pytest.raises(UserError, match=r"asks for numpy.dtype\('O8'\) as it is read"):
        load_arrays(written(tmp_path, [attack], protocol))
    for code in ("V8", "M8", "f8,O", "(2,)f8"):
        with pytest.raises(UserError, match=r"asks for numpy.dtype\("):
            load_arrays(written(tmp_path, [an_array((1,), code, (3, "|", None, None, None, -1, -1, 0), b"")], protocol))


def test_of_a_types_state_the_byte_order_alone_is_believed(tmp_path: Path) -> None:
    (array,) = load_arrays(
        written(
            tmp_path,
            [an_array((1,), "f8", (3, ">", None, None, None, 4000, 1, 63), np.ones(1, ">f8").tobytes())],
        )
    )
    assert array.dtype.kind == "f" and not array.dtype.hasobject and array.tolist() == [1.0]
    (array,) = load_arrays(
        written(tmp_path, [an_array((2,), "U1", (3, "<", None, None, None, 4000, 4, 8), b"a\0\0\0" * 2)])
    )
    assert array.dtype == np.dtype("<U1") and array.tolist() == ["a", "a"]


@pytest.mark.parametrize("shape", [(2,), (-1,), (-1, -1), (2**62, 4)])
def test_arrays_and_their_bytes_agree(tmp_path: Path, shape: tuple[int, ...]) -> None:
    state = (3, "<", None, None, None, -1, -1, 0)
    with pytest.raises(UserError, match="is no whole pickle"):
        load_arrays(written(tmp_path, [an_array(shape, "f8", state, b"\0" * 8)]))
