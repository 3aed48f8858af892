"""HTML elements from Python: what is not markup already is escaped."""

from __future__ import annotations

from html import escape


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(tag: str, *content: str, **attributes: str | float) -> Markup:
    """Return `<tag ...>content</tag>`.

    Text is escaped, markup is kept. An attribute's `_` becomes `-`, and `class_` is `class`.
    """
    named = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(_written(value))}"'
        for name, value in attributes.items()
    )
    return Markup(f"<{tag}{named}>{join(*content)}</{tag}>")


def join(*content: str) -> Markup:
    """Return pieces as one: text is escaped, markup is kept."""
    return Markup("".join(part if isinstance(part, Markup) else escape(part) for part in content))


def _written(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:g}"
