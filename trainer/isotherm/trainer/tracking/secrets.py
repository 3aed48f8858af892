"""Secrets: an address as it may be shown, and texts without the passwords of one."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

_HIDDEN: Final = "***"
# Shorter parts, such as the 1 of `?verify=1`, are no secret, and are in every text.
_SHORTEST: Final = 3


def shown(uri: str) -> str:
    """Return an address without its user, password, query and fragment."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return _HIDDEN
    if not ("@" in parts.netloc or parts.query or parts.fragment):
        return uri
    host = parts.netloc.rpartition("@")[2]
    hidden = f"{_HIDDEN}@" if "@" in parts.netloc else ""
    query = _HIDDEN if parts.query else ""
    return urlunsplit((parts.scheme, hidden + host, parts.path, query, ""))


def without(uri: str, text: str) -> str:
    """Return a text of somebody else's, such as an error, without what is secret in `uri`."""
    text = text.replace(uri, shown(uri))
    for secret in sorted(_secrets(uri), key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    return text


def _secrets(uri: str) -> set[str]:
    try:
        parts = urlsplit(uri)
    except ValueError:
        return {uri}
    found = {
        parts.query,
        parts.fragment,
        *(pair.partition("=")[2] for pair in parts.query.split("&")),
    }
    user, _, host = parts.netloc.rpartition("@")
    if host and user:
        # A user without a password is a token as often as not.
        name, colon, password = user.partition(":")
        found |= {user, password if colon else name}
    # Libraries show a password as it is, or as the address had it.
    return {text for one in found if len(one) >= _SHORTEST for text in (one, unquote(one))}
