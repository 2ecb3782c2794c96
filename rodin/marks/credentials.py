"""Content credentials: a signed C2PA manifest in PNG, GIF and MP4 files, with a certificate that the user gives.

c2pa-python does the work where it is installed (extra `c2pa`). Files of meshes cannot hold such a manifest.
"""

from __future__ import annotations

import hashlib
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rodin import __version__
from rodin.marks.tags import DIGITAL_SOURCE, GENERATOR, Origin

SIGNED = (".png", ".gif", ".mp4")  # endings of the files that are signed
CURVES = {256: "es256", 384: "es384", 521: "es512"}  # bits of an elliptic curve's key -> C2PA's name of the signature
CERTIFICATES, KEYS = "x509", "hazmat.primitives.serialization"  # modules of cryptography, which c2pa-python needs
INSTALL = "install it with `pip install -e '.[c2pa]'`, or leave out --c2pa-cert and --c2pa-key"


@dataclass(frozen=True)
class Credentials:
    """A certificate chain and its private key, to sign with.

    Args:
        certificate: the chain as PEM, the signer's own certificate first.
        key: the private key as PEM.
        algorithm: C2PA's name of the signature, such as es256.
    """

    certificate: str
    key: str
    algorithm: str

    @classmethod
    def read(cls, certificate: Path, key: Path) -> Credentials:
        """Read both files, and sign nothing yet.

        Raises:
            ValueError: c2pa-python is not installed, or a file is not such a PEM; names the next step.
            FileNotFoundError: a file is missing.
        """
        try:
            importlib.import_module("c2pa")
            x509, keys = (importlib.import_module(f"cryptography.{name}") for name in (CERTIFICATES, KEYS))
        except ImportError as problem:
            raise ValueError(f"content credentials need c2pa-python ({problem}); {INSTALL}") from None
        texts = [_read(path) for path in (certificate, key)]
        try:
            x509.load_pem_x509_certificates(texts[0])
        except ValueError:
            raise ValueError(
                f"{certificate}: no certificate in PEM; wanted the chain, the signer's own first"
            ) from None
        try:
            loaded = keys.load_pem_private_key(texts[1], None)
        except (ValueError, TypeError) as problem:
            raise ValueError(f"{key}: no private key in PEM without a password ({problem})") from None
        return cls(texts[0].decode(), texts[1].decode(), _algorithm(key, loaded))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the chain's text."""
        return hashlib.sha256(self.certificate.encode()).hexdigest()

    def sign(self, path: Path, origin: Origin) -> None:
        """Put a signed manifest into a PNG, GIF or MP4 file: made by this program, of that origin.

        Raises:
            ValueError: the certificate is refused; the message is C2PA's.
        """
        c2pa: Any = importlib.import_module("c2pa")
        created: dict[str, Any] = {"action": "c2pa.created", "digitalSourceType": DIGITAL_SOURCE + origin.kind}
        manifest = {
            "claim_generator_info": [{"name": GENERATOR, "version": __version__}],
            "title": path.name,
            "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [created]}}],
        }
        signed = path.with_name(f".signed-{path.name}")
        try:
            information = c2pa.C2paSignerInfo(self.algorithm, self.certificate.encode(), self.key.encode(), None)
            with c2pa.Signer.from_info(information) as signer, c2pa.Builder(manifest) as builder:
                builder.sign_file(path, signed, signer)
            signed.replace(path)
        except c2pa.C2paError as problem:
            line = " ".join(str(problem).split())
            wanted = (
                "wanted a chain that ends in its authority, for signing documents (emailProtection or documentSigning)"
            )
            raise ValueError(f"--c2pa-cert: C2PA does not sign with it ({line}); {wanted}") from None
        finally:
            signed.unlink(missing_ok=True)


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; wanted a certificate and its key in PEM")
    return path.read_bytes()


def _algorithm(path: Path, key: Any) -> str:
    kind = type(key).__name__
    if "Ed25519" in kind:
        return "ed25519"
    if "RSA" in kind:
        return "ps256"
    if kind.startswith(("EC", "EllipticCurve")) and key.key_size in CURVES:
        return CURVES[key.key_size]
    raise ValueError(
        f"{path}: a key of {type(key).__name__}, wanted RSA, Ed25519 or an elliptic curve P-256, 384 or 521"
    )
