"""REST beside gRPC: the same models, the same answers, the same errors, in JSON."""

from __future__ import annotations

import gzip
import json
import math
import socket
import threading
import zlib
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from isotherm.v1 import open_inference_pb2 as pb
from isotherm.v1.tensors import decode_raw
from tests.support import models
from tests.support.ports import free_port
from tests.support.rest import Rest, binary_request, send, tensor
from tests.support.rpc import call, infer_request, outputs_of
from tests.support.server import Server, eventually, serving

MAX_BYTES = 3 << 20
X = np.array([[1.5], [2.0]], np.float32)
HEAVY = np.zeros((2048, 256), np.float32)

# What each type can hold, and JSON can carry.
VALUES: dict[str, tuple[int, np.ndarray]] = {
    "BOOL": (TensorProto.BOOL, np.array([[True, False]])),
    "INT8": (TensorProto.INT8, np.array([[-128, 127]], np.int8)),
    "INT16": (TensorProto.INT16, np.array([[-(1 << 15), (1 << 15) - 1]], np.int16)),
    "INT32": (TensorProto.INT32, np.array([[-(1 << 31), (1 << 31) - 1]], np.int32)),
    "INT64": (TensorProto.INT64, np.array([[-(1 << 63), (1 << 63) - 1]], np.int64)),
    "UINT8": (TensorProto.UINT8, np.array([[0, 255]], np.uint8)),
    "UINT16": (TensorProto.UINT16, np.array([[0, (1 << 16) - 1]], np.uint16)),
    "UINT32": (TensorProto.UINT32, np.array([[0, (1 << 32) - 1]], np.uint32)),
    "UINT64": (TensorProto.UINT64, np.array([[0, (1 << 64) - 1]], np.uint64)),
    "FP16": (TensorProto.FLOAT16, np.array([[0.5, -65504.0]], np.float16)),
    "FP32": (TensorProto.FLOAT, np.array([[0.1, 3.4028235e38]], np.float32)),
    "FP64": (TensorProto.DOUBLE, np.array([[0.1, -1.7e308]], np.float64)),
    "BYTES": (TensorProto.STRING, np.array([["", "naïve \u2603 \U0001f321"]], np.object_)),
}


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of two workers with REST, and an identity of every type."""
    folder = tmp_path_factory.mktemp("models")
    contract = models.doubling_contract()
    models.publish(folder, "doubling", models.with_contract(models.doubling(), contract))
    models.publish(folder, "simple", models.simple())
    models.publish(folder, "labelled", models.labelled())
    models.publish(folder, "lookup", models.lookup())
    models.publish(folder, "free", models.identity(TensorProto.FLOAT, ("a", "b")))
    models.publish(folder, "heavy", models.mlp((256, 2048, 2048, 8)))
    for datatype, (elem_type, _) in VALUES.items():
        models.publish(folder, datatype, models.identity(elem_type, (2,)))
    flags = ("--http-port", str(free_port()), "--max-message-bytes", str(MAX_BYTES))
    with serving(folder, *flags, "--workers", "2", "--log-level", "debug") as server:
        yield server


@pytest.fixture(name="rest", scope="module")
def _rest(server: Server) -> Rest:
    """The server's REST port, as its log announces it."""
    assert eventually(lambda: "REST on http://127.0.0.1:" in server.log)
    port = server.log.partition("REST on http://127.0.0.1:")[2].partition("/v2")[0]
    rest = Rest(int(port))
    assert eventually(lambda: rest.get("/v2/health/ready").status == 200)
    return rest


@pytest.fixture(name="channel", scope="module")
def _channel(server: Server) -> Iterator[grpc.Channel]:
    """A channel to the same server."""
    with grpc.insecure_channel(server.address) as channel:
        yield channel


def doubling(data: Any = (1.5, 2.0), **changes: Any) -> dict[str, Any]:
    """Return a request of the model `doubling`, with changes to its input."""
    found = {"name": "x", "datatype": "FP32", "shape": [2, 1], "data": list(data)} | changes
    return {"inputs": [{key: value for key, value in found.items() if value is not None}]}


