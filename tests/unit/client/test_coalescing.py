"""Callers who ask at the same time share requests: who does, who does not, and what each gets."""

from __future__ import annotations

from concurrent.futures import wait

import numpy as np
import pytest

from isotherm.client import IsothermError, Prediction
from isotherm.v1 import contract as contracts
from isotherm.v1.contract_pb2 import NON_FINITE_ACCEPT
from tests.unit.client.conftest import Connect
from tests.unit.client.driving import MOST_HELD, PATIENCE_S, Gate
from tests.unit.client.linear import LinearModel, LinearServer, thermometer_contract
from tests.unit.client.sharing import known, row, rows_of

WIDE = 20_000


pytestmark = pytest.mark.usefixtures("patient")


def test_callers_who_come_while_a_request_is_out_share_the_next(
    connect: Connect, server: LinearServer, gate: Gate
) -> None:
    """Their rows travel in the order of their coming, and each gets its own back."""
    driver = known(server, connect(), "plane", row(0))
    first = driver.predict("plane", row(1))
    gate.wait_for(1)
    others = [
        driver.predict("plane", [[n, 10 * n, 0] for n in range(begin, end)])
        for begin, end in ((2, 3), (3, 5), (5, 8), (8, 9))
    ]
    gate.open()
    answers = [future.result(PATIENCE_S) for future in others]

    assert [[1]] == first.result(PATIENCE_S).tolist()
    assert [[22]] == answers[0].tolist()
    assert [[33], [44]] == answers[1].tolist()
    assert [[55], [66], [77]] == answers[2].tolist()
    assert [[88]] == answers[3].tolist()
    assert rows_of(server) == [row(1), [[n, 10 * n, 0] for n in range(2, 9)]]
    assert not any(answer.flags.writeable for answer in answers)


def test_a_caller_whom_nobody_meets_is_sent_at_once_and_alone(
    connect: Connect, server: LinearServer
) -> None:
    """Idle clients delay nobody."""
    driver = known(server, connect(), "plane", row(0))
    for number in range(5):
        assert driver.ask("predict", "plane", row(number)).item() == number

    assert rows_of(server) == [row(number) for number in range(5)]


def test_without_coalescing_each_caller_has_a_request_of_its_own(
    connect: Connect, server: LinearServer, gate: Gate
) -> None:
    """All of them are on their way at the same time."""
    driver = known(server, connect(coalesce=False), "plane", row(0))
    futures = [driver.predict("plane", row(number)) for number in range(MOST_HELD)]
    gate.wait_for(MOST_HELD)
    gate.open()

    assert list(range(MOST_HELD)) == [future.result(PATIENCE_S).item() for future in futures]
    assert sorted(rows_of(server)) == [row(number) for number in range(MOST_HELD)]


def test_merged_requests_hold_no_more_rows_than_the_model_takes(
    connect: Connect, server: LinearServer, gate: Gate
) -> None:
    """Those for whom there is no room go with the next, and nobody is overtaken."""
    driver = known(server, connect(), "plane", row(0))
    sizes = np.random.default_rng(7).integers(1, 6, 40).tolist()
    starts = np.cumsum([0, *sizes]).tolist()
    everything = [[float(n), 0.0, 0.0] for n in range(starts[-1])]
    futures = [driver.predict("plane", everything[:1])]
    gate.wait_for(1)
    futures = [
        driver.predict("plane", everything[start : start + size])
        for start, size in zip(starts, sizes, strict=False)
    ]
    gate.open()
    answers = [future.result(PATIENCE_S) for future in futures]
    expected: list[int] = []
    for size in sizes:
        if expected and expected[-1] + size <= 8:
            expected[-1] += size
        else:
            expected.append(size)
    requests = rows_of(server)[1:]

    assert np.concatenate(answers).ravel().tolist() == list(range(starts[-1]))
    assert [one for rows in requests for one in rows] == everything
    assert expected == [len(rows) for rows in requests]


def test_outputs_of_several_names_are_shared_out_as_well(
    connect: Connect, server: LinearServer, gate: Gate
) -> None:
    """Each caller gets a Prediction of its own rows."""
    driver = known(server, connect(), "line", [32.0])
    futures = [driver.predict("line", [32.0])]
    gate.wait_for(1)
    futures = [driver.predict("line", [32 + 1.8 * n, 32 - 1.8 * n]) for n in range(4)]
    gate.open()

    for number, future in enumerate(futures):
        prediction = future.result(PATIENCE_S)
        assert isinstance(prediction, Prediction)
        assert list(prediction) == ["y", "lower", "upper"]
        for name, shift in (("y", 0.0), ("lower", -1.5), ("upper", 1.5)):
            expected = [[number + shift], [-number + shift]]
            np.testing.assert_allclose(prediction[name], expected, atol=1e-4)
    assert [1, 8] == [len(rows) for rows in rows_of(server)]


