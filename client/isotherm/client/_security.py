"""How a client proves whom it talks to, and who it is: TLS and bearer tokens, from files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import grpc

from isotherm.client._errors import InvalidInputError

Token: TypeAlias = str | Path
Metadata: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tls:
    """TLS with other than the defaults; all files are PEM, and read when the client is made.

    Args:
        ca: The authorities that may have signed the server's certificate; those that gRPC knows
            when there is none.
        cert: The client's own certificate chain, where the server asks for one.
        key: The key of `cert`.
        server_name: The name in the server's certificate, where it is not the target's.
    """

    ca: Path | str | None = None
    cert: Path | str | None = None
    key: Path | str | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        """Raise InvalidInputError on a certificate without its key, or the other way round."""
        if (self.cert is None) != (self.key is None):
            given, missing = ("cert", "key") if self.cert is not None else ("key", "cert")
            msg = f"tls has {given} and no {missing}: a client's certificate takes both"
            raise InvalidInputError(msg)


def credentials(tls: Tls | None) -> grpc.ChannelCredentials | None:
    """Read the files; raise InvalidInputError with the name of one that cannot be read."""
    if tls is None:
        return None
    return grpc.ssl_channel_credentials(_read(tls.ca), _read(tls.key), _read(tls.cert))


def tls_options(tls: Tls | None) -> list[tuple[str, int | str]]:
    """Return the channel options that belong to the credentials."""
    if tls is None or not tls.server_name:
        return []
    return [("grpc.ssl_target_name_override", tls.server_name)]


class Bearer:
    """The token that every call brings; one in a file is read again when the file changes."""

    def __init__(self, token: Token | None) -> None:
        """Raise InvalidInputError when there is a token that cannot be sent."""
        self._path = token if isinstance(token, Path) else None
        self._stamp: tuple[int, int, int] | None = None
        self._metadata: Metadata | None = None
        if self._path is not None:
            self.metadata()
        elif token is not None:
            self._metadata = _metadata(str(token), "the token")

    def metadata(self) -> Metadata | None:
        """Return what a call must bring; None without a token."""
        if self._path is not None:
            self._look(self._path)
        return self._metadata

    def _look(self, path: Path) -> None:
        try:
            found = path.stat()
            stamp = found.st_mtime_ns, found.st_ino, found.st_size
            if stamp == self._stamp:
                return
            text = path.read_text(encoding="ascii", errors="replace")
        except OSError as error:
            # While a rotation replaces the file, the token that is known is still good.
            if self._metadata is not None:
                return
            msg = f"the token file {path} cannot be read: {error.strerror}"
            raise InvalidInputError(msg) from error
        self._metadata = _metadata(text.strip(), f"the token file {path}")
        self._stamp = stamp


def _metadata(token: str, owner: str) -> Metadata:
    # Never the token itself: errors are logged.
    if not token:
        msg = f"{owner} is empty"
        raise InvalidInputError(msg)
    if not (token.isascii() and token.isprintable()) or " " in token:
        msg = f"{owner} holds characters that no token has: it is one word of printable ASCII"
        raise InvalidInputError(msg)
    return (("authorization", f"Bearer {token}"),)


def _read(path: Path | str | None) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        msg = f"the TLS file {path} cannot be read: {error.strerror}"
        raise InvalidInputError(msg) from error
