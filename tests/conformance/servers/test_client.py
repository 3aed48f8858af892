"""Both clients against our server, a real Triton, MLServer and KServe: the same tests for all.

What a server lacks is told by an error that names the call, the server and the reason.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from isotherm.client import (
    DeadlineExceededError,
    InvalidInputError,
    IsothermError,
    NoContractError,
    NotFoundError,
    ServerFaultError,
    UnavailableError,
    UnsupportedError,
)
from tests.conformance.servers.peers import Running
from tests.support.callers import Caller
from tests.support.server import eventually

CALLERS = 64


def test_one_row_and_many_come_back_in_their_order(caller: Caller) -> None:
    """The answer has the request's rows, in its order, in the model's datatype."""
    x = np.arange(1000, dtype=np.float32).reshape(-1, 1)

    for rows in (x[7:8], x):
        y = caller.predict("doubling", rows)

        assert y.dtype == np.float32
        np.testing.assert_array_equal(y, 2 * rows)


def test_megabytes_are_answered_or_refused_for_their_size(caller: Caller, running: Running) -> None:
    """Never told as overload: the same call could not succeed later."""
    x = np.ones((400_000, 4), np.float32)

    if running.peer.too_large:
        with pytest.raises(InvalidInputError, match=running.peer.too_large):
            caller.predict("wide", x)
    else:
        y = caller.predict("wide", x)
        np.testing.assert_allclose(y, np.broadcast_to(y[:1], (len(x), 3)), rtol=1e-5)


def test_numbers_are_cast_where_that_is_safe(caller: Caller) -> None:
    """Lists and float64 become FP32; what FP32 cannot hold is refused here."""
    np.testing.assert_array_equal(caller.predict("doubling", [1.5, -2.0]), [[3.0], [-4.0]])
    y = caller.predict("wide", np.full((2, 4), 0.1))

    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, caller.predict("wide", np.full((2, 4), 0.1, np.float32)))
    with pytest.raises(InvalidInputError, match="cannot hold 1e\\+300"):
        caller.predict("doubling", [1e300])


@pytest.mark.parametrize(
    ("model", "x"),
    [
        ("wide", np.ones((2, 3))),
        ("wide", np.ones(4)),
        ("doubling", {"absent": [1.0]}),
        ("simple", np.ones((1, 16), np.int32)),
        ("simple", {"INPUT0": np.ones((1, 16)), "INPUT1": np.ones((1, 16))}),
    ],
    ids=["width", "rank", "name", "inputs", "datatype"],
)
def test_what_does_not_fit_is_refused_before_it_is_sent(caller: Caller, model: str, x: Any) -> None:
    """Some servers would answer it all the same."""
    with pytest.raises(InvalidInputError, match=f"^model '{model}': ") as caught:
        caller.predict(model, x)

    assert caught.value.code is None
    assert caught.value.attempts == 0


def test_inputs_and_outputs_go_by_name(caller: Caller) -> None:
    """All outputs, some of them in the order of asking, or one; KServe sends all regardless."""
    x = {"INPUT1": np.ones((2, 16), np.int32), "INPUT0": np.full((2, 16), 3, np.int32)}

    both = caller.predict("simple", x)
    turned = caller.predict("simple", x, outputs=["OUTPUT1", "OUTPUT0"])
    one = caller.predict("simple", x, outputs="OUTPUT1")

    assert list(turned) == ["OUTPUT1", "OUTPUT0"]
    for prediction in (both, turned):
        np.testing.assert_array_equal(prediction.OUTPUT0, np.full((2, 16), 4))
        np.testing.assert_array_equal(prediction["OUTPUT1"], np.full((2, 16), 2))
    np.testing.assert_array_equal(one, both.OUTPUT1)


def test_a_model_that_describes_nothing_takes_arrays_by_name(
    caller: Caller, running: Running
) -> None:
    """As KServe's and MLServer's models do unless their author says more."""
    x = np.ones((2, 1), np.float32)

    np.testing.assert_array_equal(caller.predict("undescribed", {"x": x}), 2 * x)
    if running.peer.describes:
        np.testing.assert_array_equal(caller.predict("undescribed", x), 2 * x)
    else:
        with pytest.raises(InvalidInputError, match="pass a dict of arrays by input name"):
            caller.predict("undescribed", x)


def test_a_stream_s_answers_come_in_the_order_of_its_batches(caller: Caller) -> None:
    """Of one output and of two, whatever their sizes."""
    sizes = [1, 40, 3, 200, 1, 1, 17] * 4
    batches = [np.full((size, 1), number, np.float32) for number, size in enumerate(sizes)]

    doubled = caller.stream("doubling", iter(batches), in_flight=4)
    counted = caller.stream("counting", iter(batches), outputs=["rows", "y"])

    assert [len(y) for y in doubled] == [len(each.rows) for each in counted] == sizes
    for number, (y, each) in enumerate(zip(doubled, counted, strict=True)):
        assert (y == 2 * number).all()
        assert (each.y == number).all()


def test_a_batch_that_breaks_the_model_ends_the_stream(caller: Caller) -> None:
    """With the server's error; the client goes on."""
    with pytest.raises(ServerFaultError):
        caller.stream("lookup", [[[0]], [[1]], [[7]], [[2]]])

    assert caller.predict("lookup", [[2]]).tolist() == [[2]]


