"""The blocking client against a real gRPC server of the protocol."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from isotherm.client import (
    CallCancelledError,
    Client,
    ClosedError,
    DeadlineExceededError,
    InvalidAnswerError,
    InvalidInputError,
    NoContractError,
    NotFoundError,
    OverloadedError,
    Prediction,
    Retry,
    ServerFaultError,
    UnavailableError,
    UnsupportedError,
)


def test_one_output_comes_back_as_an_array(client):
    """A model with one output answers with that array."""
    y = client.predict("plane", np.array([[1, 2, 3], [4, 5, 6]], np.float32))

    np.testing.assert_array_equal([[6.0], [15.0]], y)


def test_several_outputs_come_back_as_a_prediction_with_attributes(client):
    """The interval is there as attributes and by name."""
    prediction = client.predict("line", [32.0, 212.0])

    assert isinstance(prediction, Prediction)
    np.testing.assert_allclose([[0], [100]], prediction.y, atol=1e-5)
    np.testing.assert_allclose([[-1.5], [98.5]], prediction["lower"], atol=1e-5)
    assert list(prediction) == ["y", "lower", "upper"]


def test_one_requested_output_comes_back_as_an_array(client):
    """A single name gives an array, also where the model has more outputs."""
    y = client.predict("line", [212.0], outputs="y")

    np.testing.assert_allclose([[100.0]], y, atol=1e-5)


def test_requested_outputs_come_in_the_order_of_the_request(client):
    """The order is the caller's, whatever the server's."""
    prediction = client.predict("line", [32.0], outputs=["upper", "y"])

    assert list(prediction) == ["upper", "y"]


def test_outputs_that_nobody_asked_for_are_left_out(client, server):
    """Some servers ignore the requested outputs and send all of them."""
    server.change = lambda answer: (
        answer.outputs.add(name="extra", datatype="UINT8", shape=[1])
        and answer.raw_output_contents.append(b"\1")
    )

    y = client.predict("line", [32.0], outputs="y")

    assert y.shape == (1, 1)


def test_a_requested_output_that_does_not_come_is_an_invalid_answer(client, server):
    """The message names the output that is missing."""
    server.change = lambda answer: (
        answer.ClearField("outputs") or answer.outputs.add(name="z", datatype="FP32", shape=[1, 1])
    )

    with pytest.raises(InvalidAnswerError, match="model 'line' cannot be read: output 'y' is miss"):
        client.predict("line", [32.0], outputs="y")


def test_a_dict_of_arrays_feeds_a_model_with_several_inputs(client):
    """Inputs are matched by name, in whatever order the dict has them."""
    prediction = client.predict("two", {"b": [[3]], "a": [[1.0, 2.0]]})

    assert prediction.total[0, 0] == 6.0
    assert prediction.count[0, 0] == 3


def test_text_goes_in_as_str_and_comes_back_as_bytes(client):
    """BYTES elements are objects, with nothing cut off."""
    echoed = client.predict("echo", np.array([["é"], ["b\0"]], object))

    assert [["é".encode()], [b"b\0"]] == echoed.tolist()


def test_arrays_for_a_model_without_described_inputs_go_out_as_they_are(client):
    """Servers may describe nothing; then names and types are the caller's."""
    out = client.predict("bare", {"anything": np.array([[1.5]])})

    np.testing.assert_array_equal([[3.0]], out)


def test_requests_carry_raw_bytes_of_the_models_type(client, server):
    """A float64 array is sent as FP32, raw."""
    client.predict("line", np.array([[1.0]], np.float64))

    (request,) = server.requests
    assert request.inputs[0].datatype == "FP32"
    assert [np.float32(1).tobytes()] == list(request.raw_input_contents)
    assert not request.inputs[0].HasField("contents")


def test_typed_answers_are_read_as_well(client, server):
    """Servers that answer without raw bytes are understood."""
    server.typed = True

    y = client.predict("line", [212.0], outputs="y")

    np.testing.assert_allclose([[100.0]], y, atol=1e-5)


def test_an_answer_whose_bytes_do_not_fit_is_named_with_model_and_output(client, server):
    """The error says which output of which model is broken, and how."""
    server.change = lambda answer: answer.raw_output_contents.__setitem__(0, b"abc")

    with pytest.raises(InvalidAnswerError, match=r"model 'plane'.*output byte size mismatch.*'y'"):
        client.predict("plane", [[1, 2, 3]])


def test_an_answer_without_outputs_is_invalid(client, server):
    """Nothing is never a prediction."""
    server.change = lambda answer: answer.Clear()

    with pytest.raises(InvalidAnswerError, match="it has no outputs"):
        client.predict("plane", [[1, 2, 3]])


def test_an_answer_with_fewer_raw_entries_than_outputs_is_invalid(client, server):
    """Each output needs its bytes."""
    server.change = lambda answer: answer.raw_output_contents.pop()

    with pytest.raises(InvalidAnswerError, match="cannot be read"):
        client.predict("line", [1.0])


def test_messages_beyond_four_mebibytes_pass_in_both_directions(client):
    """GRPC's default limits are lifted."""
    x = np.ones((500_000, 3), np.float32)

    y = client.predict("plane", x, timeout=30)

    assert y.shape == (500_000, 1)


