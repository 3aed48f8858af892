"""What annotations of the clients name, imported when somebody asks what it is.

A type checker sees the names here; at run time `typing.get_type_hints` finds them, as whatever
validates or injects arguments does, and nobody else pays for them.
"""
# ruff: noqa: PLC0414  a name imported as itself is there for other modules

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from numpy.typing import ArrayLike as ArrayLike

    from isotherm.client._conversation import Outputs as Outputs
    from isotherm.client._hedge import Hedge as Hedge
    from isotherm.client._inputs import Inputs as Inputs
    from isotherm.client._interval import Interval as Interval
    from isotherm.client._prediction import Prediction as Prediction
    from isotherm.client._questions import Version as Version
    from isotherm.client._security import Tls as Tls
    from isotherm.client._security import Token as Token
    from isotherm.client._settings import Unknown as Unknown
    from isotherm.v1.contract_pb2 import Contract as Contract
    from isotherm.v1.open_inference_pb2 import ModelConfig as ModelConfig
    from isotherm.v1.open_inference_pb2 import ModelMetadataResponse as ModelMetadataResponse
    from isotherm.v1.open_inference_pb2 import ModelStatisticsResponse as ModelStatisticsResponse
    from isotherm.v1.open_inference_pb2 import RepositoryIndexResponse as RepositoryIndexResponse
    from isotherm.v1.open_inference_pb2 import ServerMetadataResponse as ServerMetadataResponse
    from isotherm.v1.tensors import Array as Array

_MESSAGES: Final = "isotherm.v1.open_inference_pb2"
_MODULES: Final = {
    "Array": "isotherm.v1.tensors",
    "ArrayLike": "numpy.typing",
    "Contract": "isotherm.v1.contract_pb2",
    "Hedge": "isotherm.client._hedge",
    "Inputs": "isotherm.client._inputs",
    "Interval": "isotherm.client._interval",
    "ModelConfig": _MESSAGES,
    "ModelMetadataResponse": _MESSAGES,
    "ModelStatisticsResponse": _MESSAGES,
    "Outputs": "isotherm.client._conversation",
    "Prediction": "isotherm.client._prediction",
    "RepositoryIndexResponse": _MESSAGES,
    "ServerMetadataResponse": _MESSAGES,
    "Tls": "isotherm.client._security",
    "Token": "isotherm.client._security",
    "Unknown": "isotherm.client._settings",
    "Version": "isotherm.client._questions",
}


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        msg = f"module '{__name__}' has no attribute '{name}'"
        raise AttributeError(msg)
    return getattr(import_module(module), name)
