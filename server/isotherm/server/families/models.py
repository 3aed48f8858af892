"""Families of the life of model versions."""

from __future__ import annotations

from typing import Final

from isotherm.server.families.family import MODEL, Counter, Gauge, Section
from isotherm.server.layout import ModelState

STATES: Final = (
    ModelState.LOADING,
    ModelState.READY,
    ModelState.UNAVAILABLE,
    ModelState.UNLOADING,
)

INFO: Final = Gauge(
    "isotherm_model_info",
    "always 1; what is loaded, where it runs (`cpu` or `cuda`), and the first twelve digits of its "
    "file's SHA-256",
    (*MODEL, "provider", "sha256"),
)
STATE: Final = Gauge(
    "isotherm_model_state",
    "1 for the state the version is in, 0 for the others",
    (*MODEL, "state"),
    {"state": tuple(state.name for state in STATES)},
)
LOAD_DURATION: Final = Gauge(
    "isotherm_model_load_duration_seconds",
    "time of the last load: reading, warming and the check of the golden rows",
    MODEL,
)
LOADS: Final = Counter(
    "isotherm_model_loads_total",
    "attempts to load the version, by result, each worker's own; a file that fails while an older "
    "one goes on serving counts as well",
    (*MODEL, "result"),
    {"result": ("ok", "failed")},
)

SECTION: Final = Section("Models", (INFO, STATE, LOAD_DURATION, LOADS))
