"""The foreign model: trained elsewhere, it gets the contract that our own have."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime
from importlib import metadata
from typing import Final, Literal

import numpy as np
import torch
from torch import Tensor, nn

from isotherm.trainer import contract, export, layers, objective, parity, precision, probes
from isotherm.trainer.columns import Floats
from isotherm.trainer.data import Table
from isotherm.trainer.errors import DataError, ExportError, LayerError
from isotherm.trainer.features import ServedModel
from isotherm.v1 import contract_pb2 as v1
from isotherm.v1.contract import METADATA_KEY, SCHEMA_VERSION, ContractError, dumps

# How the description came about, in the file's metadata.
EXPORT_KEY: Final = "isotherm.export"

# What a classifier's outputs are; auto looks at them.
Head = Literal["auto", "logits", "probabilities"]

_OUTPUT: Final = "y"
_PAIR: Final = 2
# What float32 leaves of a sum of probabilities.
_ONE: Final = 1e-4


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Foreign:
    """A model that was described and verified, ready to be published.

    Attributes:
        content: the ONNX file with its contract.
        predictions: for the sample's rows, shape (rows, columns).
        golden_by: what computed the golden rows.
        notes: what whoever serves it may want to know.
        parity: the largest difference between torch and ONNX Runtime; None without torch.
    """

    content: bytes
    contract: v1.Contract
    table: Table
    predictions: Floats
    golden_by: str
    notes: tuple[str, ...] = ()
    parity: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What a contract says that neither the model nor the sample does."""

    name: str
    created_at: datetime
    seed: int = 0
    head: Head = "auto"
    # Of an ONNX file with several; empty: the first.
    output: str = ""
    notes: tuple[str, ...] = field(default=())


class Wrapped(ServedModel):
    """A module in the form that is exported; a classifier's logits become probabilities."""

    def __init__(self, module: nn.Module, *, logits: bool = False, pair: bool = False) -> None:
        """Take logits, or the probability of the second class of a pair."""
        super().__init__()
        self.core = layers.sequential(module)
        self._logits = logits
        self._pair = pair

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Map raw `x` (batch, features) to numbers or probabilities (batch, columns)."""
        y = self.core(x)
        if self._logits:
            return (objective.probabilities(y),)
        return (torch.cat([1 - y, y], dim=-1) if self._pair else y,)


def of_module(module: nn.Module, table: Table, request: Request) -> Foreign:
    """Export a module that takes and gives the table's own units; verify and describe it.

    Raises:
        LayerError: it does not fit the table.
        ExportError: it cannot be exported, or not be served in batches.
        ParityError: ONNX Runtime answers otherwise than torch, or float32 than float64.
    """
    check_sample(table)
    single = deepcopy(module).cpu().float().eval()
    outputs = _tried(single, table)
    served, note = _with_head(single, outputs, table, request.head)
    served.eval()
    notes = [*([note] if note else []), *_cast(module, single, table, request.seed)]
    described = describe(table, served.answers, request, contract.PACKAGES)
    content = export.to_onnx(
        served,
        name=request.name,
        features=len(table.features),
        input_name=contract.INPUT,
        output_names=[_OUTPUT],
        properties=properties(described, f"torch {metadata.version('torch')}", notes),
    )
    golden = described.golden
    absolute, relative = golden.absolute_tolerance, golden.relative_tolerance
    probes.check_independent(served.answers, table.x, absolute=absolute, relative=relative)
    parity.check(
        content, served, [probes.far(table.x)], absolute=probes.FAR * absolute, relative=relative
    )
    difference = parity.check(
        content, served, probes.near(table.x, request.seed), absolute=absolute, relative=relative
    )
    return Foreign(
        content=content,
        contract=described,
        table=table,
        predictions=served.answers(table.x),
        golden_by="torch",
        notes=(*notes, *export.notes(export.parse(content))),
        parity=difference,
    )


def check_sample(table: Table) -> None:
    """Raise DataError unless the sample is numbers, none of them missing.

    How a model of somebody else's takes text or an empty cell is not to be guessed.
    """
    for column, cells in zip(table.features, table.x.T, strict=True):
        if column.categories:
            named = ", ".join(column.categories[:3])
            what = f"holds categories ({named} ...)"
        elif np.isnan(cells).any():
            what = f"has {int(np.isnan(cells).sum())} empty cells"
        else:
            continue
        msg = (
            f"column '{column.name}' of the sample {what}, and a model that was trained elsewhere "
            "is served the numbers that it takes: give the sample with its columns encoded and its "
            "gaps filled, as that training saw them"
        )
        raise DataError(msg)


@precision.exact()
def describe(
    table: Table,
    answers: Callable[[Floats], Floats],
    request: Request,
    packages: Sequence[str],
    tensors: v1.Tensors | None = None,
) -> v1.Contract:
    """Build the contract of a model that answers with `answers`."""
    inputs = contract.golden_inputs(table.x, request.seed)
    spread = 1.0 if any(table.classes) else float(table.y.std(axis=0).max())
    outputs = answers(inputs)
    if not np.isfinite(outputs).all():
        msg = "the model answers NaN or infinity near the sample's rows; it cannot be served"
        raise ExportError(msg)
    return v1.Contract(
        schema_version=SCHEMA_VERSION,
        model_name=request.name,
        features=contract.features(table),
        targets=contract.targets(table, answers(table.x)),
        tensors=tensors or v1.Tensors(input=contract.INPUT, prediction=_OUTPUT),
        non_finite=v1.NON_FINITE_REFUSE,
        golden=contract.golden(inputs, outputs, spread),
        provenance=contract.origin(
            table, seed=request.seed, created_at=request.created_at, packages=packages
        ),
    )


def properties(described: v1.Contract, golden_by: str, notes: Sequence[str]) -> dict[str, str]:
    """Return the metadata of a file: its contract, and how that came about."""
    try:
        text = dumps(described)
    except ContractError as error:
        raise ExportError(str(error)) from error
    origin = {"golden_by": golden_by, "notes": list(notes)}
    return {METADATA_KEY: text, EXPORT_KEY: json.dumps(origin, sort_keys=True)}


def proof(model: Foreign) -> str:
    """Say how the file was verified."""
    if model.parity is None:
        return f"not measured, there is no torch module; {model.golden_by} agrees with itself"
    return f"ONNX Runtime is within {model.parity:.1e} of torch"


def score(model: Foreign) -> str:
    """Say how the model does on the sample; columns in a wrong order show here."""
    table = model.table
    if any(table.classes):
        hits = model.predictions.argmax(axis=1) == table.y[:, 0]
        frequent = np.bincount(table.y[:, 0].astype(np.int64)).max() / table.rows
        good, text = hits.mean() >= frequent, f"{hits.mean():.1%} right"
        beside = f"the most frequent class alone: {frequent:.1%}"
    else:
        error = np.sqrt(np.square(model.predictions - table.y).mean(axis=0))[0]
        usual = table.y.std(axis=0)[0]
        good, text = error <= usual, f"RMSE of {table.targets[0].name} {error:.4g}"
        beside = f"the mean alone: {usual:.4g}"
    doubt = "" if good else "; are the features in the order, and in the units, that it takes?"
    return f"on the {table.rows} rows of the sample: {text} ({beside}){doubt}"


def is_probabilities(outputs: Floats) -> bool:
    """Whether outputs (rows, columns) are shares of 1, or one column of them."""
    inside = bool(((outputs >= -_ONE) & (outputs <= 1 + _ONE)).all())
    return inside and (
        outputs.shape[1] == 1 or bool((np.abs(outputs.sum(axis=1) - 1) <= _ONE).all())
    )


def check_columns(outputs: Floats, table: Table) -> None:
    """Raise LayerError unless a model gives a column for each target, or for each class."""
    classes = next((classes for classes in table.classes if classes), ())
    wanted = len(classes) or len(table.targets)
    allowed = {wanted, 1} if len(classes) == _PAIR else {wanted}
    noun = "classes" if classes else "targets"
    if outputs.ndim != _PAIR or len(outputs) != table.rows or outputs.shape[1] not in allowed:
        msg = (
            f"the model gives {outputs.shape} for {table.rows} rows, expected "
            f"({table.rows}, {wanted}): the sample has {wanted} {noun}"
        )
        raise LayerError(msg)


def _tried(module: nn.Module, table: Table) -> Floats:
    """Return the module's outputs for the sample."""
    try:
        with torch.inference_mode():
            outputs = module(torch.tensor(table.x, dtype=torch.float32))
    # The module is the caller's, and so is what it raises.
    except Exception as error:
        reason = str(error).partition("\n")[0]
        msg = f"the model cannot take rows of {len(table.features)} features: {reason}"
        raise LayerError(msg) from error
    if not isinstance(outputs, Tensor):
        msg = f"the model gives {type(outputs).__name__}, expected one tensor (rows, columns)"
        raise LayerError(msg)
    values: Floats = outputs.double().numpy()
    check_columns(values, table)
    return values


