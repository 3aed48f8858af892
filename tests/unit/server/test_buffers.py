"""Bound runs: the same answers as ordinary runs, and none where a graph has no fixed rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from isotherm.server.buffers import MAX_ROWS
from isotherm.server.errors import ExecutionError
from isotherm.server.execution import Batch, Execution, Job, Runner
from isotherm.server.session import Session
from tests.support import models
from tests.unit.server.fakes import FakeCall


def session(model: onnx.ModelProto) -> Session:
    """Load a model on the CPU."""
    return Session(model.SerializeToString(), Path(), [("CPUExecutionProvider", {})])


def rows(count: int, width: int, seed: int = 0) -> np.ndarray:
    """Return rows of random numbers."""
    return np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)


@pytest.mark.parametrize("count", [1, 2, 7, MAX_ROWS])
def test_a_bound_run_answers_as_an_ordinary_one(count: int):
    """Twice, since the second finds what the first has left."""
    loaded = session(models.mlp((4, 8, 3)))
    bound = loaded.bound(count)
    assert bound is not None

    for seed in (1, 2):
        x = rows(count, 4, seed)
        bound.inputs[0][...] = x
        bound.run()
        np.testing.assert_array_equal(bound.outputs[0], loaded.run([x])[0])
    assert loaded.bound(count) is bound


def test_several_inputs_and_outputs_each_have_a_buffer():
    """In the graph's order."""
    loaded = session(models.simple())
    bound = loaded.bound(3)
    assert bound is not None
    arrays = [np.full((3, 16), value, np.int32) for value in (5, 2)]
    for buffer, array in zip(bound.inputs, arrays, strict=True):
        buffer[...] = array

    bound.run()

    for found, expected in zip(bound.outputs, loaded.run(arrays), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("model", "count"),
    [
        (models.mlp((4, 8, 3)), MAX_ROWS + 1),
        (models.mlp((20_000, 1)), 1),
        (models.identity(), 1),
        (models.identity(TensorProto.FLOAT, ("length",)), 1),
        (models.fixed_batch(), 1),
    ],
    ids=["many rows", "long rows", "text", "rows of any length", "no batch"],
)
def test_the_rest_is_run_in_the_ordinary_way(model: onnx.ModelProto, count: int):
    """Too large to be copied for nothing, or of no size known beforehand."""
    assert session(model).bound(count) is None


def test_a_graph_that_lies_about_its_outputs_is_not_bound():
    """It computes two columns and declares three; callers get what it computes."""
    graph = helper.make_graph(
        [helper.make_node("Concat", ["x", "x"], ["y"], axis=1)],
        "lie",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
    )
    loaded = session(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))

    assert loaded.bound(1) is None
    assert loaded.bound(2) is None
    assert loaded.run([np.ones((2, 1), np.float32)])[0].shape == (2, 2)


def test_after_a_spike_one_run_is_ordinary():
    """Only such a run can give the memory back."""
    loaded = session(models.mlp((256, 8)))
    loaded.run([rows(1 << 13, 256)])

    bound = [loaded.bound(1) is not None for _ in range(100)]

    assert bound.count(False) == 1


def batch(*arrays: np.ndarray) -> Batch:
    """Return a batch of one job an array."""
    jobs = [Job([array], len(array), FakeCall(), 0) for array in arrays]
    return Batch(jobs, sum(map(len, arrays)), 0)


def execution(loaded: Session) -> Execution:
    """Return the execution of a model whose batches are always inline."""
    return Execution(Runner(run=loaded.run, inline=lambda _rows: True, bound=loaded.bound), 1024)


def test_an_inline_batch_is_assembled_in_the_buffers():
    """Of one job or of several, wherever their tensors lie in their messages."""
    loaded = session(models.mlp((4, 8, 3)))
    unaligned = np.frombuffer(b"?" + rows(2, 4, 3).tobytes(), np.float32, 8, 1).reshape(2, 4)
    execute = execution(loaded)

    for arrays in ([rows(1, 4)], [rows(1, 4), unaligned, rows(3, 4, 5)]):
        (result,) = execute(batch(*arrays), inline=True)
        expected = loaded.run([np.concatenate(arrays)])[0]
        np.testing.assert_array_equal(result.outputs[0], expected)
        assert result.run_ns > 0


def test_when_an_inline_batch_fails_the_others_keep_their_own_answers():
    """They are all answered after the last has run: no two may share a buffer."""
    loaded = session(models.lookup())
    execute = execution(loaded)
    arrays = [np.array([[index]], np.int64) for index in (1, 99, 2)]

    one, failed, two = execute(batch(*arrays), inline=True)

    assert isinstance(failed.error, ExecutionError)
    for result, array in ((one, arrays[0]), (two, arrays[2])):
        np.testing.assert_array_equal(result.outputs[0], loaded.run([array])[0])
    assert one.outputs[0].tobytes() != two.outputs[0].tobytes()
