"""Triton's families: our counts under its names."""

from __future__ import annotations

from typing import Final

from isotherm.server.families.family import MODEL, Section, Untyped

SUCCESS: Final = Untyped("nv_inference_request_success", "requests answered with `OK`", MODEL)
FAILURE: Final = Untyped(
    "nv_inference_request_failure",
    "requests that were accepted and yet not answered; a caller's mistake is none",
    (*MODEL, "reason"),
    {"reason": ("REJECTED", "CANCELED", "BACKEND", "OTHER")},
)
ROWS: Final = Untyped("nv_inference_count", "rows that went through the model", MODEL)
EXECUTIONS: Final = Untyped("nv_inference_exec_count", "calls of the model", MODEL)
DURATION: Final = Untyped(
    "nv_inference_request_duration_us", "sum of the time of requests answered with `OK`", MODEL
)
QUEUE: Final = Untyped("nv_inference_queue_duration_us", "their time in the queue", MODEL)
INPUT: Final = Untyped("nv_inference_compute_input_duration_us", "their time in assembly", MODEL)
INFER: Final = Untyped("nv_inference_compute_infer_duration_us", "their time in the model", MODEL)
OUTPUT: Final = Untyped(
    "nv_inference_compute_output_duration_us", "their time until the answer was written", MODEL
)
PENDING: Final = Untyped(
    "nv_inference_pending_request_count", "requests that wait for a batch", MODEL
)

SECTION: Final = Section(
    "Triton's names",
    (SUCCESS, FAILURE, ROWS, EXECUTIONS, DURATION, QUEUE, INPUT, INFER, OUTPUT, PENDING),
    "The same counts under the names of Triton's families, with its labels and in its "
    "microseconds, so that dashboards and autoscalers made for it go on working. Triton calls "
    "them counters, although they lack the `_total` of one; their type is open here.",
)
