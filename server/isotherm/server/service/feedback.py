"""Feedback: what predictions should have been, once it is known, into the sums of their errors."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Final

import numpy as np
from google.protobuf.message import DecodeError

from isotherm.server.counters import Block
from isotherm.server.errors import InvalidRequestError, RequestError
from isotherm.server.loader import Model
from isotherm.server.repository import Repository
from isotherm.server.residuals import Residuals, Table, sums
from isotherm.server.rpcs import REPORT
from isotherm.server.service import intervals
from isotherm.server.service.status import fail
from isotherm.server.service.targets import (
    MAX_STANDARD_DEVIATIONS,
    MAX_VALUE,
    Targets,
    targets_of,
)
from isotherm.server.transport.call import Call, Unary
from isotherm.v1 import feedback_pb2 as pb

# Numbers in one table. All of them are read on the loop's thread, in a millisecond or two.
MAX_NUMBERS: Final = 4096
# More than five tables of them need, also where they are not packed.
MAX_MESSAGE_BYTES: Final = 1 << 18

_OLDEST_S: Final = 10 * 365 * 86400.0
# How far a caller's clock may be ahead of ours.
_AHEAD_S: Final = 3600.0


class FeedbackService:
    """Adds reports to the sums of this worker."""

    def __init__(self, repository: Repository, block: Block) -> None:
        self._repository = repository
        self._block = block
        # By name and version. Another model may take the same place, with other targets.
        self._accounts: dict[tuple[str, int], _Account] = {}

    def methods(self) -> dict[str, Unary]:
        """Return the handler by path."""
        return {REPORT: Unary(self._handle)}

    def report(self, request: pb.ReportRequest) -> pb.ReportResponse:
        """Count all rows of a report, or raise a RequestError that says why none was."""
        model = self._repository.get(request.model_name, request.model_version)
        account = self._accounts.get((model.name, model.version))
        if account is None or account.model is not model:
            account = _Account(model, self._block)
            self._accounts[model.name, model.version] = account
        rows = account.add(request, time.time())
        return pb.ReportResponse(rows=rows, model_version=str(model.version))

    def _handle(self, call: Call, message: bytes) -> None:
        try:
            if len(message) > MAX_MESSAGE_BYTES:
                msg = (
                    f"the report has {len(message)} bytes, at most {MAX_MESSAGE_BYTES} are read: "
                    f"send its rows in several reports, {MAX_NUMBERS} numbers a table"
                )
                raise InvalidRequestError(msg)
            response = self.report(pb.ReportRequest.FromString(message))
        except DecodeError:
            fail(call, InvalidRequestError("the message is not a ReportRequest"))
        except RequestError as error:
            fail(call, error)
        else:
            call.reply(response.SerializeToString())


class _Account:
    """One model version's targets, and where their sums are."""

    def __init__(self, model: Model, block: Block) -> None:
        """Raise UnsuitedError where the model takes no feedback."""
        self.model = model
        self._targets = targets_of(model)
        self._residuals = Residuals(block.open_model(model.name, model.version).words)
        self._residuals.open(self._targets.names, self._targets.centres.tolist())

    def add(self, request: pb.ReportRequest, now_s: float) -> int:
        """Add a request's rows; return how many there were."""
        targets = self._targets
        width = _check_sizes(request, targets)
        prediction = _numbers("prediction", request.prediction, width, targets)
        truth = _numbers("truth", request.truth, width, targets)
        lower, upper = _bounds(request, prediction, targets)
        ages_s = _ages_s(request.predicted_at, len(truth), now_s)
        rows = sums(prediction, truth, targets.centres, lower, upper)
        self._residuals.add(rows, ages_s)
        return len(truth)


