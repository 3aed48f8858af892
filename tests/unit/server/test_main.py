"""`isotherm serve`: what is wrong is said in one sentence before anything starts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from isotherm.server import flags
from isotherm.server.__main__ import app
from isotherm.server.config import LimitsConfig


def run(*arguments: str) -> tuple[int, str]:
    """Return exit status and standard error."""
    result = CliRunner().invoke(app, ["models", *arguments])
    return result.exit_code, result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--workers", "-1"), "workers is -1, expected 1 or more"),
        (("--max-batch-size", "0"), "max_batch_size is 0, expected 1 or more"),
        (("--grace", "nan"), "grace_s is nan, expected 0 or more"),
        (
            ("--grpc-port", "9000", "--metrics-port", "9000"),
            "grpc_port and metrics_port are both 9000: give each its own",
        ),
        (("--instances", "0"), "instances is 0, expected 1 or more"),
        (("--device-ids", "a"), "--device-ids is 'a', expected numbers such as 0,1"),
        (("--gpu-memory-limit", "1"), "gpu_memory_limit is 1, expected 64 or more"),
        (("--tls-cert", "server.pem"), "tls_cert needs tls_key: TLS takes both"),
        (("--max-message-bytes", "-1"), "max_message_bytes is -1, expected 0 or more"),
        (
            ("--log-level", "loud"),
            "--log-level is 'loud', expected one of debug, info, warning, error",
        ),
    ],
)
def test_a_setting_that_cannot_work_is_one_sentence(arguments: tuple[str, ...], message: str):
    """And the status is 1; nothing was started."""
    assert run(*arguments) == (1, f"isotherm serve: {message}\n")


def test_a_choice_that_there_is_not_is_a_usage_error():
    """The status that shells know for it."""
    status, text = run("--provider", "tpu")

    assert status == 2
    assert "tpu" in text


def test_every_flag_can_be_set_by_the_environment():
    """Named after the flag."""
    options = {
        parameter.name: parameter.envvar
        for parameter in get_command(app).params
        if parameter.param_type_name == "option" and parameter.name != "help"
    }

    assert options == {name: f"ISOTHERM_{(name or '').upper()}" for name in options}
    assert len(options) > 10


def test_the_security_page_names_every_flag_of_its_own():
    """And the defaults as they are."""
    page = (Path(__file__).parents[3] / "docs" / "security.md").read_text()
    names = {"--" + re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower() for name in _flags()}

    assert len(names) > 10
    assert {name for name in names if name not in page} == set()
    limits = LimitsConfig()
    assert f"| {limits.max_connection_idle_s:g} s |" in page
    assert f"| {limits.keepalive_time_s:g} s, {limits.keepalive_timeout_s:g} s |" in page


def _flags() -> list[str]:
    return [name for name in vars(flags) if name[0].isupper() and name not in {"Annotated", "Path"}]
