"""Request parameters: Triton's own are checked and heeded, all others are the caller's business."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from isotherm.server.errors import InvalidRequestError
from isotherm.v1 import open_inference_pb2 as pb

_INT, _UINT, _BOOL, _TEXT, _DOUBLE = (
    "int64_param",
    "uint64_param",
    "bool_param",
    "string_param",
    "double_param",
)

# What Triton's own parameters may be. Priority has no levels here, and nothing here is a sequence:
# both are accepted, as Triton does for models without them.
_KNOWN: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "priority": (_INT, _UINT),
        "timeout": (_INT,),
        "sequence_id": (_INT, _UINT, _TEXT),
        "sequence_start": (_BOOL,),
        "sequence_end": (_BOOL,),
        "triton_enable_empty_final_response": (_BOOL,),
    }
)
_CUSTOM: Final = (_INT, _BOOL, _TEXT, _DOUBLE)


def check_parameters(parameters: Mapping[str, pb.InferParameter]) -> float | None:
    """Check a request's parameters; return the seconds it may wait in the queue, or None.

    Raises InvalidRequestError naming the parameter and what it may be.
    """
    for name, parameter in parameters.items():
        kind = parameter.WhichOneof("parameter_choice")
        if name.startswith("triton_") and name not in _KNOWN:
            msg = f"parameter '{name}' is unknown: the prefix 'triton_' is reserved"
            raise InvalidRequestError(msg)
        allowed = _KNOWN.get(name, _CUSTOM)
        if kind not in allowed:
            msg = f"parameter '{name}' must be {' or '.join(allowed)}, got {kind or 'nothing'}"
            raise InvalidRequestError(msg)
    if "priority" in parameters and parameters["priority"].int64_param < 0:
        msg = f"parameter 'priority' is {parameters['priority'].int64_param}, expected 0 or more"
        raise InvalidRequestError(msg)
    timeout_us = parameters["timeout"].int64_param if "timeout" in parameters else 0
    return timeout_us / 1e6 if timeout_us > 0 else None
