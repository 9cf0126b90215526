"""Foreign pickles of numpy arrays in plain containers, read without running what else a pickle may ask for.

    annotations = load_arrays(Path("ntu60_3danno.pkl"))

A pickle is a program that may call anything importable (https://docs.python.org/3/library/pickle.html, "Restricting
Globals"). Here it may call what numpy's own arrays need and nothing more; the first other name ends the reading. What
this does not prevent is a file that asks for more memory than there is.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from fedkd.errors import UserError

ARRAYS = {
    *((f"{core}.multiarray", name) for core in ("numpy.core", "numpy._core") for name in ("_reconstruct", "scalar")),
    *((f"{core}.numeric", "_frombuffer") for core in ("numpy.core", "numpy._core")),  # pickle's protocol 5
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),  # bytes that were written by protocol 2
}
"""(module, name) of what a pickle may call; numpy 2 says `numpy._core`, numpy 1 `numpy.core`."""


class _Refused(Exception):
    """What a pickle asked for."""


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ARRAYS:
            raise _Refused(f"{module}.{name}")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def load_arrays(path: Path) -> Any:
    """What the file holds; a UserError where it asks for anything but arrays, or is no whole pickle."""
    try:
        with path.open("rb") as file:
            return _ArraysOnly(file).load()
    except _Refused as refused:
        raise UserError(
            f"{path} asks for {refused} as it is read, which no array needs: it was not read on; get it anew from "
            "where it was published, or convert it where you trust it."
        ) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    except Exception as error:  # a damaged pickle fails wherever its bytes lead the reader
        raise UserError(f"{path} is no whole pickle, truncated or damaged: {str(error).rstrip('.')}.") from error
