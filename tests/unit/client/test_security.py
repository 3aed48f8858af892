"""TLS files and tokens: what is refused, in which words, and that a token is never in them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from isotherm.client import AsyncClient, Client, InvalidInputError, Tls
from isotherm.client._security import Bearer


def test_without_a_token_nothing_is_sent():
    """Not even an empty header."""
    assert Bearer(None).metadata() is None


def test_a_token_travels_as_a_bearer_token():
    """As the server asks for it."""
    assert Bearer("s3cret").metadata() == (("authorization", "Bearer s3cret"),)


def test_a_token_in_a_file_follows_the_file(tmp_path: Path):
    """Rotation needs no new client; a file that is gone for a moment changes nothing."""
    path = tmp_path / "token"
    path.write_text("first\n")
    bearer = Bearer(path)
    found = [bearer.metadata()]
    path.write_text("the second\n".replace(" ", "-"))
    found.append(bearer.metadata())
    path.unlink()
    found.append(bearer.metadata())
    (tmp_path / "new").write_text("third\n")
    os.replace(tmp_path / "new", path)
    found.append(bearer.metadata())

    sent = [metadata[0][1] for metadata in found if metadata is not None]
    assert sent == ["Bearer first", "Bearer the-second", "Bearer the-second", "Bearer third"]


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("", "the token is empty"),
        ("two words", "the token holds characters that no token has"),
        ("line\nbreak", "the token holds characters that no token has"),
        ("schlüssel", "the token holds characters that no token has"),
    ],
)
@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_a_token_that_cannot_be_sent_is_refused_when_the_client_is_made(
    client: type, token: str, message: str
):
    """Without showing it."""
    with pytest.raises(InvalidInputError) as error:
        client("127.0.0.1:1", token=token)

    assert str(error.value).startswith(message)
    assert not token or token not in str(error.value)


def test_files_that_cannot_be_read_are_named(tmp_path: Path):
    """Each with what it was for."""
    missing = tmp_path / "missing"
    empty = tmp_path / "empty"
    empty.touch()
    for arguments, message in (
        ({"token": missing}, f"the token file {missing} cannot be read: No such file or directory"),
        ({"token": empty}, f"the token file {empty} is empty"),
        (
            {"tls": Tls(ca=missing)},
            f"the TLS file {missing} cannot be read: No such file or directory",
        ),
    ):
        with pytest.raises(InvalidInputError) as error:
            Client("127.0.0.1:1", **arguments)

        assert str(error.value) == message


@pytest.mark.parametrize("given", ["cert", "key"])
def test_a_certificate_needs_its_key(given: str):
    """And the other way round."""
    with pytest.raises(InvalidInputError, match=f"tls has {given} and no "):
        Tls(**{given: "file.pem"})