def _check_sizes(request: pb.ReportRequest, targets: Targets) -> int:
    """Return the numbers of a row; raise InvalidRequestError where the tables' sizes differ."""
    width, count = len(targets.names), len(request.prediction)
    if not count:
        msg = "the report has no rows: its prediction is empty"
        raise InvalidRequestError(msg)
    if count > MAX_NUMBERS:
        msg = (
            f"prediction has {count} numbers, at most {MAX_NUMBERS} are taken: "
            "send its rows in several reports"
        )
        raise InvalidRequestError(msg)
    if count % width:
        names = ", ".join(targets.names)
        msg = f"prediction has {count} numbers, expected {width} a row: {names}"
        raise InvalidRequestError(msg)
    if bool(request.lower) != bool(request.upper):
        given, missing = ("lower", "upper") if request.lower else ("upper", "lower")
        msg = f"{given} is given without {missing}: an interval takes both or neither"
        raise InvalidRequestError(msg)
    tables = {"truth": request.truth, "lower": request.lower, "upper": request.upper}
    for name, numbers in tables.items():
        if len(numbers) != count and (numbers or name == "truth"):
            msg = f"{name} has {len(numbers)} numbers, expected as many as prediction: {count}"
            raise InvalidRequestError(msg)
    return width


def _table(numbers: Collection[float], width: int) -> Table:
    return np.fromiter(numbers, np.float64, len(numbers)).reshape(-1, width)


def _numbers(name: str, numbers: Collection[float], width: int, targets: Targets) -> Table:
    """Return a table of numbers that can be summed; raise InvalidRequestError otherwise."""
    table = _table(numbers, width)
    # NaN fails the comparison as well.
    good = np.abs(table - targets.centres) <= targets.limits
    if not good.all():
        row, column = (int(index) for index in np.argwhere(~good)[0])
        value = float(table[row, column])
        place = f"{name} of '{targets.names[column]}' in row {row} is {value:g}"
        if not np.isfinite(value):
            msg = f"{place}, expected a finite number: leave rows out whose truth is not known"
        elif targets.limits[column] >= MAX_VALUE:
            msg = f"{place}, expected at most {MAX_VALUE:g}: larger ones cannot be summed"
        else:
            msg = (
                f"{place}, over {MAX_STANDARD_DEVIATIONS:g} standard deviations of the training "
                f"from its mean {targets.centres[column]:g}: leave rows out whose value is a mark"
            )
        raise InvalidRequestError(msg)
    return table


def _bounds(
    request: pb.ReportRequest, prediction: Table, targets: Targets
) -> tuple[Table | None, Table | None]:
    """Return the interval's bounds, as given or by the contract; None without an interval."""
    if not request.lower:
        if targets.half_widths is None:
            return None, None
        return intervals.bounds(prediction, targets.half_widths, targets.transforms)
    width = prediction.shape[1]
    lower, upper = _table(request.lower, width), _table(request.upper, width)
    good = lower <= upper
    if not good.all():
        row, column = (int(index) for index in np.argwhere(~good)[0])
        msg = (
            f"the interval of '{targets.names[column]}' in row {row} is "
            f"{lower[row, column]:g} to {upper[row, column]:g}, expected lower <= upper"
        )
        raise InvalidRequestError(msg)
    return lower, upper


def _ages_s(predicted_at: Collection[float], rows: int, now_s: float) -> Table:
    """Return how long ago each row was predicted, in seconds; empty where that is not told."""
    if predicted_at and len(predicted_at) != rows:
        msg = f"predicted_at has {len(predicted_at)} numbers, expected one a row: {rows}"
        raise InvalidRequestError(msg)
    times_s = np.fromiter(predicted_at, np.float64, len(predicted_at))
    ages_s = now_s - times_s
    good = (ages_s >= -_AHEAD_S) & (ages_s <= _OLDEST_S)
    if not good.all():
        row = int(np.flatnonzero(~good)[0])
        msg = (
            f"predicted_at of row {row} is {times_s[row]:g}, "
            "expected seconds since 1970, within the last ten years"
        )
        raise InvalidRequestError(msg)
    return np.maximum(ages_s, 0.0)
