"""One ONNX Runtime session: what it says of the graph, and running it."""

from __future__ import annotations

import contextlib
import gc
import os
import weakref
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from isotherm.server import session as session_module
from isotherm.server.device.probe import CUDA
from isotherm.server.errors import LoadError
from isotherm.server.providers import CPU
from isotherm.server.runtime import ort
from isotherm.server.session import Session, Spikes, TensorSpec, reason
from isotherm.v1.tensors import DTYPES
from tests.support import models
from tests.unit.server.fakes import session


def graph(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
) -> onnx.ModelProto:
    """Return a model that is not checked."""
    model = helper.make_model(
        helper.make_graph(nodes, "graph", inputs, outputs),
        opset_imports=[helper.make_opsetid("", 20)],
    )
    model.ir_version = 10
    return model


def resident_bytes() -> int:
    """Return the memory of this process that is in use."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def run_rows(loaded: Session, rows: int) -> None:
    """Run so many rows of zeros, and let go of the answer."""
    loaded.run([np.zeros((rows, loaded.inputs[0].shape[1]), np.float32)])


def spike() -> tuple[int, int]:
    """Run one batch of 100 MB among small ones; return what is held after it, and in the end."""
    loaded = session(models.mlp((64, 256, 256, 8)))
    for _ in range(8):
        run_rows(loaded, 64)
    before = resident_bytes()
    run_rows(loaded, 100_000)
    held = resident_bytes() - before
    run_rows(loaded, 64)
    return held, resident_bytes() - before


def test_the_memory_of_a_spike_is_given_back():
    """The runtime keeps what a run took; the run after it gives it back."""
    # In a process of its own: what other tests have freed would be taken again without a trace.
    with get_context("spawn").Pool(1) as pool:
        held, left = pool.apply(spike)

    assert held > 64 << 20
    assert left < 16 << 20


def test_memory_that_every_run_needs_is_kept_until_none_does():
    """Giving it back each time would cost more than it is worth."""
    spikes = Spikes()
    large, small = 1 << 23, 64
    while_needed = [spikes.over(one) for _ in range(20) for one in (large, large, small)]
    afterwards = [spikes.over(small) for _ in range(100)]

    assert sum(while_needed) <= 2
    assert sum(afterwards) == 1


def test_small_runs_are_never_a_spike():
    """Less than some megabytes is not worth a thought."""
    spikes = Spikes()

    assert not any(spikes.over(size) for size in (1, 1 << 21, 1, 1 << 20))


def test_the_signature_is_the_graphs():
    """Names, datatypes and shapes in the graph's order; a free dimension is -1."""
    loaded = session(models.simple())

    assert loaded.inputs == (
        TensorSpec("INPUT0", "INT32", (-1, 16)),
        TensorSpec("INPUT1", "INT32", (-1, 16)),
    )
    assert loaded.outputs == (
        TensorSpec("OUTPUT0", "INT32", (-1, 16)),
        TensorSpec("OUTPUT1", "INT32", (-1, 16)),
    )
    assert loaded.providers == (CPU,)


@pytest.mark.parametrize(
    ("elem_type", "datatype"),
    [
        (TensorProto.BOOL, "BOOL"),
        (TensorProto.UINT8, "UINT8"),
        (TensorProto.UINT16, "UINT16"),
        (TensorProto.UINT32, "UINT32"),
        (TensorProto.UINT64, "UINT64"),
        (TensorProto.INT8, "INT8"),
        (TensorProto.INT16, "INT16"),
        (TensorProto.INT32, "INT32"),
        (TensorProto.INT64, "INT64"),
        (TensorProto.FLOAT16, "FP16"),
        (TensorProto.FLOAT, "FP32"),
        (TensorProto.DOUBLE, "FP64"),
    ],
)
def test_every_datatype_goes_in_and_comes_out(elem_type: int, datatype: str):
    """The protocol's name, and the values unchanged."""
    loaded = session(models.identity(elem_type, (2,)))
    given = np.array([[0, 1], [1, 0]]).astype(DTYPES[datatype])
    (answer,) = loaded.run([given])

    assert loaded.inputs == (TensorSpec("INPUT0", datatype, (-1, 2)),)
    assert answer.dtype == given.dtype
    assert answer.tolist() == given.tolist()