def test_many_callers_get_each_their_own_answer(caller: Caller, running: Running) -> None:
    """One-row calls at once; they share requests only where the server says that they may."""
    before = counts(caller, running)
    caller.predict("counting", [0.0])

    answers = caller.together("predict", one_row_calls())

    assert [answer.y.tolist() for answer in answers] == [[[n]] for n in range(CALLERS)]
    if running.peer.statistics:
        assert requests_since(before, caller, running) < 1 + CALLERS
    else:
        assert all(answer.rows.tolist() == [[1]] for answer in answers)


def test_callers_who_come_first_and_with_several_inputs_get_their_own(caller: Caller) -> None:
    """Nobody has asked about the model before; requests of one row, two and three."""
    calls: list[dict[str, Any]] = []
    for number in range(CALLERS):
        ones = np.ones((1 + number % 3, 16), np.int32)
        calls.append({"model": "simple", "x": {"INPUT0": number * ones, "INPUT1": ones}})

    answers = caller.together("predict", calls)

    for number, (call, answer) in enumerate(zip(calls, answers, strict=True)):
        x = call["x"]
        np.testing.assert_array_equal(answer.OUTPUT0, x["INPUT0"] + 1, str(number))
        np.testing.assert_array_equal(answer.OUTPUT1, x["INPUT0"] - 1, str(number))


def test_callers_go_one_by_one_where_they_are_told_to(running: Running, caller: Caller) -> None:
    """`coalesce=False`: a request each."""
    with type(caller)(running.address, timeout=30, coalesce=False) as alone:
        before = counts(caller, running)
        alone.predict("counting", [0.0])

        answers = alone.together("predict", one_row_calls())

    assert [answer.y.tolist() for answer in answers] == [[[n]] for n in range(CALLERS)]
    if running.peer.statistics:
        assert requests_since(before, caller, running) == 1 + CALLERS


def test_a_row_that_breaks_the_model_fails_alone(caller: Caller) -> None:
    """Its own caller gets the server's error; those who came with it get their answers."""
    poisoned = 21
    caller.predict("lookup", [[0]])
    calls = [{"model": "lookup", "x": [[n % 4]]} for n in range(CALLERS)]
    calls[poisoned]["x"] = [[7]]

    answers = caller.together("predict", calls)

    failed = {n: answer for n, answer in enumerate(answers) if isinstance(answer, IsothermError)}
    assert list(failed) == [poisoned]
    assert isinstance(failed[poisoned], ServerFaultError)
    right = [answer.tolist() == [[n % 4]] for n, answer in enumerate(answers) if n != poisoned]
    assert all(right)


def test_a_deadline_ends_the_call_and_not_the_client(caller: Caller) -> None:
    """Half a second's work in a tenth of one; the next call is answered."""
    caller.predict("slow", [[0.0]])

    with pytest.raises(DeadlineExceededError) as caught:
        caller.predict("slow", [[5000.0]], timeout=0.1)

    assert caught.value.model == "slow"
    np.testing.assert_array_equal(caller.predict("slow", [[1.0]]), [[1.0]])


def test_health_and_waiting_for_it(caller: Caller) -> None:
    """Of the server and of a model that is there."""
    assert caller.health()
    assert caller.health("doubling")
    assert caller.wait_ready() is None
    assert caller.wait_ready("doubling", timeout=20) is None


def test_a_model_that_is_not_there_is_not_healthy(caller: Caller) -> None:
    """Servers say so in three ways; waiting for it ends with what was waited for."""
    try:
        assert caller.health("absent") is False
    except (NotFoundError, ServerFaultError) as error:
        assert error.model == "absent"

    with pytest.raises(DeadlineExceededError, match="'absent' was not ready") as late:
        caller.wait_ready("absent", timeout=0.3)
    assert late.value.model == "absent"


def test_metadata_tells_of_server_and_model(caller: Caller, running: Running) -> None:
    """Names, versions, tensors."""
    server = caller.server_metadata()
    model = caller.model_metadata("simple")

    assert server.name == running.peer.name
    assert server.version
    assert model.name == "simple"
    for tensors, word in ((model.inputs, "INPUT"), (model.outputs, "OUTPUT")):
        described = {tensor.name: (tensor.datatype, list(tensor.shape)) for tensor in tensors}
        assert described == {f"{word}{number}": ("INT32", [-1, 16]) for number in (0, 1)}


