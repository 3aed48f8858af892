"""LogSettings: Triton's switches on levels, each of which stands for all above it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest

from isotherm.server import logs
from isotherm.server.errors import InvalidRequestError, RequestError, ServerError, UnsupportedError
from isotherm.server.service.log_settings import LogSettingsService, level_of
from isotherm.server.transport.call import StatusCode, Unary
from isotherm.v1 import open_inference_pb2 as pb
from tests.unit.server.fakes import FakeCall


def settings(**values: bool | int | str) -> dict[str, pb.LogSettingsRequest.SettingValue]:
    """Return settings as they travel."""
    found = {}
    for name, value in values.items():
        setting = pb.LogSettingsRequest.SettingValue()
        if isinstance(value, bool):
            setting.bool_param = value
        elif isinstance(value, int):
            setting.uint32_param = value
        else:
            setting.string_param = value
        found[name] = setting
    return found


@pytest.fixture(autouse=True)
def _level() -> Iterator[None]:
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.INFO)
    yield
    root.setLevel(before)


@pytest.mark.parametrize(
    ("before", "changes", "after"),
    [
        ("info", {}, "info"),
        ("info", {"log_verbose_level": 1}, "debug"),
        ("debug", {"log_verbose_level": 0}, "info"),
        ("info", {"log_info": False}, "warning"),
        ("info", {"log_warning": False}, "info"),
        ("info", {"log_info": False, "log_warning": False}, "error"),
        ("error", {"log_error": False}, logs.OFF),
        (logs.OFF, {"log_error": True}, "error"),
        (logs.OFF, {"log_info": True}, "info"),
        ("warning", {"log_verbose_level": 2, "log_info": False}, "debug"),
        ("info", {"log_format": "ISO8601"}, "info"),
    ],
)
def test_the_lowest_switch_that_is_on_is_the_level(
    before: str, changes: dict[str, bool | int | str], after: str
):
    """What is not named stays as it was."""
    assert level_of(settings(**changes), before) == after


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        (
            {"log_file": "x"},
            UnsupportedError,
            "'log_file' cannot be changed: the server logs to its standard error",
        ),
        (
            {"log_format": "default"},
            UnsupportedError,
            "'log_format' is 'default', only 'ISO8601' is written",
        ),
        ({"log_info": "yes"}, InvalidRequestError, "'log_info' must be true or false"),
        ({"log_verbose_level": True}, InvalidRequestError, "'log_verbose_level' must be a number"),
        ({"log_format": 1}, InvalidRequestError, "'log_format' must be text"),
        (
            {"log_all": True},
            InvalidRequestError,
            "there is no log setting 'log_all', expected one of log_verbose_level, log_info, "
            "log_warning, log_error, log_format",
        ),
    ],
)
def test_what_is_no_setting_is_named(
    changes: dict[str, bool | int | str], error: type[RequestError], text: str
):
    """The text says what was expected."""
    with pytest.raises(error) as caught:
        level_of(settings(**changes), "info")

    assert str(caught.value) == text


class Asked:
    """What the service asked of all processes, which do it at once."""

    def __init__(self) -> None:
        self.levels: list[str] = []

    def __call__(self, level: str, done: Callable[[ServerError | None], None]) -> None:
        self.levels.append(level)
        done(None)


def ask(service: LogSettingsService, message: bytes) -> FakeCall:
    """Send one message to the service's method."""
    method = service.methods("/")["/LogSettings"]
    assert isinstance(method, Unary)
    call = FakeCall()
    method.handle(call, message)
    return call


def test_what_holds_is_answered_without_asking_anybody():
    """No setting in the request: nothing is changed."""
    asked = Asked()
    call = ask(LogSettingsService(asked), b"")
    answer = pb.LogSettingsResponse.FromString(call.sent[0]).settings

    assert asked.levels == []
    assert answer["log_verbose_level"].uint32_param == 0
    assert answer["log_info"].bool_param
    assert answer["log_warning"].bool_param
    assert answer["log_error"].bool_param
    assert answer["log_file"].string_param == ""
    assert answer["log_format"].string_param == "ISO8601"


def test_a_change_is_answered_once_all_have_made_it():
    """With what holds then."""
    asked = Asked()
    request = pb.LogSettingsRequest(settings=settings(log_info=False))
    call = ask(LogSettingsService(asked), request.SerializeToString())
    answer = pb.LogSettingsResponse.FromString(call.sent[0]).settings

    assert asked.levels == ["warning"]
    assert not answer["log_info"].bool_param
    assert answer["log_warning"].bool_param


def test_without_permission_nothing_is_told():
    """The answer says which flag gives it."""
    call = ask(LogSettingsService(), b"")

    assert call.code is StatusCode.UNIMPLEMENTED
    assert call.details == "LogSettings is not enabled: start the server with --log-control"


def test_a_message_that_is_none_is_refused():
    """Like everywhere."""
    call = ask(LogSettingsService(Asked()), b"\xff")

    assert call.code is StatusCode.INVALID_ARGUMENT
    assert call.details == "the message is not a LogSettingsRequest"
