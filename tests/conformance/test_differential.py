"""The same requests, good and bad, to a real Triton and to ours: codes and bytes must be the same.

Every difference that is meant is listed in `DIFFERENCES`, with its reason.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from isotherm.v1 import open_inference_pb2 as pb
from tests.support import models, triton
from tests.support.rpc import call, infer_request
from tests.support.server import serving

MAX_BATCH_SIZE = 8
EXAMPLES = 2000

# (status code, outputs by name: datatype, shape, bytes)
Outcome = tuple[str, dict[str, tuple[str, tuple[int, ...], bytes]]]
Request = pb.ModelInferRequest


@dataclass(frozen=True, slots=True)
class Pair:
    """Channels to both servers."""

    triton: grpc.Channel
    ours: grpc.Channel


@pytest.fixture(name="pair", scope="module")
def _pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Both servers over the same ONNX files."""
    folder = tmp_path_factory.mktemp("differential")
    files = {
        "doubling": models.doubling(),
        "wide": models.mlp((4, 8, 3)),
        "simple": models.simple(),
        "half": models.identity(TensorProto.FLOAT16, (2,)),
        "long": models.identity(TensorProto.INT64, (2,)),
        "flag": models.identity(TensorProto.BOOL, (3,)),
    }
    for name, model in files.items():
        models.publish(folder / "ours", name, model)
        (folder / "ours" / name / "config.pbtxt").write_text(f"max_batch_size: {MAX_BATCH_SIZE}")
    with serving(folder / "ours") as server, grpc.insecure_channel(server.address) as ours:
        for name, model in files.items():
            config = call(ours, "ModelConfig", pb.ModelConfigRequest(name=name)).config
            triton.publish(folder / "triton", config, model.SerializeToString())
        with (
            triton.triton(folder / "triton") as (address, _),
            grpc.insecure_channel(address) as theirs,
        ):
            yield Pair(theirs, ours)


def outcome(channel: grpc.Channel, request: Request) -> Outcome:
    """Return what a server makes of a request."""
    try:
        response = call(channel, "ModelInfer", request, timeout=20)
    except grpc.RpcError as error:
        assert isinstance(error, grpc.Call)
        return error.code().name, {}
    return "OK", {
        output.name: (output.datatype, tuple(output.shape), raw)
        for output, raw in zip(response.outputs, response.raw_output_contents, strict=True)
    }


INPUTS: dict[str, dict[str, tuple[Any, tuple[int, ...]]]] = {
    "doubling": {"x": (np.float32, (1,))},
    "wide": {"x": (np.float32, (4,))},
    "simple": {"INPUT0": (np.int32, (16,)), "INPUT1": (np.int32, (16,))},
    "half": {"INPUT0": (np.float16, (2,))},
    "long": {"INPUT0": (np.int64, (2,))},
    "flag": {"INPUT0": (np.bool_, (3,))},
}
FIELDS = {
    np.float32: "fp32_contents",
    np.int32: "int_contents",
    np.int64: "int64_contents",
    np.bool_: "bool_contents",
}


@st.composite
def good_requests(draw: Any) -> Request:
    """A request that nothing is wrong with."""
    model = draw(st.sampled_from(sorted(INPUTS)))
    rows = draw(st.integers(1, MAX_BATCH_SIZE))
    arrays = {
        name: np.asarray(
            draw(
                st.lists(
                    st.integers(0, 100),
                    min_size=int(np.prod((rows, *tail))),
                    max_size=int(np.prod((rows, *tail))),
                )
            ),
            kind,
        ).reshape(rows, *tail)
        for name, (kind, tail) in INPUTS[model].items()
    }
    request = infer_request(model, **arrays)
    if draw(st.booleans()) and model != "half":
        request.ClearField("raw_input_contents")
        for tensor, (name, (kind, _)) in zip(request.inputs, INPUTS[model].items(), strict=True):
            values = arrays[name].ravel().tolist()
            getattr(tensor.contents, FIELDS[kind]).extend(values)
    request.model_version = draw(st.sampled_from(["", "1"]))
    request.id = draw(st.sampled_from(["", "an id"]))
    return request


