"""Loads: what became of an attempt to load a version, for the log and the counters."""

from __future__ import annotations

import logging

from isotherm.server.counters import Block
from isotherm.server.layout import ModelState
from isotherm.server.repository import Entry

_log = logging.getLogger(__name__)


def loaded_before(block: Block) -> dict[str, set[int]]:
    """Return the versions that a former process of this slot had loaded, by model."""
    found: dict[str, set[int]] = {}
    for model in block.models():
        if model.sha256:
            found.setdefault(model.name, set()).add(model.version)
    return found


def note(block: Block, entry: Entry, *, optional: bool) -> None:
    """Take note of a version that was loaded, or could not be.

    Without an `optional` one the server is ready all the same.
    """
    model = entry.model
    counters = block.open_model(entry.name, entry.version, optional=optional)
    counters.optional = optional
    counters.load_ended(failed=bool(entry.reason))
    if entry.reason:
        goes_on = ", what was loaded before goes on serving" if model is not None else ""
        _log.error("model %s version %d: %s%s", entry.name, entry.version, entry.reason, goes_on)
    if model is None:
        counters.state = ModelState.UNAVAILABLE
    elif not entry.reason:
        golden_rows = model.contract.golden.rows if model.contract else 0
        _log.info(
            "model %s version %d is ready on %s: loaded in %.0f ms, %d golden rows agree, %s",
            model.name,
            model.version,
            model.provider,
            model.load_ns / 1e6,
            golden_rows,
            model.placement,
        )
