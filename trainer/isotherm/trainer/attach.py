"""Attaching: an ONNX file of whatever origin gets a contract; its arithmetic stays as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx.external_data_helper import uses_external_data

from isotherm.trainer import export, foreign, objective, parity, probes
from isotherm.trainer.columns import Floats
from isotherm.trainer.data import Table
from isotherm.trainer.errors import ExportError, LayerError, RuntimeMissingError
from isotherm.trainer.foreign import Foreign, Request
from isotherm.v1 import contract_pb2 as v1

_PACKAGES: Final = ("isotherm", "numpy", "onnx")


def of_file(path: Path, table: Table, request: Request) -> Foreign:
    """Describe an ONNX file that takes and gives the table's own units.

    There is no torch module to compare with: ONNX Runtime computes the golden rows. What the
    server checks at load is then that it answers like the machine that made the contract.

    Raises:
        ExportError: it is no valid graph from [batch, features] to [batch, columns].
        LayerError: it does not fit the table.
    """
    foreign.check_sample(table)
    objective.of(table)
    model, notes = _read(path)
    source, prediction = _tensors(model, request.output)
    for tensor in (source, prediction):
        _free_axis(tensor)
        export.check_tensor(tensor)
    width = source.type.tensor_type.shape.dim[1].dim_value
    if width and width != len(table.features):
        msg = f"'{path}' takes {width} features, the sample has {len(table.features)}"
        raise LayerError(msg)
    kept = {entry.key: entry.value for entry in model.metadata_props}
    export.strip(model)
    del model.graph.value_info[:]
    export.check_graph(model)
    session = _session(model)

    def answers(x: Floats) -> Floats:
        return _run(session, source.name, prediction.name, x)

    outputs = answers(table.x)
    foreign.check_columns(outputs, table)
    prediction.type.tensor_type.shape.dim[1].dim_value = outputs.shape[1]
    if any(table.classes):
        _check_shares(outputs, table)
    runtime = f"onnxruntime {parity.runtime().__version__}"
    notes.append(f"its golden rows are the answers of {runtime}, not of torch")
    described = foreign.describe(
        table, answers, request, _PACKAGES,
        v1.Tensors(input=source.name, prediction=prediction.name),
    )  # fmt: skip
    golden = described.golden
    probes.check_independent(
        answers, table.x, absolute=golden.absolute_tolerance, relative=golden.relative_tolerance
    )
    added = foreign.properties(described, runtime, notes)
    onnx.helper.set_model_props(model, dict(sorted((kept | added).items())))
    return Foreign(
        content=model.SerializeToString(deterministic=True),
        contract=described,
        table=table,
        predictions=outputs,
        golden_by=runtime,
        notes=(*notes, *export.notes(model)),
    )


def _read(path: Path) -> tuple[onnx.ModelProto, list[str]]:
    """Return the model with all its weights inside, and what was done for that."""
    try:
        model = onnx.load(path, load_external_data=False)
        outside = any(uses_external_data(weight) for weight in model.graph.initializer)
        if outside:
            onnx.load_external_data_for_model(model, str(path.parent))
    except OSError as error:
        msg = f"cannot read '{path}': {error.strerror or error}; expected an ONNX file"
        raise LayerError(msg) from error
    # protobuf's and onnx's own errors, which share no base.
    except Exception as error:
        reason = str(error).partition("\n")[0]
        msg = f"'{path}' is no ONNX file: {reason}"
        raise LayerError(msg) from error
    if not model.graph.output:
        msg = f"'{path}' is no ONNX file with an output"
        raise LayerError(msg)
    return model, ["its weights lay in another file, and are inside now"] if outside else []


def _tensors(
    model: onnx.ModelProto, wanted: str
) -> tuple[onnx.ValueInfoProto, onnx.ValueInfoProto]:
    """Return the one input, and the output that is the prediction."""
    weights = {weight.name for weight in model.graph.initializer}
    inputs = [tensor for tensor in model.graph.input if tensor.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(tensor.name for tensor in inputs)
        msg = f"the model has {len(inputs)} inputs ({names}), expected one [batch, features]"
        raise LayerError(msg)
    outputs = {tensor.name: tensor for tensor in model.graph.output}
    name = wanted or next(iter(outputs))
    if name not in outputs:
        msg = f"the model has no output '{name}', it has {', '.join(outputs)}"
        raise LayerError(msg)
    return inputs[0], outputs[name]


def _free_axis(tensor: onnx.ValueInfoProto) -> None:
    """Give a free batch axis our name, whatever the exporter called it."""
    axes = tensor.type.tensor_type.shape.dim
    if len(axes) and axes[0].WhichOneof("value") == "dim_value":
        msg = (
            f"axis 0 of '{tensor.name}' is fixed at {axes[0].dim_value}; export the model again "
            "with a free batch axis (torch: dynamic_shapes=({0: 'batch'},))"
        )
        raise ExportError(msg)
    if len(axes):
        axes[0].dim_param = export.BATCH


def _check_shares(outputs: Floats, table: Table) -> None:
    classes = next(classes for classes in table.classes if classes)
    if outputs.shape[1] != len(classes) or not foreign.is_probabilities(outputs):
        msg = (
            "the model's outputs are no probabilities of the sample's classes "
            f"({', '.join(classes)}), and its arithmetic is not changed here; export the module "
            "instead, or name another --output"
        )
        raise LayerError(msg)


def _session(model: onnx.ModelProto) -> Any:
    try:
        return parity.session(model.SerializeToString())
    except RuntimeMissingError:
        raise
    # ONNX Runtime has an error class for each of its status codes, and no base of its own.
    except Exception as error:
        reason = str(error).partition("\n")[0]
        msg = f"ONNX Runtime cannot load the model: {reason}"
        raise ExportError(msg) from error


def _run(session: Any, source: str, prediction: str, x: Floats) -> Floats:
    try:
        (answer,) = session.run([prediction], {source: x.astype(np.float32)})
    # ONNX Runtime has an error class for each of its status codes, and no base of its own.
    except Exception as error:
        reason = str(error).partition("\n")[0]
        msg = f"ONNX Runtime cannot run the model on {len(x)} rows: {reason}"
        raise ExportError(msg) from error
    return np.asarray(answer, dtype=np.float64)
