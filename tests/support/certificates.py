"""Certificates for tests, made with the openssl command: whoever uses these is marked slow."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, in PEM."""

    cert: Path
    key: Path


class Authority:
    """A certificate authority in a folder of its own."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self.pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
        openssl("req", "-x509", *KEY, *files(self.pair), "-subj", f"/CN={name}", "-days", "2")

    def issue(self, name: str) -> Pair:
        """Return a new pair for this machine."""
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        openssl(
            *("req", "-x509", *KEY, *files(pair), "-subj", f"/CN={name}", "-days", "2"),
            *("-CA", str(self.pair.cert), "-CAkey", str(self.pair.key)),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-addext", "basicConstraints=critical,CA:FALSE"),
        )
        return pair


def files(pair: Pair) -> tuple[str, ...]:
    """Return where openssl is to write a pair."""
    return "-out", str(pair.cert), "-keyout", str(pair.key)


def openssl(*arguments: str) -> None:
    """Run openssl; raise when it fails."""
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=30)
