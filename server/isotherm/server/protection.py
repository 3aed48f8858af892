"""From the settings to what guards a worker: TLS and limits of its transport, tokens of callers."""

from __future__ import annotations

from pathlib import Path

from isotherm.server.config import SecurityConfig, ServerConfig
from isotherm.server.service.access import Access
from isotherm.server.service.tokens import TokenFile
from isotherm.server.transport.call import TransportConfig
from isotherm.server.transport.certificates import CertificateFiles, server_credentials


def transport_config(config: ServerConfig) -> TransportConfig:
    """Return what the transport is told; raise ConfigError when the certificate cannot serve."""
    security, limits = config.security, config.limits
    credentials = None
    if security.tls_cert is not None and security.tls_key is not None:
        credentials = server_credentials(
            CertificateFiles(
                cert=security.tls_cert, key=security.tls_key, client_ca=security.tls_client_ca
            )
        )
    return TransportConfig(
        credentials=credentials,
        max_message_bytes=limits.max_message_bytes,
        max_concurrent_streams=limits.max_concurrent_streams,
        max_connections=limits.max_connections,
        max_connection_idle_s=limits.max_connection_idle_s,
        max_connection_age_s=config.max_connection_age_s,
        keepalive_time_s=limits.keepalive_time_s,
        keepalive_timeout_s=limits.keepalive_timeout_s,
        grace_s=config.grace_s,
    )


def access(security: SecurityConfig) -> Access:
    """Return the tokens that callers need; raise ConfigError when a file cannot be used."""
    return Access(
        auth=_tokens(security.auth_token_file), control=_tokens(security.control_token_file)
    )


def _tokens(path: Path | None) -> TokenFile | None:
    return None if path is None else TokenFile(path)
