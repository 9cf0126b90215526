"""The fleet's own authority, and the server's certificate (RFC 5280, profile as of Python 3.13's strict checks).

Hosts trust this authority and no other. Its key signs server certificates and is needed for nothing else: it is kept
offline.
"""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedkd.errors import UserError
from fedkd.files import write_whole

AUTHORITY_DAYS = 3650
_LOCAL = ("localhost", "127.0.0.1")
"""Names by which the server's own machine reaches its SuperLink."""
_BEFORE = timedelta(hours=1)
"""For hosts whose clocks are late."""


def make_authority(folder: Path, name: str) -> bool:
    """Write ca.key, unless there is one, and ca.crt; False, and nothing written, where that is there.

    The key may then have gone offline.
    """
    if (folder / "ca.crt").exists():
        return False
    if not (folder / "ca.key").exists():
        _write_key(folder / "ca.key", ec.generate_private_key(ec.SECP384R1()))
    key = _signer(folder)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"fedkd fleet {name}"[:64])])
    draft = _draft(subject, subject, key.public_key(), key.public_key(), AUTHORITY_DAYS)
    draft = draft.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    certificate = draft.add_extension(_usage("key_cert_sign", "crl_sign"), critical=True).sign(key, hashes.SHA384())
    write_whole(folder / "ca.crt", certificate.public_bytes(Encoding.PEM))
    return True


def make_server_certificate(folder: Path, authority: Path, server: str, days: float) -> None:
    """Write server.crt, for the server's name and its loopback; server.key is made once and kept.

    days  it is valid for, from now on.
    """
    signer = _signer(authority)
    issuer = read_certificate(authority / "ca.crt")
    if days > (left := days_left(issuer)):
        raise UserError(f"expected at most the {left:.0f} days that the authority has left, got {days:g}; add --days.")
    if not (folder / "server.key").exists():
        _write_key(folder / "server.key", ec.generate_private_key(ec.SECP384R1()))
    own = load_pem_private_key((folder / "server.key").read_bytes(), password=None)
    assert isinstance(own, ec.EllipticCurvePrivateKey)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, server[:64])])
    names = x509.SubjectAlternativeName([_general_name(name) for name in dict.fromkeys((server, *_LOCAL))])
    draft = _draft(subject, issuer.subject, own.public_key(), signer.public_key(), days)
    draft = draft.add_extension(names, critical=False)
    draft = draft.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    draft = draft.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    certificate = draft.add_extension(_usage("digital_signature"), critical=True).sign(signer, hashes.SHA384())
    write_whole(folder / "server.crt", certificate.public_bytes(Encoding.PEM))


def names_of(certificate: x509.Certificate) -> set[str]:
    """The names and addresses a server's certificate is for."""
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {*found.get_values_for_type(x509.DNSName), *map(str, found.get_values_for_type(x509.IPAddress))}


def days_left(certificate: x509.Certificate) -> float:
    """Until it expires; negative afterwards."""
    return (certificate.not_valid_after_utc - datetime.now(UTC)) / timedelta(days=1)


def read_certificate(path: Path) -> x509.Certificate:
    """A certificate in PEM."""
    return x509.load_pem_x509_certificate(path.read_bytes())


def _signer(authority: Path) -> ec.EllipticCurvePrivateKey:
    """The authority's key; `UserError` where it is elsewhere, or damaged."""
    try:
        key = load_pem_private_key((authority / "ca.key").read_bytes(), password=None)
    except (OSError, ValueError) as error:
        raise UserError(
            f"expected the authority's key in {authority / 'ca.key'} to sign a certificate, "
            "found none that can be read; put it back for as long as this takes."
        ) from error
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def _draft(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    signer: ec.EllipticCurvePublicKey,
    days: float,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    end = now + timedelta(days=days)
    draft = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    draft = draft.serial_number(x509.random_serial_number())
    draft = draft.not_valid_before(min(now, end) - _BEFORE).not_valid_after(end)
    draft = draft.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    return draft.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)


def _usage(*uses: str) -> x509.KeyUsage:
    every = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: name in uses for name in every})


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    write_whole(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), durable=True, private=True)
