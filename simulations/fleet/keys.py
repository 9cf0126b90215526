"""A host's key pair: ECDSA on P-384, as `ssh-keygen -t ecdsa -b 384` makes it, in OpenSSH's formats.

Flower's SuperNode signs every request with it (flwr.supercore.primitives.asymmetric); the public half is registered.
"""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from fedkd.errors import UserError
from fedkd.record import write_whole


def make_key(path: Path, comment: str) -> bool:
    """Write `path` and `path`.pub; False where the key is there, which then keeps its public half, or gets one."""
    made = not path.exists()
    if made:
        pair = ec.generate_private_key(ec.SECP384R1())
        write_private(path, pair.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    half = path.with_name(path.name + ".pub")
    if made or not half.exists():
        try:
            public = read_key(path).public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        except ValueError as error:
            raise UserError(f"expected a host's key in {path}, but: {error}; delete it to make another.") from error
        write_whole(half, public + f" {comment}\n".encode())
    return made


def read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The private key in a file; `ValueError` where it is no such key."""
    pair = load_ssh_private_key(path.read_bytes(), password=None)
    if not isinstance(pair, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path} holds another kind of key than ECDSA")
    return pair


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, at no moment otherwise; whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(path.name + ".part")
    draft.unlink(missing_ok=True)  # of one who was interrupted
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    os.replace(draft, path)
