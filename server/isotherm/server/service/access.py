"""Who may call what: gates before the services, by the bearer token of a call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from isotherm.server.rpcs import CONTROL_RPCS
from isotherm.server.service.tokens import TokenFile
from isotherm.server.transport.call import Gate, Metadata, Methods, StatusCode, Stream, Unary

_MISSING: Final = "this server asks for a token, as metadata 'authorization: Bearer TOKEN'"
_WRONG: Final = "the token is not valid"
_NOT_CONTROL: Final = "this token does not allow to control the server"


@dataclass(frozen=True, slots=True)
class Access:
    """The tokens that are asked for. A control token is good for every call."""

    auth: TokenFile | None = None
    control: TokenFile | None = None

    def guard(
        self,
        methods: Methods,
        public: Mapping[str, Unary | Stream],
    ) -> Methods:
        """Put gates before methods; a caller without a valid token gets that of `public`, if any.

        Where no token is asked for there is no gate, and nothing to pay.
        """
        table: dict[str, Unary | Stream | Gate] = dict(methods)
        for path, method in methods.items():
            if path in CONTROL_RPCS and self.control is not None:
                table[path] = self._control_gate(method, self.control)
            elif self.auth is not None:
                table[path] = self._gate(method, public.get(path), self.auth)
        return table

    def _gate(
        self, method: Unary | Stream | Gate, public: Unary | Stream | None, auth: TokenFile
    ) -> Gate:
        control = self.control

        def choose(metadata: Metadata) -> Unary | Stream:
            token = _token(metadata)
            if token and (auth.holds(token) or (control is not None and control.holds(token))):
                return _behind(method, metadata)
            return public or (_REFUSE_WRONG if token else _REFUSE_MISSING)

        return Gate(choose)

    def _control_gate(self, method: Unary | Stream | Gate, control: TokenFile) -> Gate:
        auth = self.auth

        def choose(metadata: Metadata) -> Unary | Stream:
            token = _token(metadata)
            if not token:
                return _REFUSE_MISSING
            if control.holds(token):
                return _behind(method, metadata)
            known = auth is not None and auth.holds(token)
            return _REFUSE_CONTROL if known else _REFUSE_WRONG

        return Gate(choose)


def _behind(method: Unary | Stream | Gate, metadata: Metadata) -> Unary | Stream:
    return method.choose(metadata) if isinstance(method, Gate) else method


def _token(metadata: Metadata) -> str:
    """Return the bearer token of a call; "" when it brings none."""
    for key, value in metadata:
        if key == "authorization":
            scheme, _, token = value.partition(" ")
            return token.strip() if scheme.lower() == "bearer" else ""
    return ""


def _refusal(code: StatusCode, details: str) -> Stream:
    # As a stream, whatever the method is: it ends before a message of the caller is read.
    return Stream(lambda call: call.fail(code, details))


_REFUSE_MISSING: Final = _refusal(StatusCode.UNAUTHENTICATED, _MISSING)
_REFUSE_WRONG: Final = _refusal(StatusCode.UNAUTHENTICATED, _WRONG)
_REFUSE_CONTROL: Final = _refusal(StatusCode.PERMISSION_DENIED, _NOT_CONTROL)