def test_chosen_outputs_are_shared_among_those_who_chose_the_same(
    connect: Connect, server: LinearServer, gate: Gate
) -> None:
    """In the order that they asked for."""
    driver = known(server, connect(), "line", [32.0])
    chosen = {"outputs": ["upper", "y"]}
    driver.predict("line", [32.0], **chosen)
    gate.wait_for(1)
    futures = [driver.predict("line", [32 + 1.8 * n], **chosen) for n in range(4)]
    gate.open()
    predictions = [future.result(PATIENCE_S) for future in futures]

    assert [["upper", "y"]] * 4 == [list(prediction) for prediction in predictions]
    np.testing.assert_allclose([each.y.item() for each in predictions], range(4), atol=1e-4)
    assert len(server.requests) == 2


def test_several_inputs_travel_side_by_side(
    connect: Connect, server: LinearServer, gate: Gate
) -> None:
    """Each tensor is put together by itself."""
    driver = known(server, connect(), "two", {"a": [[0.0, 0.0]], "b": [[0]]})
    driver.predict("two", {"a": [[0.0, 0.0]], "b": [[0]]})
    gate.wait_for(1)
    futures = [driver.predict("two", {"b": [[n]], "a": [[n, 100.0]]}) for n in range(5)]
    gate.open()
    predictions = [future.result(PATIENCE_S) for future in futures]

    assert [2 * n + 100 for n in range(5)] == [each.total.item() for each in predictions]
    assert list(range(5)) == [each["count"].item() for each in predictions]
    assert len(server.requests) == 2


def test_what_is_cast_travels_with_what_needs_no_cast(
    connect: Connect, server: LinearServer, gate: Gate
) -> None:
    """The rows are as the model takes them before they meet."""
    driver = known(server, connect(), "plane", row(0))
    driver.predict("plane", row(0))
    gate.wait_for(1)
    futures = [
        driver.predict("plane", x)
        for x in (
            np.array(row(1), np.float32),
            np.array(row(2), np.float64),
            np.array(row(3), np.int8),
            np.asfortranarray(np.array([[4, 0, 0], [5, 0, 0]], np.float32)),
            row(6),
        )
    ]
    gate.open()
    answers = np.concatenate([future.result(PATIENCE_S) for future in futures])

    assert [1, 2, 3, 4, 5, 6] == answers.ravel().tolist()
    assert len(server.requests) == 2


def _variable() -> LinearModel:
    return LinearModel(
        [("x", "FP32", (-1, -1))],
        [("y", "FP32", (-1, 1))],
        lambda x: [x.sum(axis=1, keepdims=True)],
    )


def _broad() -> LinearModel:
    return LinearModel([("x", "FP32", (-1, WIDE))], [("y", "FP32", (-1, 1))], lambda x: [x[:, :1]])


def _long() -> LinearModel:
    return LinearModel(
        [("x", "FP32", (-1, 3))], [("y", "FP32", (-1, 1))], lambda x: [x[:, :1]], max_batch_size=512
    )


@pytest.mark.parametrize(
    ("model", "x"),
    [
        pytest.param("plane", [row(1) * 9, row(2) * 9], id="more rows than the model takes"),
        pytest.param("long", [row(1) * 65, row(2) * 65], id="many rows"),
        pytest.param("broad", [np.ones((1, WIDE))] * 2, id="wide rows"),
        pytest.param("variable", [[[1.0, 2.0]], [[1.0, 2.0]]], id="rows of any width"),
        pytest.param("echo", [[["a"]], [["b"]]], id="texts"),
        pytest.param("plane", [np.empty((0, 3))] * 2, id="no rows"),
    ],
)
def test_what_cannot_be_shared_travels_alone(
    connect: Connect, server: LinearServer, gate: Gate, model: str, x: list[object]
) -> None:
    """At once, whatever else is on its way."""
    server.models |= {"variable": _variable(), "broad": _broad(), "long": _long()}
    driver = known(server, connect(), model, x[0])
    futures = [driver.call("predict", model, each) for each in x]
    gate.wait_for(2)
    gate.open()
    wait(futures, PATIENCE_S)

    assert [future.exception() for future in futures] == [None, None]
    assert len(server.requests) == 2


@pytest.mark.parametrize("config", ["of no batches", "absent"])
def test_a_model_of_which_nobody_says_that_it_takes_batches_gets_each_request_as_it_is(
    connect: Connect, server: LinearServer, gate: Gate, config: str
) -> None:
    """Rows may depend on each other there."""
    server.models["plane"].max_batch_size = 0
    if config == "absent":
        server.absent.add("ModelConfig")
    driver = known(server, connect(), "plane", row(0))
    futures = [driver.call("predict", "plane", row(n)) for n in range(3)]
    gate.wait_for(3)
    gate.open()

    assert [0, 1, 2] == [future.result(PATIENCE_S).item() for future in futures]
    assert len(server.requests) == 3


