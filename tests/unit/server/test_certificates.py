"""TLS credentials follow their files; what cannot serve is said in a sentence."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from isotherm.server.errors import ConfigError
from isotherm.server.transport.certificates import (
    CertificateFiles,
    Watch,
    read_context,
    server_credentials,
)
from tests.support.certificates import Authority, Pair

NOT_PEM = "-----BEGIN CERTIFICATE-----\nbm8=\n-----END CERTIFICATE-----\n"


@pytest.fixture(name="authority")
def _authority(tmp_path: Path) -> Authority:
    """Who signs."""
    return Authority(tmp_path, "ca")


def copy(source: Pair, target: Pair) -> None:
    """Put a pair in another's place, file by file, as a person does."""
    target.cert.write_bytes(source.cert.read_bytes())
    target.key.write_bytes(source.key.read_bytes())


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged as an error."""
    return [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]


@pytest.mark.parametrize("missing", ["cert", "key"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str):
    """With the system's reason."""
    paths = {name: tmp_path / name for name in ("cert", "key")}
    for name, path in paths.items():
        if name != missing:
            path.write_text(NOT_PEM)
    with pytest.raises(ConfigError, match=f"{paths[missing]}: No such file or directory"):
        server_credentials(CertificateFiles(**paths))


@pytest.mark.parametrize("content", ["", "no certificate", NOT_PEM])
def test_files_that_are_no_pair_are_named(tmp_path: Path, content: str):
    """Nothing of what is in them is told."""
    cert, key = tmp_path / "cert", tmp_path / "key"
    cert.write_text(content)
    key.write_text(content)
    with pytest.raises(ConfigError, match=f"the certificate {cert} and the key {key} are not a"):
        server_credentials(CertificateFiles(cert=cert, key=key))


@pytest.mark.slow
def test_a_key_of_another_certificate_is_refused(authority: Authority):
    """By both names."""
    one, two = authority.issue("one"), authority.issue("two")
    with pytest.raises(
        ConfigError, match=f"^the key {two.key} does not belong to the certificate {one.cert}$"
    ):
        server_credentials(CertificateFiles(cert=one.cert, key=two.key))


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"no certificate", NOT_PEM.encode(), b"\xff"])
def test_a_client_ca_that_is_none_is_refused(authority: Authority, tmp_path: Path, content: bytes):
    """A server that was meant to know its clients does not start without."""
    pair, other = authority.issue("server"), tmp_path / "other"
    other.write_bytes(content)
    with pytest.raises(ConfigError, match=f"the client CA {other} holds no certificate in PEM"):
        server_credentials(CertificateFiles(cert=pair.cert, key=pair.key, client_ca=other))


@pytest.mark.slow
def test_an_encrypted_key_is_refused_without_asking_for_its_password(
    authority: Authority, tmp_path: Path
):
    """Nobody sits at the server's terminal."""
    from tests.support.certificates import openssl

    pair, encrypted = authority.issue("server"), tmp_path / "encrypted"
    openssl("ec", "-aes256", "-passout", "pass:x", "-in", str(pair.key), "-out", str(encrypted))
    with pytest.raises(ConfigError, match="are not a chain and an unencrypted key in PEM"):
        server_credentials(CertificateFiles(cert=pair.cert, key=encrypted))


@pytest.mark.slow
def test_files_that_stay_are_read_once(authority: Authority):
    """A handshake costs a look, no reading."""
    pair = authority.issue("server")
    watch = Watch(
        CertificateFiles(cert=pair.cert, key=pair.key, client_ca=authority.pair.cert), read_context
    )

    assert [watch.fetch(), watch.fetch()] == [None, None]


@pytest.mark.slow
def test_a_new_pair_is_taken_once_both_files_are_there(
    authority: Authority, caplog: pytest.LogCaptureFixture
):
    """Half of it is an error that passes; the old certificate serves until then."""
    pair, new = authority.issue("server"), authority.issue("new")
    watch = Watch(CertificateFiles(cert=pair.cert, key=pair.key), read_context)
    pair.cert.write_bytes(new.cert.read_bytes())
    half = [watch.fetch() for _ in range(3)]
    logged = errors(caplog)
    pair.key.write_bytes(new.key.read_bytes())
    whole = watch.fetch()

    assert half == [None] * 3
    assert logged == [
        "TLS goes on with the certificate it has: "
        f"the key {pair.key} does not belong to the certificate {pair.cert}"
    ]
    assert whole is not None
    assert watch.fetch() is None
    assert errors(caplog) == logged


@pytest.mark.slow
def test_a_file_that_is_gone_is_an_error_once(
    authority: Authority, caplog: pytest.LogCaptureFixture
):
    """And every later change is looked at again."""
    pair, new = authority.issue("server"), authority.issue("new")
    watch = Watch(CertificateFiles(cert=pair.cert, key=pair.key), read_context)
    pair.key.unlink()
    gone = [watch.fetch(), watch.fetch()]
    copy(new, pair)

    assert gone == [None, None]
    assert len(errors(caplog)) == 1
    assert watch.fetch() is not None
