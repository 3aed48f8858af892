"""The client of an Isotherm server, and of any other server of the Open Inference Protocol.

from isotherm.client import Client

with Client("127.0.0.1:8001") as client:
    prediction = client.predict("thermometer", [35.7, 40.0])

The names are imported when they are first asked for: the command line lives in this package as
well, and `isotherm serve` would pay a quarter of a second for gRPC and numpy that it does not use.
The protocol's messages, and what works with them, come with the first client that is made.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isotherm.client._aio import AsyncClient
    from isotherm.client._errors import (
        AccessDeniedError,
        CallCancelledError,
        ClosedError,
        DeadlineExceededError,
        InvalidAnswerError,
        InvalidInputError,
        IsothermError,
        NoContractError,
        NotFoundError,
        OverloadedError,
        RemoteError,
        ServerFaultError,
        TransientError,
        UnavailableError,
        UnsupportedError,
    )
    from isotherm.client._hedge import Hedge
    from isotherm.client._interval import Interval
    from isotherm.client._prediction import Prediction
    from isotherm.client._retry import Retry
    from isotherm.client._security import Tls
    from isotherm.client._sync import Client

__all__ = [
    "AccessDeniedError",
    "AsyncClient",
    "CallCancelledError",
    "Client",
    "ClosedError",
    "DeadlineExceededError",
    "Hedge",
    "Interval",
    "InvalidAnswerError",
    "InvalidInputError",
    "IsothermError",
    "NoContractError",
    "NotFoundError",
    "OverloadedError",
    "Prediction",
    "RemoteError",
    "Retry",
    "ServerFaultError",
    "Tls",
    "TransientError",
    "UnavailableError",
    "UnsupportedError",
]

_MODULES = {
    "AccessDeniedError": "_errors",
    "AsyncClient": "_aio",
    "CallCancelledError": "_errors",
    "Client": "_sync",
    "ClosedError": "_errors",
    "DeadlineExceededError": "_errors",
    "Hedge": "_hedge",
    "Interval": "_interval",
    "InvalidAnswerError": "_errors",
    "InvalidInputError": "_errors",
    "IsothermError": "_errors",
    "NoContractError": "_errors",
    "NotFoundError": "_errors",
    "OverloadedError": "_errors",
    "Prediction": "_prediction",
    "RemoteError": "_errors",
    "Retry": "_retry",
    "ServerFaultError": "_errors",
    "Tls": "_security",
    "TransientError": "_errors",
    "UnavailableError": "_errors",
    "UnsupportedError": "_errors",
}


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        msg = f"module 'isotherm.client' has no attribute '{name}'"
        raise AttributeError(msg)
    value = getattr(import_module(f"isotherm.client.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
