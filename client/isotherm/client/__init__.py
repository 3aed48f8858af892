"""The client of an Isotherm server, and of any other server of the Open Inference Protocol.

from isotherm.client import Client

with Client("127.0.0.1:8001") as client:
    prediction = client.predict("thermometer", [35.7, 40.0])
"""

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
