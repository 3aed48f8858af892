"""What a loaded file must hold to: its contract, its golden rows, the model's configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from isotherm.server.errors import LoadError
from isotherm.server.model_config import CONFIG_FILE, ModelSettings
from isotherm.server.session import Array, Session, TensorSpec
from isotherm.v1 import contract as contracts
from isotherm.v1 import open_inference_pb2 as pb
from isotherm.v1.contract_pb2 import Contract

# TF32 keeps ten bits behind the point, so that sums of products are off by about one in a thousand.
_TF32_TOLERANCE: Final = 2e-3


def check_contract(contract: Contract, session: Session) -> None:
    """Raise LoadError where the contract speaks of another graph than the file's."""
    tensors = contract.tensors
    inputs = {spec.name: spec for spec in session.inputs}
    outputs = {spec.name: spec for spec in session.outputs}
    _check_tensor("input", tensors.input, inputs, len(contract.features), "features")
    for name in (tensors.prediction, tensors.lower, tensors.upper):
        if name:
            width = contracts.prediction_width(contract)
            _check_tensor("output", name, outputs, width, "target columns")
    if set(inputs) != {tensors.input}:
        msg = f"the contract knows the input '{tensors.input}', the graph has {', '.join(inputs)}"
        raise LoadError(msg)


def check_golden_rows(
    contract: Contract, session: Session, run: Callable[[Sequence[Array]], list[Array]]
) -> None:
    """Run the golden rows where the model will serve; raise LoadError when an answer differs."""
    golden = contract.golden
    if not golden.rows:
        return
    inputs = np.array(golden.inputs, np.float32).reshape(golden.rows, -1)
    expected = np.array(golden.outputs, np.float32).reshape(golden.rows, -1)
    names = [spec.name for spec in session.outputs]
    outputs = run([inputs])
    served = outputs[names.index(contract.tensors.prediction)]
    tolerance = golden.absolute_tolerance + golden.relative_tolerance * np.abs(expected)
    # Written so that a NaN on either side counts as a difference.
    wrong = ~(np.abs(served - expected) <= tolerance)
    if wrong.any():
        raise LoadError(_golden_difference(contract, inputs, expected, served, wrong))


def tolerates_tf32(contract: Contract) -> bool:
    """Tell whether the golden rows may be off by as much as matrices with fewer digits are."""
    golden = contract.golden
    return bool(golden.rows) and golden.relative_tolerance >= _TF32_TOLERANCE


def check_settings(settings: ModelSettings, session: Session) -> None:
    """Raise LoadError where `config.pbtxt` speaks of another graph than the file's."""
    config = settings.config
    if config.max_batch_size and not session.batched:
        msg = (
            f"{CONFIG_FILE} has max_batch_size {config.max_batch_size}, but the first dimension of "
            "an input or output is fixed: export it free, or set max_batch_size to 0"
        )
        raise LoadError(msg)
    for kind, declared, specs in (
        ("input", config.input, session.inputs),
        ("output", config.output, session.outputs),
    ):
        types = {spec.name: spec.datatype for spec in specs}
        for tensor in declared:
            datatype = pb.DataType.Name(tensor.data_type).removeprefix("TYPE_")
            datatype = "BYTES" if datatype == "STRING" else datatype
            if types.get(tensor.name) != datatype:
                found = ", ".join(f"{name} {datatype}" for name, datatype in types.items())
                msg = f"{CONFIG_FILE} has {kind} '{tensor.name}' {datatype}, the graph has {found}"
                raise LoadError(msg)


def _golden_difference(
    contract: Contract, inputs: Array, expected: Array, served: Array, wrong: Array
) -> str:
    row, column = (int(index) for index in np.argwhere(wrong)[0])
    given = ", ".join(
        f"{feature.name}={value:g}"
        for feature, value in zip(contract.features, inputs[row], strict=True)
    )
    return (
        f"{int(wrong.any(axis=1).sum())} of {len(inputs)} golden rows disagree: for {given} the "
        f"model should answer {_column_names(contract)[column]}={expected[row, column]:g} and "
        f"answers {served[row, column]:g}; export the model again, or do not serve it here"
    )


def _column_names(contract: Contract) -> list[str]:
    return [
        f"{target.name}:{label}" if label else target.name
        for target in contract.targets
        for label in (target.classes or [""])
    ]


def _check_tensor(
    kind: str, name: str, tensors: dict[str, TensorSpec], width: int, columns: str
) -> None:
    spec = tensors.get(name)
    if spec is None:
        found = ", ".join(tensors) or "none"
        msg = f"the contract's {kind} '{name}' is not in the graph, which has {found}"
        raise LoadError(msg)
    if spec.datatype != "FP32" or spec.shape != (-1, width):
        msg = (
            f"the contract has {width} {columns}, so {kind} '{name}' must be FP32 of shape "
            f"[-1, {width}]; the graph has {spec.datatype} {list(spec.shape)}"
        )
        raise LoadError(msg)