def test_text_goes_in_and_comes_out_as_text():
    """The runtime knows only Unicode strings."""
    loaded = session(models.identity())
    (answer,) = loaded.run([np.array([["grün"], [""]], np.object_)])

    assert loaded.inputs[0].datatype == "BYTES"
    assert answer.tolist() == [["grün"], [""]]


def test_a_free_first_dimension_everywhere_makes_a_model_batched():
    """Otherwise the rows of several requests cannot run together."""
    two_rows = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 1]) for name in "xy"]
    free_in = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1])
    scalar = helper.make_tensor_value_info("y", TensorProto.FLOAT, [])
    total = helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)
    copy = helper.make_node("Identity", ["x"], ["y"])
    found = [
        session(models.mlp()).batched,
        session(models.fixed_batch()).batched,
        session(graph([copy], [two_rows[0]], [two_rows[1]])).batched,
        session(graph([total], [free_in], [scalar])).batched,
    ]

    assert found == [True, False, False, False]


def test_the_metadata_is_the_files():
    """That is where a contract lies."""
    model = models.doubling()
    helper.set_model_props(model, {"key": "value"})

    assert session(model).metadata == {"key": "value"}


@pytest.mark.parametrize("data", [b"", b"no model", b"\xff" * 100, b'{"json": true}'])
def test_bytes_that_are_no_model_are_a_load_error_of_one_sentence(data: bytes):
    """The runtime's reason, without its prefixes."""
    with pytest.raises(LoadError) as error:
        Session(data, Path(), [(CPU, {})])

    assert str(error.value)
    assert "\n" not in str(error.value)
    assert "ONNXRuntimeError" not in str(error.value)


def test_an_unknown_operator_is_named():
    """One sentence again."""
    node = helper.make_node("NoSuchOperator", ["x"], ["y"])
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    with pytest.raises(LoadError, match="NoSuchOperator") as error:
        session(graph([node], [values[0]], [values[1]]))

    assert "\n" not in str(error.value)


def test_a_tensor_that_the_protocol_cannot_carry_is_refused():
    """A sequence of tensors has no datatype."""
    output = helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)
    node = helper.make_node("SequenceConstruct", ["x"], ["y"])
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1])
    with pytest.raises(LoadError) as error:
        session(graph([node], [given], [output]))

    assert str(error.value) == (
        "tensor 'y' has type seq(tensor(float)), which the protocol cannot carry"
    )


def test_a_session_that_is_refused_is_closed_at_once(monkeypatch: pytest.MonkeyPatch):
    """Not when its error is forgotten: its stream is closed before that."""
    opened: list[weakref.ref[Any]] = []

    def noted(*arguments: Any, **options: Any) -> Any:
        session = inference_session(*arguments, **options)
        opened.append(weakref.ref(session._sess))
        return session

    inference_session = ort.InferenceSession
    monkeypatch.setattr(ort, "InferenceSession", noted)
    output = helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)
    node = helper.make_node("SequenceConstruct", ["x"], ["y"])
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1])

    gc.disable()
    try:
        session(graph([node], [given], [output]))
    except LoadError:
        assert [one() for one in opened] == [None]
    finally:
        gc.enable()
    assert opened


def test_weights_beside_the_file_are_found(tmp_path: Path):
    """External data is looked for in the version's folder."""
    weight = numpy_helper.from_array(np.full((1, 1), 3, np.float32), "w")
    model = graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 1])],
    )
    model.graph.initializer.append(weight)
    path = tmp_path / "model.onnx"
    onnx.save_model(
        model, str(path), save_as_external_data=True, location="weights", size_threshold=0
    )
    (answer,) = Session(path.read_bytes(), tmp_path, [(CPU, {})]).run([np.ones((2, 1), "f4")])

    assert (tmp_path / "weights").is_file()
    assert answer.tolist() == [[3], [3]]


def test_a_failed_run_raises():
    """The runtime must not repeat it elsewhere in silence."""
    with pytest.raises(Exception, match="indices element out of data bounds"):
        session(models.lookup()).run([np.array([[9]])])


