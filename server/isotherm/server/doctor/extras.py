"""Which extras of the package are installed, by its own metadata."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, metadata, requires
from typing import Final

_REQUIREMENT: Final = re.compile(r"(?P<name>[\w.-]+)(?:\[(?P<extras>[\w.,\s-]+)\])?")
_EXTRA: Final = re.compile(r"extra *== *['\"]([\w-]+)['\"]")
_OURS: Final = "isotherm"


def present() -> dict[str, bool]:
    """Return each extra, and whether all of its packages are there, whatever their versions."""
    names = metadata(_OURS).get_all("Provides-Extra") or []
    return {name: all(map(_there, _packages(name))) for name in sorted(names)}


def _packages(extra: str) -> Iterator[str]:
    for line in requires(_OURS) or ():
        marker = _EXTRA.search(line)
        requirement = _REQUIREMENT.match(line)
        if marker is None or marker[1] != extra or requirement is None:
            continue
        if requirement["name"] != _OURS:
            yield requirement["name"]
        for other in (requirement["extras"] or "").split(",") * (requirement["name"] == _OURS):
            yield from _packages(other.strip())


def _there(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True