Mutation = Callable[[Any, Request], None]


def _tensor(draw: Any, request: Request) -> Any:
    return draw(st.sampled_from(list(request.inputs))) if request.inputs else None


def mutate_model(draw: Any, request: Request) -> None:
    """Another name, or another version."""
    request.model_name = draw(st.sampled_from([request.model_name, "nobody", ""]))
    request.model_version = draw(st.sampled_from(["", "1", "2", "99", "0", "abc", "-1"]))


def mutate_inputs(draw: Any, request: Request) -> None:
    """An input too many, too few, twice, or under another name."""
    tensor = _tensor(draw, request)
    kind = draw(st.sampled_from(["rename", "drop", "double", "extra"]))
    if tensor is None:
        return
    if kind == "rename":
        tensor.name = draw(st.sampled_from(["z", "", "X"]))
    elif kind == "drop":
        del request.inputs[-1]
        if request.raw_input_contents:
            del request.raw_input_contents[-1]
    else:
        copy = request.inputs.add()
        copy.CopyFrom(tensor)
        if kind == "extra":
            copy.name = "extra"
        if request.raw_input_contents:
            request.raw_input_contents.append(request.raw_input_contents[0])


def mutate_datatype(draw: Any, request: Request) -> None:
    """A type that is not the input's."""
    tensor = _tensor(draw, request)
    if tensor is not None:
        names = ["FP32", "FP64", "INT32", "INT64", "UINT8", "BOOL", "fp32", "STRING", "", "FOO"]
        tensor.datatype = draw(st.sampled_from(names))


def mutate_shape(draw: Any, request: Request) -> None:
    """Another width, rank or sign."""
    tensor = _tensor(draw, request)
    if tensor is None or not tensor.shape:
        return
    rows, *tail = tensor.shape
    shapes: list[list[int]] = [[], [rows], tail, [rows, *tail, 1], [1, rows, *tail], [-1, *tail]]
    shapes += [[rows + 1, *tail], [rows, *tail[:-1], 5], [1 << 62, *tail]]
    tensor.shape[:] = draw(st.sampled_from(shapes))


def mutate_data(draw: Any, request: Request) -> None:
    """Bytes or elements that do not fit."""
    if request.raw_input_contents:
        _mutate_raw(draw, request)
        return
    tensor = _tensor(draw, request)
    if tensor is None:
        return
    kind = draw(st.sampled_from(["none", "other", "more"]))
    if kind != "more":
        tensor.ClearField("contents")
    if kind == "other":
        tensor.contents.fp64_contents.append(1.0)
    for field in FIELDS.values():
        values = getattr(tensor.contents, field)
        if values:
            values.append(values[0])


def _mutate_raw(draw: Any, request: Request) -> None:
    raw = request.raw_input_contents
    kind = draw(st.sampled_from(["short", "long", "empty", "none", "surplus", "both"]))
    if kind == "none":
        request.ClearField("raw_input_contents")
    elif kind == "surplus":
        raw.append(b"")
    elif kind == "both":
        request.inputs[0].contents.fp32_contents.append(1.0)
    else:
        raw[0] = {"short": raw[0][:-1], "long": raw[0] + b"\0", "empty": b""}[kind]


def mutate_outputs(draw: Any, request: Request) -> None:
    """Some outputs, unknown ones, doubles, classes."""
    names = {"doubling": ["y"], "wide": ["y"], "simple": ["OUTPUT0", "OUTPUT1"]}
    known = names.get(request.model_name, ["OUTPUT0"])
    for name in draw(st.lists(st.sampled_from([*known, *known, "q"]), min_size=1, max_size=3)):
        output = request.outputs.add(name=name)
        if draw(st.booleans()):
            count = draw(st.sampled_from([-1, 0, 1, 2, 50]))
            output.parameters["classification"].int64_param = count