def test_the_server_says_what_it_is(rest: Rest, channel: grpc.Channel) -> None:
    """Name, version and extensions, as on gRPC; a slash at the end does no harm."""
    metadata = call(channel, "ServerMetadata", pb.ServerMetadataRequest())
    replies = [rest.get("/v2"), rest.get("/v2/")]

    for reply in replies:
        assert reply.status == 200
        assert reply.headers["content-type"] == "application/json"
        assert reply.content == {
            "name": "isotherm",
            "version": metadata.version,
            "extensions": list(metadata.extensions),
        }


def test_health_has_a_page_for_each_question(rest: Rest) -> None:
    """The status is for probes, the body for KServe's clients; HEAD has none."""
    pages = [rest.get(f"/v2/health/{page}") for page in ("live", "ready")]
    model = rest.get("/v2/models/doubling/ready")
    version = rest.get("/v2/models/doubling/versions/1/ready")
    head = rest.request("HEAD", "/v2/health/ready")

    assert [(200, {"live": True}), (200, {"ready": True})] == [(p.status, p.content) for p in pages]
    for reply in (model, version):
        assert (200, {"name": "doubling", "ready": True}) == (reply.status, reply.content)
    assert (200, b"") == (head.status, head.body)


def test_a_model_says_what_it_takes(rest: Rest) -> None:
    """Metadata with the batch as -1, for the version asked for."""
    expected = {
        "name": "doubling",
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 1]}],
    }
    replies = [rest.get("/v2/models/doubling"), rest.get("/v2/models/doubling/versions/1")]

    assert [(200, expected)] * 2 == [(reply.status, reply.content) for reply in replies]


def test_configuration_and_statistics_are_triton_s(rest: Rest, channel: grpc.Channel) -> None:
    """Numbers are numbers, enums names; without a model's name the statistics are of all."""
    config = rest.get("/v2/models/doubling/config").content
    rest.infer("doubling", doubling())

    def stats(page: str) -> Any:
        return rest.get(f"/v2/models/{page}stats").content["model_stats"]

    # The answer may be here before what it took is added.
    assert eventually(lambda: stats("doubling/") == stats("doubling/versions/1/"))
    mine = stats("doubling/")
    every = stats("")
    counted = call(channel, "ModelStatistics", pb.ModelStatisticsRequest(name="doubling"))

    assert config["input"][0]["data_type"] == "TYPE_FP32"
    assert config["input"][0]["dims"] == [1]
    assert "isotherm.contract" in config["parameters"]
    (doubled,) = mine
    assert doubled["inference_stats"]["success"]["count"] > 0
    assert doubled["inference_count"] == counted.model_stats[0].inference_count
    assert len(every) == 6 + len(VALUES)


def test_the_repository_s_index_is_a_list(rest: Rest) -> None:
    """With or without a body; what is empty is left out."""
    replies = [
        rest.post("/v2/repository/index"),
        rest.post("/v2/repository/index", {"ready": True}),
    ]

    for reply in replies:
        assert {"name": "doubling", "version": "1", "state": "READY"} in reply.content


@pytest.mark.parametrize("datatype", VALUES)
@pytest.mark.parametrize("form", ["flat", "nested", "binary"])
def test_every_type_goes_in_and_comes_out_as_on_grpc(
    rest: Rest, channel: grpc.Channel, datatype: str, form: str
) -> None:
    """To the last bit, at the ends of what it can hold."""
    array = VALUES[datatype][1]
    (raw,) = call(channel, "ModelInfer", infer_request(datatype, INPUT0=array)).raw_output_contents
    if form == "binary":
        body, headers = binary_request(
            [("INPUT0", datatype, array)], parameters={"binary_data_output": True}
        )
        reply = rest.request("POST", f"/v2/models/{datatype}/infer", body, **headers)
        content, tail = reply.split()
        output = content["outputs"][0]
        assert reply.headers["content-type"] == "application/octet-stream"
        assert output["parameters"] == {"binary_data_size": len(tail)}
        assert tail == raw
        return
    reply = rest.infer(datatype, {"inputs": [tensor("INPUT0", array, nested=form == "nested")]})
    if datatype == "FP16":
        assert reply.status == 400
        assert reply.error == (
            "input 'INPUT0' is FP16, which JSON cannot carry: send it as binary data"
        )
        return
    (output,) = reply.content["outputs"]

    assert reply.status == 200
    assert output["datatype"] == datatype
    assert output["shape"] == [1, 2]
    expected = decode_raw("OUTPUT0", datatype, (2,), raw)
    if datatype == "BYTES":
        assert output["data"] == [element.decode() for element in expected]
    else:
        np.testing.assert_array_equal(np.array(output["data"], expected.dtype), expected)
        assert output["data"] == expected.tolist()


