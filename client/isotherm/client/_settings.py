"""The settings of a client: what its constructor is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from isotherm.client._channel import check_target
from isotherm.client._errors import InvalidInputError
from isotherm.client._hedge import Hedge
from isotherm.client._retry import Retry
from isotherm.client._security import Tls, Token

Unknown: TypeAlias = Literal["take", "error"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What `Client` and `AsyncClient` are made from; their docstrings say what it means."""

    target: str
    tls: bool | Tls
    token: Token | None
    timeout_s: float
    retry: Retry | None
    connections: int
    coalesce: bool
    hedge: Hedge | None
    unknown: Unknown = "take"

    def __post_init__(self) -> None:
        check_target(self.target)
        if self.unknown not in get_args(Unknown):
            msg = f"unknown is {self.unknown!r}, expected 'take' or 'error'"
            raise InvalidInputError(msg)