def test_inputs_that_the_server_does_not_describe_are_not_mixed_up(
    connect: Connect, server: LinearServer, gate: Gate
) -> None:
    """Their names and types are each caller's own."""
    driver = known(server, connect(), "bare", {"a": [[0.0]]})
    driver.predict("bare", {"a": [[0.0]]})
    gate.wait_for(1)
    futures = [
        driver.predict("bare", x)
        for x in ({"a": [[1.0]]}, {"b": np.array([[2]], np.int32)}, {"c": [[3.0]]})
    ]
    gate.open()

    assert [2, 4, 6] == [future.result(PATIENCE_S).item() for future in futures]
    assert sorted(
        (tensor.name, tensor.datatype) for request in server.requests for tensor in request.inputs
    ) == [("a", "FP64"), ("a", "FP64"), ("b", "INT32"), ("c", "FP64")]


def test_no_arrays_for_a_model_that_describes_no_inputs_are_sent_as_they_are(
    connect: Connect, server: LinearServer
) -> None:
    """The server says what it thinks of that."""
    driver = known(server, connect(), "bare", {"a": [[0.0]]})
    with pytest.raises(IsothermError):
        driver.ask("predict", "bare", {})


def test_inputs_of_unequal_length_travel_alone(
    connect: Connect, server: LinearServer, gate: Gate
) -> None:
    """Nobody could say which of the answer's rows are theirs."""
    driver = known(server, connect(), "two", {"a": [[0.0, 0.0]], "b": [[0]]})
    uneven = {"a": [[1.0, 1.0], [2.0, 2.0]], "b": [[5]]}
    futures = [driver.call("predict", "two", uneven) for _ in range(2)]
    gate.wait_for(2)
    gate.open()

    for future in futures:
        assert future.result(PATIENCE_S).total.tolist() == [[7], [9]]


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        pytest.param(("line", {"outputs": "y"}), ("line", {}), id="outputs"),
        pytest.param(
            ("line", {"outputs": ["y", "upper"]}),
            ("line", {"outputs": ["upper", "y"]}),
            id="order of outputs",
        ),
        pytest.param(("line", {"version": 1}), ("line", {}), id="versions"),
        pytest.param(("line", {}), ("curve", {}), id="models"),
    ],
)
def test_those_who_want_something_else_do_not_wait_for_one_another(
    connect: Connect, server: LinearServer, gate: Gate, mine: tuple, theirs: tuple
) -> None:
    """Each kind has a request of its own on its way."""
    server.models["curve"] = server.models["line"]
    driver = connect()
    for model, options in (mine, theirs):
        known(server, driver, model, [32.0], **options)
    futures = [
        driver.call("predict", model, [32.0], **options) for model, options in (mine, theirs)
    ]
    gate.wait_for(2)
    gate.open()

    wait(futures, PATIENCE_S)
    assert [future.exception() for future in futures] == [None, None]
    assert [1, 1] == [request.inputs[0].shape[0] for request in server.requests]


def test_a_version_means_the_same_as_a_number_and_as_text(
    connect: Connect, server: LinearServer, gate: Gate
) -> None:
    """So they share a request."""
    driver = known(server, connect(), "plane", row(0), version=1)
    driver.predict("plane", row(0), version=1)
    gate.wait_for(1)
    futures = [
        driver.predict("plane", row(n), version=version) for n, version in ((1, 1), (2, "1"))
    ]
    gate.open()

    assert [1, 2] == [future.result(PATIENCE_S).item() for future in futures]
    assert [("1", 1), ("1", 2)] == [
        (request.model_version, request.inputs[0].shape[0]) for request in server.requests
    ]


def test_rows_that_the_contract_accepts_though_they_are_not_finite_are_shared(
    connect: Connect, server: LinearServer, gate: Gate
) -> None:
    """The contract decides."""
    contract = thermometer_contract()
    contract.non_finite = NON_FINITE_ACCEPT
    server.models["line"].contract = contracts.dumps(contract)
    driver = known(server, connect(), "line", [32.0])
    driver.predict("line", [32.0])
    gate.wait_for(1)
    futures = [driver.predict("line", [value]) for value in (32.0, float("nan"), 212.0)]
    gate.open()
    answers = [future.result(PATIENCE_S).y.item() for future in futures]

    np.testing.assert_allclose(answers, [0, float("nan"), 100], atol=1e-4)
    assert len(server.requests) == 2


def test_many_callers_over_a_while_each_get_their_own(
    connect: Connect, server: LinearServer
) -> None:
    """Whatever meets whom."""
    server.models["plane"].max_batch_size = 64
    driver = known(server, connect(), "plane", row(0))
    futures = [
        driver.call("predict", "plane", [[n, k, 0] for k in range(1 + n % 5)]) for n in range(300)
    ]

    for number, future in enumerate(futures):
        expected = [[number + k] for k in range(1 + number % 5)]
        assert future.result(PATIENCE_S).tolist() == expected
    sent = [one for rows in rows_of(server) for one in rows]
    assert sorted(sent) == [[n, k, 0] for n in range(300) for k in range(1 + n % 5)]