def test_a_16_bit_output_is_asked_for_as_binary(rest: Rest) -> None:
    """In JSON it is an error that says so."""
    array = VALUES["FP16"][1]
    body, headers = binary_request([("INPUT0", "FP16", array)])
    reply = rest.request("POST", "/v2/models/FP16/infer", body, **headers)

    assert reply.status == 400
    assert reply.error == (
        "output 'OUTPUT0' is FP16, which JSON cannot carry: "
        "ask for it with the output's parameter 'binary_data'"
    )


def test_bytes_that_are_no_text_are_asked_for_as_binary(rest: Rest) -> None:
    """As an input the worker refuses them; half a character in JSON is refused here."""
    reply = rest.infer(
        "BYTES",
        {
            "inputs": [
                {"name": "INPUT0", "datatype": "BYTES", "shape": [1, 2], "data": ["\ud800", ""]}
            ]
        },
    )

    assert reply.status == 400
    assert reply.error == "input 'INPUT0' has an element that is no text: half a surrogate pair"


def test_outputs_come_back_each_in_the_form_asked_for(rest: Rest) -> None:
    """One as binary data, one in JSON, in the model's order; with the caller's id."""
    a, b = (np.arange(16, dtype=np.int32).reshape(1, 16) * k for k in (1, 10))
    content = {
        "id": "of the caller",
        "inputs": [tensor("INPUT0", a), tensor("INPUT1", b)],
        "outputs": [
            {"name": "OUTPUT1"},
            {"name": "OUTPUT0", "parameters": {"binary_data": True}},
        ],
    }
    reply = rest.infer("simple", content)
    found, tail = reply.split()

    assert found["id"] == "of the caller"
    assert found["model_version"] == "1"
    assert [o["name"] for o in found["outputs"]] == ["OUTPUT0", "OUTPUT1"]
    assert tail == (a + b).tobytes()
    assert found["outputs"][1]["data"] == (a - b).ravel().tolist()


def test_an_output_may_be_spared_from_what_holds_for_all(rest: Rest) -> None:
    """`binary_data` of an output wins over `binary_data_output` of the request."""
    content = doubling() | {
        "parameters": {"binary_data_output": True},
        "outputs": [{"name": "y", "parameters": {"binary_data": False}}],
    }

    assert rest.infer("doubling", content).content["outputs"][0]["data"] == [3.0, 4.0]


def test_classes_are_asked_for_by_a_parameter(rest: Rest) -> None:
    """As on gRPC: value, index and label, as text."""
    inputs = [tensor("x", np.array([[0.25]], np.float32))]
    outputs = [{"name": "y", "parameters": {"classification": 1}}]
    reply = rest.infer("labelled", {"inputs": inputs, "outputs": outputs})
    (output,) = reply.content["outputs"]

    assert (output["datatype"], output["shape"]) == ("BYTES", [1, 1])
    assert output["data"] == ["0.750000:0:cold"]


def test_parameters_are_checked_as_on_grpc(rest: Rest) -> None:
    """Custom ones of four kinds pass; a reserved one of the wrong kind does not."""
    fine = {"a": 1, "b": True, "c": "text", "d": 0.5, "priority": 2, "timeout": 10_000_000}
    good = rest.infer("doubling", doubling() | {"parameters": fine})
    wrong = rest.infer("doubling", doubling() | {"parameters": {"timeout": "soon"}})
    reserved = rest.infer("doubling", doubling() | {"parameters": {"triton_x": 1}})

    assert good.status == 200
    assert (400, 400) == (wrong.status, reserved.status)
    assert "timeout" in wrong.error


def test_what_json_has_no_number_for_goes_by_name(rest: Rest) -> None:
    """Both ways as protobuf's JSON has it; as an input also null, and the literals of Python."""
    body = (
        b'{"inputs": [{"name": "INPUT0", "datatype": "FP32", "shape": [4, 2], '
        b'"data": [NaN, Infinity, -Infinity, "NaN", "Infinity", "-Infinity", null, 1]}]}'
    )
    reply = rest.request("POST", "/v2/models/FP32/infer", body)
    data = reply.content["outputs"][0]["data"]

    assert data == [*["NaN", "Infinity", "-Infinity"] * 2, "NaN", 1]
    # Readers that convert to an array need not know of it.
    assert np.isnan(np.array(data, np.float32)[0])
    assert math.isinf(float(data[1]))


