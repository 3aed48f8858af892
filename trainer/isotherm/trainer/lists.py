"""Lists: what one flag says of several names, as parts."""

from __future__ import annotations


def split(names: str | None) -> list[str] | None:
    """Return the parts of `a, b, c`."""
    return [name.strip() for name in names.split(",")] if names is not None else None


def by_name(text: str | None, usual: str = "") -> dict[str, str] | None:
    """Return what `a=x,b` says of each name; `usual` of one that stands alone."""
    if text is None:
        return None
    pairs = (part.partition("=") for part in split(text) or ())
    return {name.strip(): (value.strip() if sign else usual) for name, sign, value in pairs}


def split_layers(layers: str | None) -> list[str] | None:
    """Split after each closing bracket: the commas inside are arguments."""
    if layers is None:
        return None
    parts = (part.strip(" ,;") for part in layers.split(")"))
    return [f"{part})" for part in parts if part]
