"""LogSettings: what the server logs, asked for and changed while it runs.

Triton has a switch a level; here a level stands for itself and all above it, so a switch takes
those above along, and the answer shows what holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal

from google.protobuf.message import DecodeError

from isotherm.server import logs
from isotherm.server.errors import (
    InvalidRequestError,
    RequestError,
    ServerError,
    UnsupportedError,
)
from isotherm.server.service.status import fail
from isotherm.server.transport.call import Call, Unary
from isotherm.v1 import open_inference_pb2 as pb

# Has every process log from a level up; the callback gets the first error, or None.
AskAll = Callable[[str, Callable[[ServerError | None], None]], None]

_Setting = pb.LogSettingsRequest.SettingValue
_Kind = Literal["bool_param", "uint32_param", "string_param"]

_FORMAT: Final = "ISO8601"
# From the lowest level up.
_SWITCHES: Final = {"log_info": "info", "log_warning": "warning", "log_error": "error"}
_KINDS: Final[Mapping[str, _Kind]] = {
    "log_verbose_level": "uint32_param",
    **dict.fromkeys(_SWITCHES, "bool_param"),
    "log_format": "string_param",
}
_WORDS: Final = {"uint32_param": "a number", "bool_param": "true or false", "string_param": "text"}


class LogSettingsService:
    """Answers what is logged, and has all processes log something else."""

    def __init__(self, ask_all: AskAll | None = None) -> None:
        """Without `ask_all`, callers may neither see nor change it."""
        self._ask_all = ask_all

    def methods(self, prefix: str) -> dict[str, Unary]:
        """Return the handler."""
        return {f"{prefix}LogSettings": Unary(self._handle)}

    def _handle(self, call: Call, message: bytes) -> None:
        ask_all = self._ask_all
        try:
            request = pb.LogSettingsRequest.FromString(message)
            if ask_all is None:
                msg = "LogSettings is not enabled: start the server with --log-control"
                raise UnsupportedError(msg)
            level = level_of(request.settings, logs.level())
        except DecodeError:
            fail(call, InvalidRequestError("the message is not a LogSettingsRequest"))
            return
        except RequestError as error:
            fail(call, error)
            return
        if not request.settings:
            call.reply(_settings(level).SerializeToString())
            return
        ask_all(level, lambda _error: call.reply(_settings(level).SerializeToString()))


def level_of(settings: Mapping[str, _Setting], level: str) -> str:
    """Return the level that holds once `settings` are applied to `level`.

    Raises InvalidRequestError for a setting that there is not or that has another type, and
    UnsupportedError for one that cannot be changed.
    """
    for name, setting in settings.items():
        _check(name, setting)
    verbose, *switches = _switches(level).values()
    if "log_verbose_level" in settings:
        verbose = settings["log_verbose_level"].uint32_param > 0
    if verbose:
        return "debug"
    for (name, lowest), on in zip(_SWITCHES.items(), switches, strict=True):
        if settings[name].bool_param if name in settings else on:
            return lowest
    return logs.OFF


def _check(name: str, setting: _Setting) -> None:
    if name == "log_file":
        msg = "'log_file' cannot be changed: the server logs to its standard error"
        raise UnsupportedError(msg)
    kind = _KINDS.get(name)
    if kind is None:
        msg = f"there is no log setting '{name}', expected one of {', '.join(_KINDS)}"
        raise InvalidRequestError(msg)
    if setting.WhichOneof("parameter_choice") != kind:
        msg = f"'{name}' must be {_WORDS[kind]}"
        raise InvalidRequestError(msg)
    if name == "log_format" and setting.string_param != _FORMAT:
        msg = f"'log_format' is '{setting.string_param}', only '{_FORMAT}' is written"
        raise UnsupportedError(msg)


def _switches(level: str) -> dict[str, bool]:
    """Return the switches that are on where `level` holds, verbose first."""
    order = ["debug", *_SWITCHES.values(), logs.OFF]
    names = ["log_verbose_level", *_SWITCHES]
    lowest = order.index(level)
    return {name: place >= lowest for place, name in enumerate(names)}


def _settings(level: str) -> pb.LogSettingsResponse:
    response = pb.LogSettingsResponse()
    for name, on in _switches(level).items():
        if name == "log_verbose_level":
            response.settings[name].uint32_param = int(on)
        else:
            response.settings[name].bool_param = on
    response.settings["log_file"].string_param = ""
    response.settings["log_format"].string_param = _FORMAT
    return response
