"""The server's errors: the tree that the module draws is the tree that there is."""

from __future__ import annotations

import re
from collections.abc import Iterator

from isotherm.server import errors
from isotherm.server.errors import OverloadedError, ServerError


def descendants(error: type[ServerError]) -> Iterator[type[ServerError]]:
    """Yield every class below one."""
    for child in error.__subclasses__():
        yield child
        yield from descendants(child)


def test_the_drawn_tree_is_the_tree():
    """Every class is in the drawing, under its parent, and nothing else is."""
    parents = {}
    stack: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^([│├└─ ]*)([A-Z][A-Za-z]*Error)\b", line)
        if found is None:
            continue
        depth, name = len(found[1]), found[2]
        while stack and stack[-1][0] >= depth:
            stack.pop()
        if stack:
            parents[name] = stack[-1][1]
        stack.append((depth, name))

    assert parents == {error.__name__: error.__bases__[0].__name__ for error in _ours()}


def test_an_overloaded_server_says_when_to_come_back():
    """The time is a number beside the text."""
    error = OverloadedError("full", retry_after_s=0.25)

    assert (str(error), error.retry_after_s) == ("full", 0.25)


def _ours() -> list[type[ServerError]]:
    return [error for error in descendants(ServerError) if error.__module__ == errors.__name__]
