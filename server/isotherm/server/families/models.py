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
    "always 1; what is loaded, where it runs (`cuda` where a GPU runs some of its batches, else "
    "`cpu`), and the first twelve digits of its file's SHA-256",
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
FALLBACK: Final = Gauge(
    "isotherm_provider_fallback",
    "1 where `--provider auto` could not use CUDA for the model, because there is none or because "
    "the model failed on it; 0 where it did, or where the CPU is simply faster. The parameter "
    "`isotherm.provider_note` of ModelConfig has the reason",
    MODEL,
)
BREAK_EVEN: Final = Gauge(
    "isotherm_model_break_even_rows",
    "batches of so many rows and more run on a GPU, smaller ones on the CPU, as measured at load; "
    "1 where all run on it, 0 where none does",
    MODEL,
)
DEVICE_MEMORY: Final = Gauge(
    "isotherm_model_device_memory_bytes",
    "memory of GPUs that loading the version took, all workers together; what was free before "
    "and is not afterwards, so the first model of a process also has what CUDA keeps for itself",
    MODEL,
)
GRAPHS: Final = Gauge(
    "isotherm_model_cuda_graphs",
    "sizes of batches that replay a recorded run (a CUDA graph) since that is faster",
    MODEL,
)
BUFFERS_LENT: Final = Gauge(
    "isotherm_model_buffers_lent",
    "batches whose page-locked buffers are in use, all workers together; looked at twice a second",
    MODEL,
)

SECTION: Final = Section(
    "Models",
    (
        *(INFO, STATE, LOAD_DURATION, LOADS),
        *(FALLBACK, BREAK_EVEN, DEVICE_MEMORY, GRAPHS, BUFFERS_LENT),
    ),
)
