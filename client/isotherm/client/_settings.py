"""The settings of a client: what its constructor is given."""

from __future__ import annotations

from dataclasses import dataclass

from isotherm.client._channel import check_target
from isotherm.client._hedge import Hedge
from isotherm.client._retry import Retry
from isotherm.client._security import Tls, Token


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

    def __post_init__(self) -> None:
        check_target(self.target)
