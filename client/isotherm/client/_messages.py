"""The messages of an inference: arrays into a request, an answer into arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from isotherm.client._errors import InvalidAnswerError
from isotherm.client._inputs import Fitted
from isotherm.client._prediction import Prediction
from isotherm.v1.open_inference_pb2 import ModelInferRequest, ModelInferResponse
from isotherm.v1.tensors import Array, decode_contents, decode_raw, encode_raw


def request(
    model: str, version: str, inputs: Iterable[Fitted], outputs: Sequence[str]
) -> ModelInferRequest:
    """Return the request with every input raw; an empty `outputs` asks for all of them."""
    message = ModelInferRequest(model_name=model, model_version=version)
    for name, datatype, array in inputs:
        message.inputs.add(name=name, datatype=datatype, shape=array.shape)
        message.raw_input_contents.append(encode_raw(array, datatype))
    for name in outputs:
        message.outputs.add(name=name)
    return message


def read(answer: ModelInferResponse, outputs: Sequence[str]) -> Array | Prediction:
    """Return the one array of the answer, or a Prediction of several.

    Servers that ignore `outputs` send everything: what was not asked for is left out here.
    """
    arrays = _arrays(answer)
    if outputs:
        missing = [name for name in outputs if name not in arrays]
        if missing:
            raise _unreadable(answer, f"output '{missing[0]}' is missing")
        arrays = {name: arrays[name] for name in outputs}
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    return Prediction(arrays)


def _arrays(answer: ModelInferResponse) -> dict[str, Array]:
    if not answer.outputs:
        raise _unreadable(answer, "it has no outputs")
    try:
        if not answer.raw_output_contents:
            return {each.name: decode_contents(each, kind="output") for each in answer.outputs}
        return {
            each.name: decode_raw(each.name, each.datatype, each.shape, raw, kind="output")
            for each, raw in zip(answer.outputs, answer.raw_output_contents, strict=True)
        }
    except ValueError as error:
        raise _unreadable(answer, str(error)) from error


def _unreadable(answer: ModelInferResponse, reason: str) -> InvalidAnswerError:
    msg = f"the answer of model '{answer.model_name}' cannot be read: {reason}"
    return InvalidAnswerError(msg, model=answer.model_name)