def test_a_model_that_refuses_such_values_does_so_here_too(rest: Rest) -> None:
    """With the text of gRPC."""
    reply = rest.infer("doubling", doubling(["NaN", 1.0]))

    assert reply.status == 400
    assert "row 0 of input 'x' has nan for 'reading'" in reply.error


INPUT = {"name": "x", "datatype": "FP32", "shape": [2, 1], "data": [1.5, 2.0]}
BAD: dict[str, tuple[Any, str]] = {
    "no JSON": (b"{", "the body is not JSON"),
    "no UTF-8": (b'{"id": "\xff"}', "the body is not UTF-8"),
    "too deep": (b"[" * 100_000, "the body is not JSON"),
    "a number of a million digits": (b"1" * 1_000_000, "the body is not JSON"),
    "a list": ([], "not a JSON object"),
    "nothing": (b"", "the body is not JSON"),
    "no inputs": ({}, "'inputs' of the request must be a list of objects"),
    "inputs null": ({"inputs": None}, "'inputs' of the request must be a list"),
    "an input that is a number": ({"inputs": [1]}, "item 0 of 'inputs' must be an object"),
    "an id that is a number": (doubling() | {"id": 7}, "the request needs 'id' as text"),
    "an id of half a character": (doubling() | {"id": "\ud800"}, "half a surrogate pair"),
    "no name": (doubling(name=None), "input 0 needs 'name' as text"),
    "no datatype": (doubling(datatype=None), "input 'x' needs 'datatype' as text"),
    "a datatype in lower case": (doubling(datatype="fp32"), "unknown datatype 'fp32'"),
    "no shape": (doubling(shape=None), "input 'x' needs 'shape'"),
    "a shape of text": (doubling(shape=["2"]), "input 'x' needs 'shape'"),
    "a shape of fractions": (doubling(shape=[2.0, 1]), "input 'x' needs 'shape'"),
    "a shape below nought": (doubling(shape=[-1, 1]), "input 'x' needs 'shape'"),
    "a shape beyond 64 bits": (doubling(shape=[1 << 70, 1]), "input 'x' needs 'shape'"),
    "a huge shape": (doubling(shape=[1 << 62, 1 << 62]), "elements in data, got 2"),
    "no data": (
        {"inputs": [{k: v for k, v in INPUT.items() if k != "data"}]},
        "input 'x' has neither 'data' nor the parameter 'binary_data_size'",
    ),
    "data that is no list": (
        {"inputs": [INPUT | {"data": 1.5}]},
        "the data of input 'x' is 1.5, expected a list",
    ),
    "an element too many": (doubling([1, 2, 3]), "needs 2 elements in data, got 3"),
    "an element too few": (doubling([1]), "needs 2 elements in data, got 1"),
    "nested otherwise": (doubling([[1, 2]]), "nested otherwise than its shape [2, 1]"),
    "ragged": (doubling([[1], [2, 3]]), "nested otherwise than its shape"),
    "nested in part": (doubling([[1], 2]), "nested otherwise than its shape"),
    "too deep a nest": (doubling([[[1]], [[2]]]), "element 0 of input 'x' is a list"),
    "null": (doubling([1, None]), "row 1 of input 'x' has nan for 'reading'"),
    "null beside a number beyond any type": (doubling([None, 10**400]), "which FP32 cannot hold"),
    "text": (doubling([1, "2"]), "element 1 of input 'x' is '2', expected a number"),
    "truth": (doubling([True, 2]), "element 0 of input 'x' is true, FP32 needs a number"),
    "an object": (doubling([{}, 2]), "element 0 of input 'x' is an object"),
    "a number beyond the type": (doubling([1e39, 2]), "is 1e+39, which FP32 cannot hold"),
    "a number beyond any type": (doubling([10**400, 2]), "which FP32 cannot hold"),
    "a float beyond any type": (
        b'{"inputs":[{"name":"x","datatype":"FP32","shape":[2,1],"data":[1e400,NaN]}]}',
        "element 0 of input 'x' is inf, which FP32 cannot hold",
    ),
    "an unknown input": (doubling(name="z"), "unexpected inference input 'z'"),
    "an input twice": ({"inputs": [INPUT, INPUT]}, "input 'x' already exists in request"),
    "an unknown output": (
        doubling() | {"outputs": [{"name": "z"}]},
        "unexpected inference output 'z'",
    ),
    "outputs that are no list": (doubling() | {"outputs": "y"}, "'outputs' of the request"),
    "an output without a name": (doubling() | {"outputs": [{}]}, "output 0 needs 'name'"),
    "another datatype": (doubling([1, 2], datatype="INT32"), "'x' of model 'doubling' is FP32"),
    "another shape": (doubling(shape=[1, 2]), "has shape [-1, 1] (-1: any size), got [1, 2]"),
    "no rows": (doubling([], shape=[0, 1]), "has no rows"),
    "parameters that are a list": (doubling() | {"parameters": []}, "'parameters' of the request"),
    "a parameter that is null": (
        doubling() | {"parameters": {"a": None}},
        "parameter 'a' of the request must be a number",
    ),
    "a parameter beyond 64 bits": (
        doubling() | {"parameters": {"a": 1 << 64}},
        "parameter 'a' of the request must be a number of 64 bits",
    ),
    "a flag that is none": (
        doubling() | {"parameters": {"binary_data_output": 1}},
        "parameter 'binary_data_output' of the request must be true or false",
    ),
    "binary data that is not there": (
        doubling(data=[], parameters={"binary_data_size": 8}) | {},
        "input 'x' has both 'data' and 'binary_data_size'",
    ),
    "a size of text": (
        {"inputs": [{**INPUT, "parameters": {"binary_data_size": "8"}}]},
        "'binary_data_size' of input 'x' is '8', expected a number of bytes",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_request_is_400_with_a_sentence(rest: Rest, kind: str) -> None:
    """Which names the culprit and what was expected."""
    content, text = BAD[kind]
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    reply = rest.request("POST", "/v2/models/doubling/infer", body)

    assert reply.status == 400
    assert text in reply.error


BINARY_BAD: dict[str, tuple[dict[str, Any], bytes, str, str]] = {
    "too short": ({"binary_data_size": 8}, b"1234", "", "claims 8 bytes of binary data, 4 are"),
    "too long": ({"binary_data_size": 8}, bytes(12), "", "4 bytes follow the JSON"),
    "another size": ({"binary_data_size": 4}, bytes(4), "", "byte size mismatch"),
    "unclaimed": ({}, bytes(8), "", "input 'x' has neither 'data' nor"),
    "a length beyond the body": ({"binary_data_size": 8}, bytes(8), "99999", "expected 0 to"),
    "a length that is none": ({"binary_data_size": 8}, bytes(8), "-1", "is '-1', expected 0 to"),
    "a length of letters": ({"binary_data_size": 8}, bytes(8), "ten", "is 'ten', expected 0 to"),
}


@pytest.mark.parametrize("kind", BINARY_BAD)
def test_bad_binary_data_is_400_with_a_sentence(rest: Rest, kind: str) -> None:
    """Nothing is read beyond what is there, and nothing is left over."""
    parameters, tail, length, text = BINARY_BAD[kind]
    head = json.dumps(doubling(data=(), parameters=parameters) | {}).encode()
    content = json.loads(head)
    del content["inputs"][0]["data"]
    head = json.dumps(content).encode()
    reply = rest.request(
        "POST",
        "/v2/models/doubling/infer",
        head + tail,
        Inference_Header_Content_Length=length or str(len(head)),
    )

    assert reply.status == 400
    assert text in reply.error


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v3", 404),
        ("GET", "/v2/models/nobody", 404),
        ("GET", "/v2/models/nobody/ready", 404),
        ("POST", "/v2/models/nobody/infer", 404),
        ("GET", "/v2/models/doubling/versions/7", 404),
        ("GET", "/v2/models/doubling/versions/new", 400),
        ("GET", "/v2/models/a%2Fb", 404),
        ("GET", "/v2/models/%FF", 404),
        ("GET", "/v2/models//ready", 404),
        ("GET", "/v2/models/doubling/infer", 405),
        ("POST", "/v2/models/doubling", 405),
        ("DELETE", "/v2", 405),
        ("POST", "/v2/repository/models/doubling/load", 501),
        ("POST", "/v2/repository/models/doubling/unload", 501),
        ("GET", "/v2/systemsharedmemory/status", 501),
        ("POST", "/v2/trace/setting", 501),
    ],
)
def test_what_is_not_there_has_its_status(rest: Rest, method: str, path: str, status: int) -> None:
    """And a sentence, in JSON."""
    body = json.dumps(doubling()).encode() if path.endswith("/infer") else None
    reply = rest.request(method, path, body)

    assert reply.status == status
    assert reply.error
    assert ("allow" in reply.headers) == (status == 405)