def test_the_metadata_of_a_model_is_asked_for_once(client, server):
    """Later calls reuse the signature."""
    for _ in range(3):
        client.predict("plane", [[1, 2, 3]])

    assert server.calls == ["ModelMetadata", "ModelConfig", *["ModelInfer"] * 3]


def test_a_model_that_was_replaced_is_asked_with_its_new_signature(client, server):
    """After a refusal the metadata is read again, and the call repeated if it changed."""
    client.predict("plane", [[1, 2, 3]])
    server.models["plane"].inputs = [("x", "FP64", (-1, 3))]

    y = client.predict("plane", [[1, 2, 3]])

    assert y[0, 0] == 6.0
    assert server.requests[-1].inputs[0].datatype == "FP64"


def test_an_input_that_only_the_new_signature_allows_is_sent(client, server):
    """A refusal on this side is checked against fresh metadata as well."""
    client.predict("plane", [[1, 2, 3]])
    server.models["plane"].inputs = [("x", "FP32", (-1, 2))]

    y = client.predict("plane", [[1, 2]])

    assert y[0, 0] == 3.0


def test_a_refusal_with_an_unchanged_signature_is_not_repeated(client, server):
    """The server's error reaches the caller after one look at the metadata."""
    client.predict("plane", [[1, 2, 3]])
    server.failures = [grpc.StatusCode.INVALID_ARGUMENT]

    with pytest.raises(InvalidInputError, match="as told"):
        client.predict("plane", [[1, 2, 3]])
    assert server.calls.count("ModelInfer") == 2


def test_an_unknown_model_is_not_found(client, server):
    """The error carries the model, the address, the status and its cause."""
    with pytest.raises(NotFoundError, match="unknown model: 'absent'") as caught:
        client.predict("absent", [1.0])

    assert ("absent", server.address) == (caught.value.model, caught.value.target)
    assert grpc.StatusCode.NOT_FOUND is caught.value.code
    assert isinstance(caught.value.__cause__, grpc.RpcError)


def test_a_version_may_be_a_number_or_text(client, server):
    """Both reach the wire as text; an unknown one is not found."""
    client.predict("plane", [[1, 2, 3]], version=1)
    client.predict("plane", [[1, 2, 3]], version="1")

    assert [request.model_version for request in server.requests] == ["1", "1"]
    with pytest.raises(NotFoundError):
        client.predict("plane", [[1, 2, 3]], version=2)


def test_a_call_that_takes_too_long_ends_with_its_timeout(client, server):
    """The deadline is the caller's, and a TimeoutError."""
    release = threading.Event()
    server.delay = release.wait
    try:
        with pytest.raises(DeadlineExceededError) as caught:
            client.predict("plane", [[1, 2, 3]], timeout=0.2)
    finally:
        release.set()

    assert isinstance(caught.value, TimeoutError)


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan")])
def test_a_timeout_that_is_no_limit_is_refused(server, timeout):
    """Neither a client nor a call can be without a deadline."""
    with pytest.raises(InvalidInputError, match="expected a positive number of seconds"):
        Client(server.address, timeout=timeout)


def test_unavailable_is_retried(client, server):
    """Two refusals in a row are not seen by the caller."""
    server.failures = [grpc.StatusCode.UNAVAILABLE] * 2

    assert client.predict("plane", [[1, 2, 3]])[0, 0] == 6.0
    assert server.calls.count("ModelInfer") == 3


def test_without_retries_the_first_refusal_counts(server):
    """One attempt means one call."""
    server.failures = [grpc.StatusCode.UNAVAILABLE]

    retry = Retry(attempts=1)
    with Client(server.address, retry=retry) as client, pytest.raises(UnavailableError):
        client.predict("plane", [[1, 2, 3]])
    assert server.calls.count("ModelInfer") == 1


def test_other_failures_are_not_retried(client, server):
    """A fault of the model is told at once."""
    server.failures = [grpc.StatusCode.INTERNAL] * 2

    with pytest.raises(ServerFaultError):
        client.predict("plane", [[1, 2, 3]])
    assert server.calls.count("ModelInfer") == 1


def test_an_overloaded_server_says_when_to_come_back(client, server):
    """The pushback in the trailers becomes seconds; beyond the deadline nobody waits for it."""
    server.failures = [grpc.StatusCode.RESOURCE_EXHAUSTED]
    server.trailers = (("grpc-retry-pushback-ms", "60250"),)

    with pytest.raises(OverloadedError) as caught:
        client.predict("plane", [[1, 2, 3]])

    assert caught.value.retry_after_s == 60.25
    assert caught.value.attempts == 1


