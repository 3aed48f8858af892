"""The server's TLS credentials: they follow their files, so renewal needs no restart."""

from __future__ import annotations

import logging
import os
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, NoReturn, TypeVar, cast

import grpc

from isotherm.server.errors import ConfigError

_log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class CertificateFiles:
    """PEM files: the chain that the server shows, its key, and the CA of its clients, if any."""

    cert: Path
    key: Path
    client_ca: Path | None = None

    def stamps(self) -> tuple[tuple[int, int, int] | None, ...]:
        """Return what changes whenever a file is written or replaced."""
        return tuple(_stamp(path) for path in (self.cert, self.key, self.client_ca) if path)


def server_credentials(files: CertificateFiles) -> grpc.ServerCredentials:
    """Return credentials that look at their files before every handshake.

    Raises ConfigError when the files cannot serve now. Later a bad file changes nothing: what was
    read before stays, and the log says why, once.
    """
    watch = Watch(files, _configuration)
    # The stubs do not know that None keeps what there is.
    fetch = cast("Callable[[], grpc.ServerCertificateConfiguration]", watch.fetch)
    return grpc.dynamic_ssl_server_credentials(
        watch.first, fetch, require_client_authentication=files.client_ca is not None
    )


class Watch(Generic[T]):
    """What `read` made of the files last; it raises ConfigError when they cannot serve."""

    def __init__(self, files: CertificateFiles, read: Callable[[CertificateFiles], T]) -> None:
        self._files = files
        self._read = read
        # core shakes hands on threads of its own.
        self._lock = threading.Lock()
        # Taken before reading: a file that changes meanwhile is read again.
        self._stamps = files.stamps()
        self.first = read(files)

    def fetch(self) -> T | None:
        """Return what is new in the files; None to go on with what there is."""
        with self._lock:
            stamps = self._files.stamps()
            if stamps == self._stamps:
                return None
            self._stamps = stamps
            try:
                read = self._read(self._files)
            except ConfigError as error:
                _log.error("TLS goes on with the certificate it has: %s", error)
                return None
            _log.info("TLS has a new certificate: %s", self._files.cert)
            return read


def _configuration(files: CertificateFiles) -> grpc.ServerCertificateConfiguration:
    _, configuration = read_context(files)
    return configuration


def read_context(
    files: CertificateFiles,
) -> tuple[ssl.SSLContext, grpc.ServerCertificateConfiguration]:
    """Return the files' content for HTTPS and for gRPC; raise ConfigError unless they fit."""
    chain, key = _content("certificate", files.cert), _content("key", files.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # OpenSSL reads files only; these are what was read above, whatever happens to the paths.
    with _in_memory(chain) as chain_path, _in_memory(key) as key_path:
        try:
            # An empty password, or OpenSSL would ask for one at the terminal.
            context.load_cert_chain(chain_path, key_path, password="")
        except (OSError, ValueError) as error:
            _refuse_pair(files, error)
    client_ca = None
    if files.client_ca is not None:
        client_ca = _content("client CA", files.client_ca)
        try:
            context.load_verify_locations(cadata=client_ca.decode())
        except (OSError, ValueError) as error:
            msg = f"the client CA {files.client_ca} holds no certificate in PEM"
            raise ConfigError(msg) from error
    return context, grpc.ssl_server_certificate_configuration([(key, chain)], client_ca)


def _refuse_pair(files: CertificateFiles, error: Exception) -> NoReturn:
    reason = getattr(error, "reason", None)
    if reason == "KEY_VALUES_MISMATCH":
        msg = f"the key {files.key} does not belong to the certificate {files.cert}"
    else:
        detail = f": {reason.replace('_', ' ').lower()}" if reason else ""
        msg = (
            f"the certificate {files.cert} and the key {files.key} are not a chain and an "
            f"unencrypted key in PEM{detail}"
        )
    raise ConfigError(msg) from error


def _content(what: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        msg = f"cannot read the {what} {path}: {error.strerror}"
        raise ConfigError(msg) from error


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


@contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """Lend a path to bytes that no disk sees."""
    fd = os.memfd_create("pem")
    try:
        os.write(fd, content)
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)
