"""HTTPS with the server's certificate: the files are looked at before every handshake."""

from __future__ import annotations

import ssl
from typing import Any

from isotherm.server.config import SecurityConfig
from isotherm.server.transport.certificates import CertificateFiles, Watch, read_context


def server_context(security: SecurityConfig) -> ssl.SSLContext | None:
    """Return the context of new connections, or None without TLS.

    Raises ConfigError when the files cannot serve now. Later a bad file changes nothing.
    """
    if security.tls_cert is None or security.tls_key is None:
        return None
    files = CertificateFiles(
        cert=security.tls_cert, key=security.tls_key, client_ca=security.tls_client_ca
    )
    watch = Watch(files, _context)
    context = current = watch.first

    def choose(connection: Any, _name: str | None, _context: ssl.SSLContext) -> None:
        # A context cannot forget an authority, so a new one takes the place of the old.
        nonlocal current
        current = watch.fetch() or current
        connection.context = current

    context.sni_callback = choose
    return context


def _context(files: CertificateFiles) -> ssl.SSLContext:
    context, _ = read_context(files)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if files.client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        # A session that is resumed shows no certificate: it could outlive the authority it knew.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
    return context
