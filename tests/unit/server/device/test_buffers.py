"""Device memory bound to a session: rows in, rows out, and nobody else's beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from isotherm.server.device.buffers import DeviceBuffers
from isotherm.server.session import Session
from tests.support import models
from tests.support.host_device import HostDevice
from tests.unit.server.device.sessions import Recorded, opener

Floats = np.ndarray


@pytest.fixture(name="device")
def _device() -> HostDevice:
    """A device that this thread works on."""
    device = HostDevice()
    device.enter()
    return device


def bound(device: HostDevice, session: Session, max_rows: int) -> tuple[DeviceBuffers, int]:
    """Return buffers on a new stream, and that."""
    stream = device.open_stream()
    buffers = DeviceBuffers(device, stream, session, max_rows)
    device.wait(stream)
    return buffers, stream


def answer(buffers: DeviceBuffers, rows: Floats, bucket: int = 0) -> Floats:
    """Run rows through the device."""
    memory = np.empty(buffers.lent_bytes(len(rows)), np.uint8)
    inputs, outputs = buffers.views(memory, len(rows))
    inputs[0][...] = rows
    buffers.send(inputs, bucket)
    if bucket:
        buffers.replay(bucket)
    else:
        buffers.run(len(rows))
    buffers.receive(outputs)
    return outputs[0]


def random(count: int, seed: int = 0) -> Floats:
    """Return rows of four numbers."""
    return np.random.default_rng(seed).standard_normal((count, 4)).astype(np.float32)


def test_rows_run_in_exactly_their_number_or_filled_up(device: HostDevice):
    """Either way they are answered as by an ordinary run."""
    session = opener()(0, True)
    buffers, _ = bound(device, session, 16)

    for seed, (count, bucket) in enumerate([(16, 0), (1, 0), (3, 4), (4, 4), (9, 16), (7, 0)]):
        rows = random(count, seed)
        np.testing.assert_allclose(answer(buffers, rows, bucket), session.run([rows])[0], rtol=1e-5)


def test_only_the_rows_travel(device: HostDevice):
    """One copy in and one out, of 3 of 16 rows."""
    buffers, _ = bound(device, opener()(0, True), 16)

    answer(buffers, random(3), 4)

    assert device.copied_in_bytes == 3 * 4 * 4
    assert device.copied_out_bytes == 3 * 3 * 4


def summing() -> Session:
    """Return a session that answers every row with the sum over all rows: what fills up shows."""
    graph = helper.make_graph(
        [
            helper.make_node("ReduceSum", ["x", "axes"], ["sum"], keepdims=1),
            helper.make_node("Mul", ["x", "zero"], ["none"]),
            helper.make_node("Add", ["none", "sum"], ["y"]),
        ],
        "summing",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [
            helper.make_tensor("axes", TensorProto.INT64, [1], [0]),
            helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    return Session(model.SerializeToString(), Path(), [("CPUExecutionProvider", {})])


def test_what_fills_a_bucket_up_is_zeros_whatever_was_there_before(device: HostDevice):
    """Of new memory, of a larger batch, of one that ran eagerly, and of one that was filled up."""
    buffers, _ = bound(device, summing(), 16)
    ones = np.ones((16, 4), np.float32)

    for count, bucket in [(3, 4), (16, 16), (3, 8), (12, 0), (2, 2), (5, 8), (1, 16), (16, 0)]:
        assert answer(buffers, ones[:count], bucket)[0, 0] == count


def test_zeros_are_written_only_where_there_were_rows(device: HostDevice):
    """A stream of equal batches pays nothing for it."""
    buffers, _ = bound(device, opener()(0, True), 1024)
    device.zeroed_bytes = 0

    for _ in range(3):
        answer(buffers, random(5), 8)
    assert device.zeroed_bytes == 0

    answer(buffers, random(8), 8)
    answer(buffers, random(5), 8)
    assert device.zeroed_bytes == 3 * 4 * 4


def test_each_bucket_has_a_graph_of_its_own(device: HostDevice):
    """ONNX Runtime does not compare shapes: an id that is used twice replays the wrong graph."""
    session = opener(kind=Recorded)(0, True)
    assert isinstance(session, Recorded)
    buffers, _ = bound(device, session, 16)

    for bucket in (4, 16, 4, 1, 16):
        answer(buffers, random(1), bucket)
    answer(buffers, random(2))

    assert session.graphs == [1, 2, 1, 3, 2, -1]


def test_several_tensors_lie_apart(device: HostDevice):
    """Each begins where devices like it, also behind rows of odd sizes."""
    session = opener(models.simple())(0, False)
    buffers, _ = bound(device, session, 3)
    memory = np.empty(buffers.lent_bytes(3), np.uint8)
    inputs, outputs = buffers.views(memory, 3)
    base = memory.ctypes.data
    for array, value in zip(inputs, (5, 2), strict=True):
        array[...] = value

    buffers.send(inputs)
    buffers.run(3)
    buffers.receive(outputs)

    assert [(array.ctypes.data - base) % 256 for array in (*inputs, *outputs)] == [0] * 4
    assert outputs[0].tolist() == [[7] * 16] * 3
    assert outputs[1].tolist() == [[3] * 16] * 3


def test_many_sizes_do_not_pile_up(device: HostDevice):
    """What is bound to each takes memory."""
    buffers, _ = bound(device, opener()(0, False), 1000)

    for count in range(1, 600):
        answer(buffers, random(count))

    assert len(buffers._bindings) <= 256


def test_closed_buffers_leave_nothing(device: HostDevice):
    """Their memory is one piece."""
    buffers, stream = bound(device, opener()(0, False), 64)
    assert device.memory()[0] == device.memory_bytes - buffers.size_bytes

    buffers.close()
    device.close_stream(stream)

    assert device.leaks == []