def test_a_fault_of_one_request_is_its_own(rest: Rest) -> None:
    """An index outside the table fails in the runtime: 500, and the next is answered."""
    bad = rest.infer("lookup", {"inputs": [tensor("index", np.array([[9]], np.int64))]})
    good = rest.infer("lookup", {"inputs": [tensor("index", np.array([[3]], np.int64))]})

    assert bad.status == 500
    assert good.content["outputs"][0]["data"] == [3.0]


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
)
def test_bodies_may_be_compressed_both_ways(rest: Rest, encoding: str, pack: Any) -> None:
    """As tritonclient does it: the length of the JSON is that before compression."""
    x = np.arange(2000, dtype=np.float32).reshape(-1, 1)
    body, headers = binary_request([("x", "FP32", x)], parameters={"binary_data_output": True})
    reply = rest.request(
        "POST",
        "/v2/models/doubling/infer",
        pack(body),
        Content_Encoding=encoding,
        Accept_Encoding=encoding,
        **headers,
    )
    plain = rest.request("POST", "/v2/models/doubling/infer", body, **headers)
    unpacked = zlib.decompress(reply.body, 32 + zlib.MAX_WBITS)

    assert reply.headers["content-encoding"] == encoding
    assert len(reply.body) < len(plain.body)
    assert unpacked == plain.body
    assert plain.split()[1] == (2 * x).tobytes()
    assert reply.headers["inference-header-content-length"] == str(len(plain.body) - x.nbytes)


