"""What feedback on a model is about: its targets, as its file names them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from isotherm.server.errors import UnsuitedError
from isotherm.server.layout import MAX_TARGETS
from isotherm.server.loader import Model
from isotherm.server.model_counters import ModelCounters
from isotherm.server.residuals import MAX_NAME_BYTES, Residuals, Table
from isotherm.server.service import intervals
from isotherm.v1.contract_pb2 import Contract, Target

# Sums are kept for good, so one row far off would hide all others in the last digit of its square.
MAX_STANDARD_DEVIATIONS: Final = 1e6
# Where the training's spread is not known: its square is still a number.
MAX_VALUE: Final = 1e100

_COLUMN: Final = {(-1,), (-1, 1)}


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """The targets of one model version, in the order of the prediction's columns.

    Arrays have shape (targets,). `centres` are the training means, `limits` how far from them a
    number may be; `half_widths` is None without an interval, and on the scale of `transforms`.
    """

    names: tuple[str, ...]
    centres: Table
    limits: Table
    half_widths: Table | None
    transforms: tuple[str, ...]


def targets_of(model: Model) -> Targets:
    """Return the targets of a model; raise UnsuitedError where its errors cannot be summed."""
    targets = _from_contract(model.contract) if model.contract is not None else _bare(model)
    problem = next(_problems(model, targets), None)
    if problem is not None:
        msg = f"model '{model.name}' version {model.version} takes no feedback: {problem}"
        raise UnsuitedError(msg)
    return targets


def show_sums(model: Model, counters: ModelCounters) -> None:
    """Have a version's sums shown from its load on, where it takes feedback."""
    residuals = Residuals(counters.words)
    try:
        targets = targets_of(model)
    except UnsuitedError:
        residuals.close()
        return
    residuals.open(targets.names, targets.centres.tolist())


def _from_contract(contract: Contract) -> Targets:
    transforms = tuple(target.transform for target in contract.targets)
    known = contract.HasField("interval") and intervals.are_known(transforms)
    interval = contract.interval.half_width if known else None
    return Targets(
        names=tuple(target.name for target in contract.targets),
        centres=np.array([_finite(target.mean) for target in contract.targets]),
        limits=np.array([_limit(target) for target in contract.targets]),
        half_widths=None if interval is None else np.array(interval, np.float64),
        transforms=transforms,
    )


def _bare(model: Model) -> Targets:
    """Return the only output of a plain ONNX file, where it is one column of numbers."""
    outputs = model.session.outputs
    single = (
        len(outputs) == 1
        and outputs[0].shape in _COLUMN
        and outputs[0].datatype not in {"BOOL", "BYTES"}
    )
    names = (outputs[0].name,) if single else ()
    limits = np.full(len(names), MAX_VALUE)
    return Targets(names, np.zeros(len(names)), limits, None, ("",) * len(names))


def _problems(model: Model, targets: Targets) -> Iterator[str]:
    for target in model.contract.targets if model.contract is not None else ():
        if target.classes:
            yield f"its target '{target.name}' is a label, and errors are sums of numbers"
    if not targets.names:
        yield (
            "it carries no contract, and its outputs are not one column of numbers; "
            "give it a contract (isotherm export)"
        )
    if len(targets.names) > MAX_TARGETS:
        yield f"it has {len(targets.names)} targets, at most {MAX_TARGETS} are summed"
    for name in targets.names:
        size = len(name.encode())
        if size > MAX_NAME_BYTES:
            yield f"a target's name has {size} bytes, at most {MAX_NAME_BYTES} become a label"


def _limit(target: Target) -> float:
    spread = target.standard_deviation
    return MAX_STANDARD_DEVIATIONS * spread if 0 < spread < MAX_VALUE else MAX_VALUE


def _finite(number: float) -> float:
    return number if math.isfinite(number) else 0.0