def test_an_overloaded_server_is_asked_again_when_it_says(client, server):
    """Neither sooner than it says, nor where it does not say, nor where it says never."""
    server.failures = [grpc.StatusCode.RESOURCE_EXHAUSTED]
    server.trailers = (("grpc-retry-pushback-ms", "120"),)
    start = time.monotonic()

    assert client.predict("plane", [[1, 2, 3]])[0, 0] == 6.0
    assert time.monotonic() - start >= 0.12
    for trailers in (), (("grpc-retry-pushback-ms", "-1"),):
        server.failures = [grpc.StatusCode.RESOURCE_EXHAUSTED]
        server.trailers = trailers
        with pytest.raises(OverloadedError) as caught:
            client.predict("plane", [[1, 2, 3]])
        assert (caught.value.attempts, caught.value.retry_after_s) == (1, None)


def test_a_call_that_somebody_else_cancelled_is_repeated(client, server):
    """So gRPC's core ends calls that a server has not taken before it went away."""
    server.failures = [grpc.StatusCode.CANCELLED]

    assert client.predict("plane", [[1, 2, 3]])[0, 0] == 6.0


def test_a_server_that_always_fails_is_not_stormed(server):
    """Past the budget every call is made once, and the errors say how often it was."""
    server.failures = [grpc.StatusCode.UNAVAILABLE] * 1000
    attempts = []
    retry = Retry(initial_backoff_s=0.001, max_backoff_s=0.001, budget=10)
    with Client(server.address, retry=retry, timeout=30) as client:
        for _ in range(200):
            with pytest.raises(UnavailableError) as caught:
                client.predict("plane", [[1, 2, 3]])
            attempts.append(caught.value.attempts)

    assert sum(attempts) == server.calls.count("ModelInfer") <= 220
    assert attempts[0] == 5
    assert attempts[-1] == 1


def test_nobody_at_the_address_is_unavailable():
    """A closed port is an error within the deadline, not a hang."""
    with Client("127.0.0.1:1", timeout=5) as client, pytest.raises(UnavailableError) as caught:
        client.health()

    assert caught.value.target == "127.0.0.1:1"


def test_the_contract_comes_from_the_models_configuration(client):
    """Features, units and interval travel with the model."""
    contract = client.contract("line")

    assert contract.features[0].unit == "degF"
    assert contract.interval.coverage == 0.9


def test_a_model_without_a_contract_is_told_apart(client):
    """A plain model has none; that is an error of its own."""
    with pytest.raises(NoContractError, match=r"model 'plane' .* carries no contract"):
        client.contract("plane")


def test_a_contract_that_cannot_be_read_is_an_invalid_answer(client, server):
    """The message says what is wrong with it."""
    server.models["plane"].contract = '{"schema_version": 7}'

    with pytest.raises(InvalidAnswerError, match="schema_version is 7"):
        client.contract("plane")


def test_a_call_that_the_server_does_not_have_is_unsupported(client, server):
    """Not every server of the protocol has the extensions."""
    server.absent = {"ModelConfig"}

    with pytest.raises(UnsupportedError, match="unknown method ModelConfig"):
        client.config("line")


def test_a_server_that_has_no_configurations_has_no_contracts(client, server):
    """What other servers lack is no failure of theirs."""
    server.absent = {"ModelConfig"}

    with pytest.raises(NoContractError, match="cannot send contracts") as caught:
        client.contract("line")

    assert isinstance(caught.value.__cause__, UnsupportedError)


def test_metadata_configuration_and_health_are_answered(client, server):
    """The rest of the protocol comes as its messages."""
    assert client.server_metadata().name == "linear"
    assert list(client.model_metadata("plane").inputs[0].shape) == [-1, 3]
    assert client.config("plane").max_batch_size == 8
    assert client.health()
    assert client.health("plane", 1)

    server.ready = False

    assert not client.health()
    assert not client.health("plane")


def test_the_health_of_an_unknown_model_is_not_found(client):
    """Not ready and not there are different answers."""
    with pytest.raises(NotFoundError):
        client.health("absent")


def test_closing_ends_the_calls_in_flight(server):
    """A call on another thread ends as cancelled."""
    entered, release = threading.Event(), threading.Event()

    def wait() -> None:
        entered.set()
        release.wait()

    server.delay = wait
    client = Client(server.address)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(client.predict, "plane", [[1, 2, 3]])
        entered.wait()
        client.close()
        try:
            with pytest.raises(CallCancelledError):
                call.result(10)
        finally:
            release.set()


def test_a_closed_client_says_so(server):
    """Calls after the end of the block do not reach the server."""
    with Client(server.address) as client:
        pass

    with pytest.raises(ClosedError, match="closed"):
        client.predict("plane", [[1, 2, 3]])
    assert server.calls == []


@pytest.mark.parametrize("target", ["", "http://localhost:8001", "grpc://localhost:8001"])
def test_a_target_that_grpc_would_misread_is_refused(target):
    """A URL is no gRPC target."""
    with pytest.raises(InvalidInputError, match="expected HOST:PORT"):
        Client(target)


def test_threads_may_share_a_client(client):
    """Each thread gets its own rows."""
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: client.predict("plane", [[n, 0, 0]])[0, 0], range(200)))

    assert list(range(200)) == answers


def test_answers_are_read_only_views(client):
    """No copy is made of the received bytes, and writing to them is refused."""
    y = client.predict("plane", [[1, 2, 3]])

    assert not y.flags.owndata
    assert not y.flags.writeable
