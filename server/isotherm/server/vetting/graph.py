"""What is in a model file, held against the rules; nothing of it is run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from isotherm.server.errors import LoadError
from isotherm.server.vetting.files import ExternalFiles
from isotherm.server.vetting.rules import DENIED, STANDARD_DOMAIN, Rules

_MIN_IR: Final = 3
# With every local function put in the place of its calls.
_MAX_NODES: Final = 200_000
_SHOWN: Final = 12
_FLOATS: Final = frozenset({TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16})

Function = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Scope:
    """A list of nodes with the tensors that belong to it, and how deep it lies."""

    nodes: Iterable[NodeProto]
    tensors: Iterable[TensorProto]
    sparse: bool
    depth: int


def parse(data: bytes) -> ModelProto:
    """Read a file without what lies beside it; raise LoadError when it is no model."""
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except Exception as error:
        msg = "it is cut off, nested too deeply, or no ONNX file"
        raise LoadError(msg) from error
    if not model.graph.node and not model.graph.output:
        msg = "it holds no graph: it is empty, cut off, or no ONNX file"
        raise LoadError(msg)
    return model


def check(model: ModelProto, rules: Rules, files: ExternalFiles) -> None:
    """Raise LoadError with the first thing in the file that the rules do not allow."""
    _check_header(model, rules)
    functions = {(f.domain, f.name) for f in model.functions}
    if functions and not rules.functions:
        msg = f"it has local functions ({_shown(name for _, name in functions)}): none are allowed"
        raise LoadError(msg)
    for scope in _scopes(model):
        if scope.depth > rules.max_depth:
            allowed = f"at most {rules.max_depth} levels are" if rules.max_depth else "none is"
            msg = f"it has bodies of If, Loop or Scan {scope.depth} deep: {allowed} allowed"
            raise LoadError(msg)
        if scope.sparse and not rules.external_data:
            msg = "it has sparse weights: none are allowed"
            raise LoadError(msg)
        for node in scope.nodes:
            _check_node(node, rules, functions)
        for tensor in scope.tensors:
            _check_tensor(tensor, rules, files)
    _check_expansion(model, functions)
    if rules.tables_only:
        _check_tables(model.graph)


def _check_header(model: ModelProto, rules: Rules) -> None:
    if not _MIN_IR <= model.ir_version <= onnx.IR_VERSION:
        msg = f"it has IR version {model.ir_version}, expected {_MIN_IR} to {onnx.IR_VERSION}"
        raise LoadError(msg)
    newest = onnx.defs.onnx_opset_version()
    for opset in model.opset_import:
        standard = (opset.domain or STANDARD_DOMAIN) == STANDARD_DOMAIN
        if standard and not rules.min_opset <= opset.version <= newest:
            msg = f"it has opset {opset.version}, expected {rules.min_opset} to {newest}"
            raise LoadError(msg)
    size = sum(len(entry.key) + len(entry.value) for entry in model.metadata_props)
    if size > rules.max_metadata_bytes:
        msg = f"its metadata has {size} bytes, at most {rules.max_metadata_bytes} are allowed"
        raise LoadError(msg)


def _check_node(node: NodeProto, rules: Rules, functions: set[Function]) -> None:
    domain = node.domain or STANDARD_DOMAIN
    name = f"operator {domain}.{node.op_type}"
    if domain not in rules.domains:
        if (node.domain, node.op_type) in functions:
            return
        allowed = ", ".join(sorted(rules.domains))
        more = " (--vetting-domain adds one)" if rules.ops is None else ""
        msg = f"{name} is not allowed: only operators of {allowed} are{more}"
        raise LoadError(msg)
    reason = DENIED.get((domain, node.op_type))
    if reason:
        msg = f"{name} is not allowed: {reason}"
        raise LoadError(msg)
    if rules.ops is not None and node.op_type not in rules.ops:
        msg = f"{name} is not allowed: --vetting strict takes layers of networks alone"
        raise LoadError(msg)


def _check_tensor(tensor: TensorProto, rules: Rules, files: ExternalFiles) -> None:
    if tensor.data_location == TensorProto.EXTERNAL:
        if not rules.external_data:
            msg = f"tensor '{tensor.name}' lies in another file: all must be in this one"
            raise LoadError(msg)
        entries = {entry.key: entry.value for entry in tensor.external_data}
        try:
            offset, length = int(entries.get("offset", "0")), int(entries.get("length", "0"))
        except ValueError as error:
            msg = f"tensor '{tensor.name}' has an offset or length that is no number"
            raise LoadError(msg) from error
        files.refer(tensor.name, entries.get("location", ""), offset, length)
    elif not rules.non_finite_weights and not _finite(tensor):
        msg = f"tensor '{tensor.name}' holds NaN or infinity: weights must be finite numbers"
        raise LoadError(msg)


def _finite(tensor: TensorProto) -> bool:
    if tensor.data_type not in _FLOATS:
        return True
    try:
        return bool(np.isfinite(numpy_helper.to_array(tensor)).all())
    except Exception as error:
        msg = f"tensor '{tensor.name}' has other data than its type and shape say"
        raise LoadError(msg) from error


def _check_expansion(model: ModelProto, functions: set[Function]) -> None:
    """Raise LoadError where functions call one another too often, or themselves."""
    bodies = {(f.domain, f.name): [f.node] for f in model.functions}
    sizes: dict[Function, int] = {}
    # Depth first without recursion: a file may chain more functions than Python nests calls.
    for root in bodies:
        path: list[Function] = [root]
        while path:
            callees = {
                (node.domain, node.op_type)
                for nodes in bodies[path[-1]]
                for node in _all_nodes(nodes)
            } & functions
            waiting = callees - sizes.keys()
            if waiting:
                callee = waiting.pop()
                if callee in path:
                    msg = f"its local function '{callee[1]}' calls itself"
                    raise LoadError(msg)
                path.append(callee)
                continue
            done = path.pop()
            sizes[done] = _expanded(bodies[done][0], sizes)
    total = _expanded(model.graph.node, sizes)
    if total > _MAX_NODES:
        msg = f"it has {total} nodes once its functions are put in, at most {_MAX_NODES} may be"
        raise LoadError(msg)


def _expanded(nodes: Iterable[NodeProto], sizes: dict[Function, int]) -> int:
    return sum(sizes.get((node.domain, node.op_type), 1) for node in _all_nodes(nodes))


def _check_tables(graph: GraphProto) -> None:
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in stored]
    if len(inputs) != 1:
        msg = f"it has {len(inputs)} inputs: --vetting strict takes one table of FP32"
        raise LoadError(msg)
    for value in (*inputs, *graph.output):
        kind = value.type.tensor_type
        dims = kind.shape.dim
        if kind.elem_type != TensorProto.FLOAT or len(dims) != 2 or dims[0].HasField("dim_value"):  # noqa: PLR2004
            msg = f"tensor '{value.name}' is not FP32 of shape [rows, columns], rows free"
            raise LoadError(msg)


def _scopes(model: ModelProto) -> Iterator[_Scope]:
    waiting = [(graph, 0) for graph in _graphs(model)]
    bodies: list[tuple[Iterable[NodeProto], int]] = [(f.node, 0) for f in model.functions]
    while waiting or bodies:
        if bodies:
            nodes, depth = bodies.pop()
            tensors, sparse = list[TensorProto](), False
        else:
            graph, depth = waiting.pop()
            nodes, tensors = graph.node, list(graph.initializer)
            sparse = bool(graph.sparse_initializer)
            tensors += [t for s in graph.sparse_initializer for t in (s.values, s.indices)]
        for node in nodes:
            for attribute in node.attribute:
                waiting += [(inner, depth + 1) for inner in _inner(attribute)]
                tensors += _attribute_tensors(attribute)
        yield _Scope(nodes, tensors, sparse, depth)


def _graphs(model: ModelProto) -> list[GraphProto]:
    training = [g for t in model.training_info for g in (t.initialization, t.algorithm)]
    return [model.graph, *training]


def _all_nodes(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """Yield the nodes, and those of every body inside them."""
    waiting = [nodes]
    while waiting:
        for node in waiting.pop():
            yield node
            waiting += [g.node for a in node.attribute for g in _inner(a)]


def _inner(attribute: AttributeProto) -> list[GraphProto]:
    return [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def _attribute_tensors(attribute: AttributeProto) -> list[TensorProto]:
    dense = [*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors]
    sparse = [*([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else [])]
    return dense + [t for s in (*sparse, *attribute.sparse_tensors) for t in (s.values, s.indices)]


def _shown(names: Iterable[str]) -> str:
    listed = sorted(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more