def mutate_parameters(draw: Any, request: Request) -> None:
    """Parameters of every name and type."""
    name = draw(
        st.sampled_from(
            ["priority", "timeout", "sequence_start", "triton_made_up", "mine", "binary_data"]
        )
    )
    kind, value = draw(
        st.sampled_from(
            [
                ("int64_param", 5_000_000),
                ("uint64_param", 1),
                ("bool_param", True),
                ("string_param", "text"),
                ("double_param", 0.5),
            ]
        )
    )
    setattr(request.parameters[name], kind, value)


def mutate_rows(draw: Any, request: Request) -> None:
    """More rows than one batch takes, or none."""
    kind, tail = next(iter(INPUTS[request.model_name].values()), (np.float32, (1,)))
    if len(request.inputs) != 1 or not request.raw_input_contents:
        return
    rows = draw(st.sampled_from([0, MAX_BATCH_SIZE + 1, 30]))
    request.inputs[0].shape[:] = [rows, *tail]
    request.raw_input_contents[0] = np.zeros((rows, *tail), kind).tobytes()


MUTATIONS: list[Mutation] = [
    mutate_model,
    mutate_inputs,
    mutate_datatype,
    mutate_shape,
    mutate_data,
    mutate_outputs,
    mutate_parameters,
]


@st.composite
def requests(draw: Any) -> Request:
    """A good request, with nothing, one thing or two things wrong."""
    request: Request = draw(good_requests())
    if draw(st.integers(0, 7)) == 0:
        mutate_rows(draw, request)
        return request
    for mutation in draw(st.lists(st.sampled_from(MUTATIONS), max_size=2)):
        mutation(draw, request)
    return request


Predicate = Callable[[Request, Outcome, Outcome], bool]


def _rows(request: Request) -> list[int]:
    return [tensor.shape[0] for tensor in request.inputs if tensor.shape]


# What is meant to differ: the reason, and when.
DIFFERENCES: dict[str, Predicate] = {
    "a request larger than a batch runs in slices": lambda request, theirs, ours: (
        max(_rows(request), default=0) > MAX_BATCH_SIZE
        and (theirs[0], ours[0]) == ("INVALID_ARGUMENT", "OK")
    ),
    "surplus raw contents are refused: the protocol forbids them": lambda request, theirs, ours: (
        len(request.raw_input_contents) > len(request.inputs)
        and (theirs[0], ours[0]) == ("OK", "INVALID_ARGUMENT")
    ),
    "an output asked for twice is refused, as in newer Tritons": lambda request, theirs, ours: (
        len({output.name for output in request.outputs}) < len(request.outputs)
        and (theirs[0], ours[0]) == ("OK", "INVALID_ARGUMENT")
    ),
}


@pytest.mark.slow
def test_every_difference_from_triton_is_meant(pair: Pair) -> None:
    """Several hundred generated requests; the meant differences are seen to be real, too."""
    seen: collections.Counter[str] = collections.Counter()
    unmeant: list[str] = []

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(requests())
    def compare(request: Request) -> None:
        theirs, ours = outcome(pair.triton, request), outcome(pair.ours, request)
        if theirs == ours:
            seen[f"same: {ours[0]}"] += 1
            return
        reasons = [why for why, meant in DIFFERENCES.items() if meant(request, theirs, ours)]
        seen.update(reasons)
        if not reasons:
            unmeant.append(f"{theirs} against {ours} for {request}")

    compare()

    print(dict(seen))
    assert unmeant == [], f"{len(unmeant)} differences: {unmeant[0]}"
    assert seen["same: OK"] > EXAMPLES / 10
    assert seen["same: INVALID_ARGUMENT"] > EXAMPLES / 10
    assert set(DIFFERENCES) <= set(seen)
