"""Requests made for a model, by what its server says of it."""

from __future__ import annotations

import numpy as np
import pytest

from isotherm.client.cli.bench import requests
from isotherm.client.cli.failure import Failure
from isotherm.v1.open_inference_pb2 import ModelInferRequest
from isotherm.v1.tensors import decode_raw


def _arrays(body):
    message = ModelInferRequest.FromString(body)
    return {
        tensor.name: decode_raw(tensor.name, tensor.datatype, tensor.shape, raw)
        for tensor, raw in zip(message.inputs, message.raw_input_contents, strict=True)
    }


def _drawn(client, name, count=3, seed=0):
    return requests.drawn(requests.ask(client, name, None), count, seed)


def test_rows_are_drawn_from_the_contracts_ranges(client):
    """All over the range that the model was trained on, different in each request."""
    made = _drawn(client, "line", 100)

    values = np.concatenate([_arrays(body)["x"] for body in made.bodies])
    assert values.shape == (100 * len(made.bodies), 1)
    assert values.dtype == np.float32
    assert 20 <= values.min() < 21
    assert 89 < values.max() <= 90
    assert len(set(made.bodies)) == len(made.bodies) > 1
    assert (made.rows, made.origin) == (100, "the contract's ranges")


def test_categories_are_drawn_as_codes(client):
    """Each value of the list, and nothing between two of them."""
    made = _drawn(client, "rides", 100)

    values = np.concatenate([_arrays(body)["x"] for body in made.bodies])
    assert set(values[:, 0]) == {0, 1, 2}
    assert set(values[:, 2]) == {0, 1}
    assert len(set(values[:, 1])) > 10


def test_without_a_contract_rows_are_standard_normal(client):
    """By the protocol's metadata alone."""
    made = _drawn(client, "plane", 1000)

    values = np.concatenate([_arrays(body)["x"] for body in made.bodies])
    assert values.shape[1] == 3
    assert values.mean() == pytest.approx(0, abs=0.05)
    assert values.std() == pytest.approx(1, abs=0.05)
    assert made.origin == "random numbers"


def test_a_server_without_model_config_is_no_reason_to_give_up(server, client):
    """It is a Triton extension."""
    server.absent.add("ModelConfig")

    assert _drawn(client, "line").origin == "random numbers"


def test_several_inputs_of_several_types_are_filled(client):
    """Floats, integers and text."""
    two, echo = _arrays(_drawn(client, "two").bodies[0]), _arrays(_drawn(client, "echo").bodies[0])

    assert (two["a"].shape, two["a"].dtype) == ((3, 2), np.float32)
    assert (two["b"].shape, two["b"].dtype) == ((3, 1), np.int32)
    assert echo["s"].tolist() == [[b"isotherm"]] * 3


def test_the_same_seed_makes_the_same_requests(client):
    """So that two servers can be asked the same."""
    assert _drawn(client, "plane").bodies == _drawn(client, "plane").bodies
    assert _drawn(client, "plane").bodies != _drawn(client, "plane", seed=1).bodies


def test_a_files_rows_are_taken_in_turn(client, tmp_path):
    """From the front again where the last request has room left."""
    path = tmp_path / "rows.csv"
    path.write_text("reading\n20\n30\n40\n50\n60\n")

    made = requests.read(client, requests.ask(client, "line", None), 2, path)

    assert [[20, 30], [40, 50], [60, 20]] == [
        _arrays(body)["x"].ravel().tolist() for body in made.bodies
    ]
    assert made.origin == str(path)


def test_the_version_that_was_asked_for_is_sent(client):
    """In every request."""
    made = requests.drawn(requests.ask(client, "line", 1), 1, 0)

    assert ModelInferRequest.FromString(made.bodies[-1]).model_version == "1"


def test_the_first_request_is_tried(server, client):
    """Its answer is read before the load."""
    subject = requests.ask(client, "line", None)
    made = requests.drawn(subject, 1, 0)

    requests.check(client, subject, made)

    assert server.requests[-1].SerializeToString() == made.bodies[0]


def test_a_server_that_says_nothing_of_inputs_is_told(client):
    """Nothing can be made up then."""
    with pytest.raises(Failure, match="its metadata is empty"):
        _drawn(client, "bare")


def test_a_model_without_room_for_the_rows_is_told(server, client):
    """A fixed batch, other than the one that stands for any."""
    server.models["plane"].inputs = [("x", "FP32", (4, 3))]

    assert _drawn(client, "plane", 4).rows == 4
    with pytest.raises(Failure, match=r"shape \[4, 3\] in 'x', which has no room for --rows 3"):
        _drawn(client, "plane")