def _with_head(module: nn.Module, outputs: Floats, table: Table, head: Head) -> tuple[Wrapped, str]:
    """Return the module so that it gives numbers or probabilities, and what was done for that."""
    objective.of(table)
    if not any(table.classes):
        return Wrapped(module), ""
    shares = is_probabilities(outputs)
    if head == "probabilities" and not shares:
        msg = "the model's outputs are no probabilities on the sample; leave --head out, or logits"
        raise LayerError(msg)
    pair = outputs.shape[1] == 1
    if head == "logits" or (head == "auto" and not shares):
        return Wrapped(module, logits=True), (
            f"its outputs are taken for logits: a {'sigmoid' if pair else 'softmax'} was added"
        )
    return Wrapped(module, pair=pair), "its outputs are taken for probabilities"


def _cast(module: nn.Module, single: nn.Module, table: Table, seed: int) -> list[str]:
    """Say what float32 costs a module of another precision; refuse one that needs it."""
    kinds = {value.dtype for value in module.state_dict().values() if value.is_floating_point()}
    if torch.float64 not in kinds:
        return []
    double = deepcopy(module).cpu().double().eval()
    scale = 1.0 if any(table.classes) else float(table.y.std(axis=0).max())
    largest = 0.0
    for batch in probes.near(table.x, seed):
        with torch.inference_mode():
            wide = double(torch.from_numpy(batch)).numpy()
            narrow = single(torch.tensor(batch, dtype=torch.float32)).double().numpy()
        largest = max(largest, float(np.abs(wide - narrow).max()))
    if not largest <= contract.RELATIVE_TOLERANCE * scale * 10:
        msg = (
            f"the model is in float64, and in float32 its answers differ by up to {largest:.3g}; "
            "scale its inputs, or train it in float32"
        )
        raise ExportError(msg)
    return [f"cast from float64 to float32, which changes its answers by up to {largest:.1e}"]