def test_what_cuda_says_is_cut_out_of_its_surroundings():
    """The runtime puts files, types and the host's name around it: no caller's business."""
    call = (
        "/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_call.cc:154 conditional_t<THRW, "
        "void, onnxruntime::common::Status> onnxruntime::CudaCall(ERRTYPE, const char*, int) [with "
        "ERRTYPE = cudaError; std::conditional_t<THRW, void, common::Status> = void] "
    )
    rest = (
        " ; GPU=0 ; hostname=secret ; file=/src/cuda_allocator.cc ; line=70 ; expr=cudaMalloc(); \n"
    )
    for text in ("CUDA failure 700: an illegal memory access", "CUBLAS failure 13: x_FAILED"):
        assert reason(RuntimeError(call + text + rest)) == text
    assert reason(RuntimeError("[ONNXRuntimeError] : 1 : FAIL : no CUDA failure here")) == (
        "no CUDA failure here"
    )


class Asked:
    """A runtime's session that notes with which options it is run, and may know no arenas."""

    def __init__(self) -> None:
        self.options: list[dict[str, str]] = []
        self.arenas = True

    def run(self, names: list[str], feed: dict[str, np.ndarray], options: Any) -> list[Any]:
        found = {}
        for key in ("gpu_graph_id", "memory.enable_memory_arena_shrinkage"):
            with contextlib.suppress(RuntimeError):
                found[key] = options.get_run_config_entry(key) if options is not None else ""
        self.options.append({key: value for key, value in found.items() if value})
        if not self.arenas and "memory.enable_memory_arena_shrinkage" in self.options[-1]:
            msg = "Did not find an arena based allocator registered for device-id"
            raise RuntimeError(msg)
        return [np.zeros((1, 1), np.float32)]


def asked(**options: str) -> tuple[Session, Asked]:
    """Return a session with options of CUDA's, and what notes what it asks the runtime for."""
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"):
        loaded = Session(
            models.doubling().SerializeToString(), Path(), [(CUDA, options), (CPU, {})]
        )
    runtime = Asked()
    loaded._session = runtime
    return loaded, runtime


def test_ordinary_runs_are_never_captured_where_others_are():
    """They have other buffers each time, which a graph would not know; and memory must stay."""
    loaded, runtime = asked(enable_cuda_graph="1", device_id="3")

    loaded.run([np.zeros((1, 1), np.float32)])
    loaded.shrink([np.zeros((1, 1), np.float32)])

    assert loaded.captures
    assert runtime.options == [{"gpu_graph_id": "-1"}] * 2


def test_memory_is_given_back_on_the_device_that_has_it():
    """By its number."""
    loaded, runtime = asked(device_id="3")

    loaded.shrink([np.zeros((1, 1), np.float32)])

    assert not loaded.captures
    assert runtime.options == [{"memory.enable_memory_arena_shrinkage": "cpu:0;gpu:3"}]


def test_a_run_does_not_fail_because_memory_cannot_be_given_back(
    caplog: pytest.LogCaptureFixture,
):
    """It is answered, and nobody tries again."""
    loaded, runtime = asked()
    runtime.arenas = False
    for _ in range(2):
        loaded.shrink([np.zeros((1, 1), np.float32)])

    assert runtime.options == [
        {"memory.enable_memory_arena_shrinkage": "cpu:0;gpu:0"},
        {},
        {},
    ]
    (record,) = caplog.records
    assert "Did not find an arena" in record.getMessage()


def test_a_model_that_fails_beside_a_spike_fails_as_ever(caplog: pytest.LogCaptureFixture):
    """And memory is given back by the next run that is due to."""
    loaded = session(models.lookup())

    for index in (99, 99):
        loaded._spike_over = True
        with pytest.raises(Exception, match="indices element out of data bounds"):
            loaded.run([np.array([[index]], np.int64)])

    assert loaded._shrinking is not loaded._ordinary
    assert not caplog.records


@pytest.mark.parametrize(
    ("providers", "refused"), [([CUDA], "1"), ([CUDA, CPU], None), ([CPU], None)], ids=str
)
def test_cuda_alone_means_every_part_of_the_graph(providers: list[str], refused: str | None):
    """Where it is asked for by name, nothing runs on the CPU in silence."""
    options = session_module._options(Path(), 1, [(name, {}) for name in providers])

    found = None
    with contextlib.suppress(RuntimeError):
        found = options.get_session_config_entry("session.disable_cpu_ep_fallback")
    assert found == refused


def test_the_runtime_repeats_nothing_on_the_cpu():
    """Neither a load that fails, nor a run."""
    assert session(models.doubling())._session._enable_fallback is False
