"""ModelInfer in JSON, with Triton's binary data after it: requests to messages, answers back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from isotherm.server.rest.elements import Literal, decode, encode
from isotherm.server.rest.exchange import BINARY, JSON, Answer, to_json
from isotherm.server.rest.status import HttpError
from isotherm.v1 import open_inference_pb2 as pb

# Where the JSON ends, when binary data follows.
JSON_LENGTH: Final = "inference-header-content-length"

_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_BINARY_SIZE: Final = "binary_data_size"
_MAX_INT64: Final = (1 << 63) - 1
_MAX_UINT64: Final = (1 << 64) - 1


@dataclass(slots=True)
class Form:
    """Which outputs go back as binary data."""

    default: bool = False
    by_name: dict[str, bool] = field(default_factory=dict)

    def binary(self, name: str) -> bool:
        """Tell whether an output does."""
        return self.by_name.get(name, self.default)


def parse(
    body: bytes, json_length: str | None, model: str, version: str
) -> tuple[pb.ModelInferRequest, Form]:
    """Return the message of a request, and the form of its answer; raise HttpError."""
    length = len(body)
    if json_length is not None:
        if not _LENGTH.fullmatch(json_length) or int(json_length) > length:
            msg = f"{JSON_LENGTH} is '{json_length[:20]}', expected 0 to {length}, the body's size"
            raise HttpError(400, msg)
        length = int(json_length)
    content = parse_object(body[:length])
    message = pb.ModelInferRequest(model_name=model, model_version=version)
    binary = memoryview(body)[length:]
    try:
        form = _fill(message, content, binary)
    except UnicodeEncodeError as error:
        msg = "the request has text with half a surrogate pair, which is no text"
        raise HttpError(400, msg) from error
    return message, form


def compose(response: pb.ModelInferResponse, form: Form) -> Answer:
    """Return the answer of a response: JSON, and the outputs that go as they are behind it."""
    outputs: list[dict[str, Any]] = []
    tail: list[bytes] = []
    for tensor, raw in zip(response.outputs, response.raw_output_contents, strict=True):
        output: dict[str, Any] = {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": list(tensor.shape),
        }
        parameters = _plain(tensor.parameters)
        if form.binary(tensor.name):
            parameters[_BINARY_SIZE] = len(raw)
            tail.append(raw)
        else:
            output["data"] = decode(tensor.name, tensor.datatype, tensor.shape, raw)
        if parameters:
            output["parameters"] = parameters
        outputs.append(output)
    content: dict[str, Any] = {"id": response.id} if response.id else {}
    content |= {"model_name": response.model_name, "model_version": response.model_version}
    if response.parameters:
        content["parameters"] = _plain(response.parameters)
    head = to_json(content | {"outputs": outputs})
    if not tail:
        return Answer(head, JSON)
    return Answer(b"".join((head, *tail)), BINARY, headers=((JSON_LENGTH, str(len(head))),))


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a body; raise HttpError when it is none."""
    try:
        content = json.loads(body.decode(), parse_constant=Literal)
    except UnicodeDecodeError as error:
        msg = f"the body is not UTF-8: {error.reason} at byte {error.start}"
        raise HttpError(400, msg) from error
    except (ValueError, RecursionError) as error:
        reason = "too deep" if isinstance(error, RecursionError) else str(error)
        msg = f"the body is not JSON: {reason}"
        raise HttpError(400, msg) from error
    if not isinstance(content, dict):
        msg = "the body is not a JSON object"
        raise HttpError(400, msg)
    return content


