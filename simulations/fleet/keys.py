"""A host's key pair: ECDSA on P-384, as `ssh-keygen -t ecdsa -b 384` makes it, in OpenSSH's formats.

Flower's SuperNode signs every request with it (flwr.supercore.primitives.asymmetric); the public half is registered.
"""

from __future__ import annotations

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
from fedkd.files import write_whole


def make_key(path: Path, comment: str) -> bool:
    """Write `path` and `path`.pub; False where the key is there, which then keeps its public half, or gets one."""
    made = not path.exists()
    if made:
        pair = ec.generate_private_key(ec.SECP384R1())
        private = pair.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        write_whole(path, private, durable=True, private=True)
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
