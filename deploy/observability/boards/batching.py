"""The dashboard `isotherm-batching`: how well requests are gathered into calls of the model."""

from typing import Final

from deploy.observability.boards.board import Board, Panels
from deploy.observability.panels import Frame, Query, heat, lines
from deploy.observability.promql import MODELS, increments, mean, quantile, rate, ratio, total

_SIZE: Final = "isotherm_batch_size"
_BATCHES: Final = "isotherm_batches_total"
_EXECUTIONS: Final = "isotherm_executions_total"


def _sizes() -> Panels:
    yield lines(
        Frame("Rows per batch", "The mean size of the executed batches.", "short"),
        Query(mean(_SIZE, "model"), "{{model}}"),
    )
    yield heat(
        Frame("Batch sizes", "How many batches had up to how many rows.", "short"),
        Query(increments(_SIZE), "{{le}}"),
    )
    answered = rate("isotherm_requests_total", f'{MODELS}, code="OK"')
    yield lines(
        Frame("Requests per batch", "How many requests share one call of the model.", "short"),
        Query(ratio(answered, rate(_EXECUTIONS), "model"), "{{model}}"),
    )
    yield lines(
        Frame("Large batches", "Nine tenths of the batches have at most so many rows.", "short"),
        Query(quantile(0.9, _SIZE, "model"), "{{model}}"),
    )


def _closing() -> Panels:
    yield lines(
        Frame("What closed the batches", "Batches per second by the reason of closing.", "ops"),
        Query(total(rate(_BATCHES), "reason"), "{{reason}}"),
        stacked=True,
    )
    full = rate(_BATCHES, f'{MODELS}, reason="full"')
    yield lines(
        Frame(
            "Full batches",
            "Share of batches that held max_batch_size rows; near 100 % the limit may be too low.",
            "percentunit",
        ),
        Query(ratio(full, rate(_BATCHES), "model"), "{{model}}"),
    )


def _work() -> Panels:
    yield lines(
        Frame("Rows", "Rows per second that went through the model.", "rowsps"),
        Query(total(rate("isotherm_inferences_total"), "model"), "{{model}}"),
    )
    yield lines(
        Frame("Batches", "Calls of the model per second.", "ops"),
        Query(total(rate(_EXECUTIONS), "model"), "{{model}}"),
    )


BOARD: Final = Board(
    "isotherm-batching",
    "Isotherm: batching",
    "Sizes of batches, why they were closed, and what they carry.",
    {"Sizes": _sizes, "Closing": _closing, "Work": _work},
)