def _fill(message: pb.ModelInferRequest, content: dict[str, Any], binary: memoryview) -> Form:
    message.id = _text(content, "id", "the request", default="")
    form = Form()
    parameters = _parameters(content, "the request")
    form.default = _flag(parameters, "binary_data_output", "the request")
    _set(message.parameters, parameters, "the request")
    for number, tensor in enumerate(_objects(content, "inputs", required=True)):
        name = _text(tensor, "name", f"input {number}")
        owner = f"input '{name}'"
        datatype, shape = _text(tensor, "datatype", owner), _shape(tensor, owner)
        parameters = _parameters(tensor, owner)
        size = parameters.pop(_BINARY_SIZE, None)
        message_tensor = message.inputs.add(name=name, datatype=datatype, shape=shape)
        _set(message_tensor.parameters, parameters, owner)
        if size is not None:
            raw, binary = _cut(binary, size, tensor, owner)
            message.raw_input_contents.append(raw)
        elif "data" in tensor:
            message.raw_input_contents.append(encode(name, datatype, shape, tensor["data"]))
        elif "shared_memory_region" not in parameters:
            msg = f"{owner} has neither 'data' nor the parameter '{_BINARY_SIZE}'"
            raise HttpError(400, msg)
    if binary:
        msg = f"{len(binary)} bytes follow the JSON that no input's '{_BINARY_SIZE}' claims"
        raise HttpError(400, msg)
    for number, output in enumerate(_objects(content, "outputs")):
        name = _text(output, "name", f"output {number}")
        parameters = _parameters(output, f"output '{name}'")
        if "binary_data" in parameters:
            form.by_name[name] = _flag(parameters, "binary_data", f"output '{name}'")
        _set(message.outputs.add(name=name).parameters, parameters, f"output '{name}'")
    return form


def _cut(
    binary: memoryview, size: object, tensor: dict[str, Any], owner: str
) -> tuple[bytes, memoryview]:
    if type(size) is not int or size < 0:
        msg = f"parameter '{_BINARY_SIZE}' of {owner} is {size!r}, expected a number of bytes"
        raise HttpError(400, msg)
    if "data" in tensor:
        msg = f"{owner} has both 'data' and '{_BINARY_SIZE}': send one"
        raise HttpError(400, msg)
    if size > len(binary):
        msg = f"{owner} claims {size} bytes of binary data, {len(binary)} are left of the body"
        raise HttpError(400, msg)
    return bytes(binary[:size]), binary[size:]


def _objects(content: dict[str, Any], key: str, *, required: bool = False) -> Iterator[Any]:
    found = content.get(key, None if required else [])
    if not isinstance(found, list):
        msg = f"'{key}' of the request must be a list of objects"
        raise HttpError(400, msg)
    for number, item in enumerate(found):
        if not isinstance(item, dict):
            msg = f"item {number} of '{key}' must be an object"
            raise HttpError(400, msg)
        yield item


def _text(content: dict[str, Any], key: str, owner: str, default: str | None = None) -> str:
    found = content.get(key, default)
    if type(found) is not str:
        msg = f"{owner} needs '{key}' as text"
        raise HttpError(400, msg)
    return found


def _shape(tensor: dict[str, Any], owner: str) -> list[int]:
    shape = tensor.get("shape")
    if not isinstance(shape, list) or not all(
        type(size) is int and 0 <= size <= _MAX_INT64 for size in shape
    ):
        msg = f"{owner} needs 'shape' as a list of whole numbers, none below 0"
        raise HttpError(400, msg)
    return shape


def _parameters(content: dict[str, Any], owner: str) -> dict[str, Any]:
    found = content.get("parameters", {})
    if not isinstance(found, dict):
        msg = f"'parameters' of {owner} must be an object"
        raise HttpError(400, msg)
    return dict(found)


def _flag(parameters: dict[str, Any], name: str, owner: str) -> bool:
    value = parameters.pop(name, False)
    if not isinstance(value, bool):
        msg = f"parameter '{name}' of {owner} must be true or false"
        raise HttpError(400, msg)
    return value


def _set(target: Any, parameters: Mapping[str, Any], owner: str) -> None:
    for name, value in parameters.items():
        parameter = target[name]
        if type(value) is bool:
            parameter.bool_param = value
        elif type(value) is int and -_MAX_INT64 - 1 <= value <= _MAX_INT64:
            parameter.int64_param = value
        elif type(value) is int and 0 <= value <= _MAX_UINT64:
            parameter.uint64_param = value
        elif type(value) is float:
            parameter.double_param = value
        elif type(value) is str:
            parameter.string_param = value
        else:
            msg = f"parameter '{name}' of {owner} must be a number of 64 bits, text, true or false"
            raise HttpError(400, msg)


def _plain(parameters: Mapping[str, pb.InferParameter]) -> dict[str, Any]:
    return {
        name: getattr(parameter, parameter.WhichOneof("parameter_choice") or "string_param")
        for name, parameter in parameters.items()
    }
