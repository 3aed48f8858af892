"""Printouts compared as a reader does: words exactly, learned numbers within a tolerance."""

from __future__ import annotations

import math
import re
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"

_DECIMAL = re.compile(r"-?\d+\.\d+(?:e[-+]?\d+)?|-?\d+e[-+]?\d+")


def golden(name: str) -> str:
    """Return a stored printout."""
    return (GOLDEN / f"{name}.txt").read_text()


def difference(expected: str, actual: str, relative: float) -> str:
    """Return the first lines that differ, or "".

    Words and whole numbers must be equal. Numbers with a decimal point or an exponent may differ by
    a share of themselves, or by one in the last digit shown: other processors round differently.
    """
    theirs, ours = expected.rstrip().splitlines(), actual.rstrip().splitlines()
    if len(theirs) != len(ours):
        return f"{len(theirs)} lines expected, found {len(ours)}:\n{actual}"
    for their, our in zip(theirs, ours, strict=True):
        if not _same(their.rstrip(), our.rstrip(), relative):
            return f"expected: {their}\nfound:    {our}"
    return ""


def _same(expected: str, actual: str, relative: float) -> bool:
    # Columns are aligned by the width of their numbers.
    words = [" ".join(_DECIMAL.sub("#", line).split()) for line in (expected, actual)]
    if words[0] != words[1]:
        return False
    pairs = zip(_DECIMAL.findall(expected), _DECIMAL.findall(actual), strict=True)
    return all(
        math.isclose(float(a), float(b), rel_tol=relative, abs_tol=_unit(a)) for a, b in pairs
    )


def _unit(number: str) -> float:
    """Return one in the last digit shown, and a little for its rounding; small exponents: 1e-5."""
    if "e" in number:
        return 1e-5
    return 1.01 * float(10 ** -len(number.partition(".")[2]))