def test_a_small_answer_is_not_worth_compressing(rest: Rest) -> None:
    """Nor is one that the caller refuses so."""
    small = rest.infer("doubling", doubling(), Accept_Encoding="gzip, deflate")
    x = np.zeros((2000, 1), np.float32)
    refused = rest.infer("doubling", {"inputs": [tensor("x", x)]}, Accept_Encoding="gzip;q=0")

    assert "content-encoding" not in small.headers
    assert "content-encoding" not in refused.headers


def test_a_body_beyond_the_limit_is_413(rest: Rest) -> None:
    """By its declared size, by what comes, and by what it unpacks to; then all goes on."""
    connection = rest.connect()
    connection.putrequest("POST", "/v2/models/doubling/infer")
    connection.putheader("Content-Length", str(MAX_BYTES + 1))
    connection.endheaders()
    declared = connection.getresponse().status
    connection.close()
    chunked = rest.connect()
    pieces = (bytes(1 << 16) for _ in range(MAX_BYTES // (1 << 16) + 2))
    chunked.request("POST", "/v2/models/doubling/infer", pieces, encode_chunked=True)
    sent = chunked.getresponse().status
    chunked.close()
    bomb = zlib.compress(bytes(20 * MAX_BYTES))
    unpacked = rest.request("POST", "/v2/models/doubling/infer", bomb, Content_Encoding="deflate")
    # Eight bytes an element on the wire, two in JSON.
    wide = {"name": "INPUT0", "datatype": "FP64", "shape": [1 << 18, 2], "data": [0] * (1 << 19)}
    grown = rest.request(
        "POST",
        "/v2/models/FP64/infer",
        json.dumps({"inputs": [wide]}, separators=(",", ":")).encode(),
    )

    assert [declared, sent, unpacked.status, grown.status] == [413] * 4
    assert f"larger than {MAX_BYTES} bytes (--max-message-bytes)" in unpacked.error
    assert f"larger than {MAX_BYTES} bytes (--max-message-bytes)" in grown.error
    assert rest.infer("doubling", doubling()).status == 200


def test_other_encodings_and_broken_ones_are_refused(rest: Rest) -> None:
    """415 for what is not known, 400 for what is not what it says."""
    path = "/v2/models/doubling/infer"
    replies = [
        rest.request("POST", path, b"x", Content_Encoding="br"),
        rest.request("POST", path, b"no zlib", Content_Encoding="gzip"),
        rest.request("POST", path, gzip.compress(b"{}")[:-4], Content_Encoding="gzip"),
    ]

    assert [reply.status for reply in replies] == [415, 400, 400]
    assert replies[2].error == "the compressed body is cut off"


def test_a_deadline_is_that_of_grpc(rest: Rest) -> None:
    """504 when it has passed; what is no deadline is 400."""
    body, headers = binary_request([("x", "FP32", HEAVY)])
    path = "/v2/models/heavy/infer"
    late = rest.request("POST", path, body, Grpc_Timeout="1m", **headers)
    wrong = rest.request("POST", path, body, Grpc_Timeout="soon", **headers)
    none = rest.infer("doubling", doubling(), Grpc_Timeout="0n")
    enough = rest.infer("doubling", doubling(), Grpc_Timeout="20S")
    ages = rest.infer("doubling", doubling(), Grpc_Timeout="99999999H")

    assert (504, 400, 504) == (late.status, wrong.status, none.status)
    assert (200, 200) == (enough.status, ages.status)
    assert "grpc-timeout is 'soon'" in wrong.error


def test_a_caller_who_hangs_up_is_not_worked_for(rest: Rest, server: Server) -> None:
    """Its call is cancelled while it waits for the model, and counted."""
    body, headers = binary_request([("x", "FP32", HEAVY)])
    length = headers["Inference_Header_Content_Length"]
    head = (
        f"POST /v2/models/heavy/infer HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n"
        f"Inference-Header-Content-Length: {length}\r\n\r\n"
    ).encode()
    series = 'isotherm_rejected_total{model="heavy",reason="cancelled",version="1"}'

    def hung_up() -> bool:
        callers = [socket.create_connection(("127.0.0.1", rest.port)) for _ in range(12)]
        for caller in callers:
            caller.sendall(head + body)
        threading.Event().wait(0.1)
        for caller in callers:
            caller.close()
        return eventually(lambda: server.metric(series) > 0, 3)

    assert eventually(hung_up, 30)


def test_a_connection_is_kept_for_the_next_request(rest: Rest) -> None:
    """Also after an error."""
    connection = rest.connect()
    path = "/v2/models/doubling/infer"
    statuses = [
        send(connection, "POST", path, json.dumps(content).encode()).status
        for content in (doubling(), {}, doubling())
    ]
    first = connection.sock
    statuses.append(send(connection, "GET", "/v2").status)
    kept = connection.sock is first is not None
    connection.close()

    assert statuses == [200, 400, 200, 200]
    assert kept


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_rest_and_grpc_answer_alike(rest: Rest, channel: grpc.Channel, data: st.DataObject) -> None:
    """Generated requests: the same outputs, or the same text of an error."""
    rows = data.draw(st.integers(0, 4), "rows")
    tail = data.draw(st.sampled_from([(1, 2), (2, 3), (3,), (0, 2)]), "shape")
    floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
    count = rows * math.prod(tail)
    values = data.draw(st.lists(floats, min_size=count, max_size=count), "values")
    x = np.array(values, np.float32).reshape(rows, *tail)
    nested = data.draw(st.booleans(), "nested")
    reply = rest.infer("free", {"inputs": [tensor("INPUT0", x, nested=nested)]})
    try:
        expected = outputs_of(call(channel, "ModelInfer", infer_request("free", INPUT0=x)))
    except grpc.RpcError as error:
        assert isinstance(error, grpc.Call)
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert (400, error.details()) == (reply.status, reply.error)
        return
    (output,) = reply.content["outputs"]

    assert output["shape"] == list(x.shape)
    assert np.array(output["data"], np.float32).tobytes() == expected["OUTPUT0"].tobytes()


def test_calls_of_rest_are_counted_where_they_are_answered(rest: Rest, server: Server) -> None:
    """By the workers, as what they are: calls of gRPC."""
    series = (
        'grpc_server_handled_total{grpc_code="OK",grpc_method="ModelMetadata",'
        'grpc_service="inference.GRPCInferenceService",grpc_type="unary"}'
    )
    before = server.metric(series)
    rest.get("/v2/models/doubling")

    assert eventually(lambda: server.metric(series) == before + 1)
