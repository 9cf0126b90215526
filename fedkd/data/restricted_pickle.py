"""Foreign pickles of numpy arrays in plain containers, read without running what else a pickle may ask for.

    annotations = load_arrays(Path("ntu60_3danno.pkl"))

A pickle is a program that may call anything importable (https://docs.python.org/3/library/pickle.html, "Restricting
Globals"). Here it may call what numpy's arrays of numbers and text need and nothing more, by stand-ins that look at
what they are given; the first other name ends the reading. What this does not prevent is a file that asks for more
memory than there is.
"""

from __future__ import annotations

import codecs
import pickle
import re
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from fedkd.errors import UserError


class _Refused(Exception):
    """What a pickle asked for."""


class _Type:
    """Stands for `numpy.dtype`, whose own state would be believed: flags that call any eight bytes an object's address.

    Booleans, numbers and text only; of the state nothing but the byte order is read.
    """

    def __init__(self, code: str, *_: object) -> None:
        if not re.fullmatch("[biufcSU][0-9]+", code):
            raise _Refused(f"numpy.dtype({code[:40]!r})")
        self.plain: np.dtype[Any] = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] not in ("<", ">", "=", "|"):
            raise ValueError(f"{state[1]!r} is no byte order")
        self.plain = self.plain.newbyteorder(state[1])


class _Array(np.ndarray):
    """An array whose state is looked at before it is believed."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:  # type: ignore[override]
        version, shape, of, fortran, raw = state
        if min(shape, default=0) < 0 or prod(shape) * of.plain.itemsize != len(raw):
            raise ValueError(f"an array of {shape} has {len(raw)} bytes")
        super().__setstate__((version, shape, of.plain, fortran, bytes(raw)))


def _reconstruct(*_: object) -> _Array:
    return _Array(0)


def _scalar(of: _Type, raw: bytes) -> Any:
    return np.frombuffer(bytes(raw), of.plain, 1)[0]


def _frombuffer(raw: bytes | bytearray, of: _Type, shape: tuple[int, ...], order: str, axes: Any = None) -> Any:
    """Copied: what the array lies in cannot be taken from under it."""
    flat = np.frombuffer(bytes(raw), of.plain).copy()
    return flat.reshape(shape).transpose(axes) if axes else flat.reshape(shape, order="F" if order == "F" else "C")


ARRAYS = {
    **{(f"{core}.multiarray", "_reconstruct"): _reconstruct for core in ("numpy.core", "numpy._core")},
    **{(f"{core}.multiarray", "scalar"): _scalar for core in ("numpy.core", "numpy._core")},
    **{(f"{core}.numeric", "_frombuffer"): _frombuffer for core in ("numpy.core", "numpy._core")},  # protocol 5
    ("numpy", "ndarray"): "only named",
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): codecs.encode,  # bytes that were written by protocol 2
}
"""(module, name) of what a pickle may call -> what it calls; numpy 2 says `numpy._core`, numpy 1 `numpy.core`."""


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ARRAYS:
            raise _Refused(f"{module}.{name}")
        return ARRAYS[module, name]


def load_arrays(path: Path) -> Any:
    """What the file holds; a UserError where it asks for anything but arrays, or is no whole pickle."""
    try:
        with path.open("rb") as file:
            return _ArraysOnly(file).load()
    except _Refused as refused:
        raise UserError(
            f"{path} asks for {refused} as it is read, which no array of numbers needs: it was not read on; get it "
            "anew from where it was published, or convert it where you trust it."
        ) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    except Exception as error:  # a damaged pickle fails wherever its bytes lead the reader
        raise UserError(f"{path} is no whole pickle, truncated or damaged: {str(error).rstrip('.')}.") from error