@pytest.mark.parametrize("method", ["predict", "model_metadata"])
def test_an_unknown_model_or_version_is_not_found(
    caller: Caller, running: Running, method: str
) -> None:
    """The error names the model; one server does not look at versions."""
    x = ([1.0],) if method == "predict" else ()

    with pytest.raises(NotFoundError, match="absent") as caught:
        getattr(caller, method)("absent", *x)

    assert caught.value.model == "absent"
    assert caught.value.target == running.address
    if running.peer.versions:
        with pytest.raises(NotFoundError, match="99"):
            getattr(caller, method)("doubling", *x, version=99)
    else:
        assert getattr(caller, method)("doubling", *x, version=99) is not None


def test_statistics_count_the_rows(caller: Caller, running: Running) -> None:
    """Of the model that was asked."""
    if not running.peer.statistics:
        unsupported(running, "ModelStatistics", caller.statistics, "doubling")
        return
    rows = counts(caller, running, "doubling")[1]

    caller.predict("doubling", np.ones((5, 1), np.float32))

    assert eventually(lambda: counts(caller, running, "doubling")[1] == rows + 5)
    assert {each.name for each in caller.statistics().model_stats} >= {"doubling", "wide"}


def test_models_are_listed_and_come_and_go(caller: Caller, running: Running) -> None:
    """Loaded, unloaded, and loaded again."""
    if not running.peer.index:
        unsupported(running, "RepositoryIndex", caller.models)
        unsupported(running, "RepositoryModelLoad", caller.load, "wide")
        unsupported(running, "RepositoryModelUnload", caller.unload, "wide")
        assert caller.health("wide")
        return
    assert {each.name for each in caller.models().models} >= {"doubling", "wide"}
    x = np.ones((1, 4))
    y = caller.predict("wide", x)

    caller.unload("wide")

    with pytest.raises((NotFoundError, UnavailableError)):
        caller.predict("wide", x, timeout=1)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait_for, "wide", running, type(caller))
        caller.load("wide")
        waiting.result()
    np.testing.assert_array_equal(caller.predict("wide", x), y)


def test_configuration_is_told_where_there_is_one(caller: Caller, running: Running) -> None:
    """An extension of Triton's."""
    if running.peer.config:
        assert caller.config("wide").name == "wide"
        assert caller.config("wide").max_batch_size == 1024
    else:
        unsupported(running, "ModelConfig", caller.config, "wide")


def test_contracts_are_ours_and_others_have_none(caller: Caller, running: Running) -> None:
    """Without one, columns have no names, and there is no interval."""
    tables = readings(1.5, -2.0)
    if running.peer.ours:
        assert caller.contract("doubling").features[0].unit == "degF"
        for table in tables:
            np.testing.assert_array_equal(caller.predict("doubling", table), [[3.0], [-4.0]])
        return
    for method, arguments in ((caller.contract, ()), (caller.predict_interval, ([1.0],))):
        with pytest.raises(NoContractError, match=re.escape(running.address)):
            method("doubling", *arguments)
    for table in tables:
        with pytest.raises(InvalidInputError, match="model 'doubling': it carries no contract"):
            caller.predict("doubling", table)


def test_feedback_is_ours_alone(caller: Caller, running: Running) -> None:
    """It is counted for the version, or the error says why not."""
    if running.peer.ours:
        assert caller.feedback("doubling", [2.0], [2.1]) == "1"
    else:
        unsupported(running, "Feedback", caller.feedback, "doubling", [2.0], [2.1])


def wait_for(model: str, running: Running, kind: type[Caller]) -> None:
    """Wait with a client of its own until a model is ready."""
    with kind(running.address) as other:
        other.wait_ready(model, timeout=20)


def readings(*values: float) -> list[Any]:
    """Return a column in every form of a table that can be made here; not everybody has Arrow."""
    rows = [{"reading": value} for value in values]
    if importlib.util.find_spec("pyarrow") is None:
        return [rows]
    return [rows, importlib.import_module("pyarrow").Table.from_pylist(rows)]


def one_row_calls() -> list[dict[str, Any]]:
    """Return calls of one row each, with numbers of their own."""
    return [{"model": "counting", "x": [float(n)]} for n in range(CALLERS)]


def counts(caller: Caller, running: Running, model: str = "counting") -> tuple[int, int]:
    """Return the requests and the rows that a model has answered."""
    if not running.peer.statistics:
        return 0, 0
    (found,) = caller.statistics(model).model_stats
    return found.inference_stats.success.count, found.inference_count


def requests_since(before: tuple[int, int], caller: Caller, running: Running) -> int:
    """Return the requests of one row and of all callers: Triton counts them when it has sent."""
    assert eventually(lambda: counts(caller, running)[1] == before[1] + 1 + CALLERS)
    return counts(caller, running)[0] - before[0]


def unsupported(running: Running, call: str, method: Any, *arguments: Any) -> None:
    """Make a call that the server lacks: the error names both."""
    with pytest.raises(UnsupportedError, match=call) as caught:
        method(*arguments)

    assert isinstance(caught.value, IsothermError)
    assert running.address in str(caught.value)
