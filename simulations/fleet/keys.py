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


def make_key(path: Path, comment: str) -> bool:
    """Write `path` and `path`.pub; False, and nothing written, where the key is there."""
    if path.exists():
        return False
    pair = ec.generate_private_key(ec.SECP384R1())
    write_private(path, pair.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    public = pair.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    path.with_name(path.name + ".pub").write_bytes(public + f" {comment}\n".encode())
    return True


def read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The private key in a file; `ValueError` where it is no such key."""
    pair = load_ssh_private_key(path.read_bytes(), password=None)
    if not isinstance(pair, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path} holds another kind of key than ECDSA")
    return pair


def write_private(path: Path, content: bytes) -> None:
    """Write a new file that only its owner can read, at no moment otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
