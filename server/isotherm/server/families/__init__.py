"""Every metric family that is served, in the order of docs/metrics.md, which is written from here.

A new family is a constant of the module of its noun and an entry in that module's SECTION.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from isotherm.server.families import (
    batches,
    calls,
    drift,
    feedback,
    gpus,
    models,
    process,
    triton,
    workers,
)
from isotherm.server.families.family import Section

SECTIONS: Final[Sequence[Section]] = (
    workers.SECTION,
    calls.SECTION,
    batches.SECTION,
    models.SECTION,
    drift.SECTION,
    feedback.SECTION,
    gpus.SECTION,
    triton.SECTION,
    process.SECTION,
)
