"""The settings: refused when they cannot work, and the same after a trip through JSON."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from isotherm.server.config import (
    BatchingConfig,
    DeviceConfig,
    LimitsConfig,
    SecurityConfig,
    ServerConfig,
    TracingConfig,
    VettingConfig,
)
from isotherm.server.errors import ConfigError


def test_the_defaults_are_valid():
    """A repository is all that must be given; nobody outside this machine is served."""
    config = ServerConfig(repository=Path("models"))

    assert (config.host, config.grpc_port, config.metrics_port) == ("127.0.0.1", 8001, 8002)


def test_settings_survive_json():
    """A worker gets exactly what the supervisor was told."""
    config = ServerConfig(
        repository=Path("some models"),
        model_name="mine",
        repository_wait_s=0.5,
        host="::1",
        grpc_port=0,
        metrics_port=0,
        workers=3,
        provider="cpu",
        transport="aio",
        batching=BatchingConfig(
            max_batch_size=7, max_queue_delay_us=8, max_queue_rows=9, max_queue_bytes=10
        ),
        device=DeviceConfig(ids=(2, 0), graphs=False, memory_limit_mib=777),
        security=SecurityConfig(
            tls_cert=Path("c"),
            tls_key=Path("k"),
            tls_client_ca=Path("a"),
            auth_token_file=Path("t"),
        ),
        limits=LimitsConfig(max_message_bytes=11, max_connections=12, keepalive_time_s=13.5),
        vetting=VettingConfig(seconds=14, memory_mib=1500, domains=("com.microsoft",)),
        drain_delay_s=1.5,
        grace_s=2.5,
        max_connection_age_s=3.5,
        exit_on_error=False,
        log_level="debug",
    )

    assert ServerConfig.from_json(config.to_json()) == config


def test_settings_are_frozen():
    """What was checked stays as it was checked."""
    config, name = ServerConfig(repository=Path()), "workers"
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, name, 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model_name": "a/b"}, "model_name is 'a/b', expected a name without '/' or leading '.'"),
        ({"model_name": ".a"}, "model_name is '.a', expected a name without '/' or leading '.'"),
        ({"repository_wait_s": -1}, "repository_wait_s is -1, expected 0 or more"),
        ({"workers": 0}, "workers is 0, expected 1 or more"),
        ({"drain_delay_s": -0.1}, "drain_delay_s is -0.1, expected 0 or more"),
        ({"grace_s": -1}, "grace_s is -1, expected 0 or more"),
        ({"max_connection_age_s": -1}, "max_connection_age_s is -1, expected 0 or more"),
        ({"feedback_window_s": 0}, "feedback_window_s is 0, expected 1 or more"),
        ({"grpc_port": -1}, r"grpc_port is -1, expected 0 \(any free port\) to 65535"),
        ({"metrics_port": 65536}, r"metrics_port is 65536, expected 0 \(any free port\) to 65535"),
        (
            {"grpc_port": 9000, "metrics_port": 9000},
            "grpc_port and metrics_port are both 9000: give each its own",
        ),
    ],
)
def test_server_settings_that_cannot_work_are_refused(settings, message):
    """The text names the setting, what it is and what it may be."""
    with pytest.raises(ConfigError, match=f"^{message}$"):
        ServerConfig(repository=Path(), **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_batch_size": 0}, "max_batch_size is 0, expected 1 or more"),
        ({"max_queue_delay_us": -1}, "max_queue_delay_us is -1, expected 0 or more"),
        ({"max_queue_rows": 1023}, "max_queue_rows is 1023, expected 1024 or more"),
        ({"max_queue_bytes": 0}, "max_queue_bytes is 0, expected 1 or more"),
        ({"instances": 0}, "instances is 0, expected 1 or more"),
        ({"lanes": 0}, "lanes is 0, expected 1 or more"),
    ],
)
def test_batching_settings_that_cannot_work_are_refused(settings, message):
    """A queue must hold at least one batch."""
    with pytest.raises(ConfigError, match=f"^{message}$"):
        BatchingConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ids": (0, -1)}, "device_ids is -1, expected 0 or more"),
        ({"ids": (1, 0, 1)}, "device_ids names a device twice: 1, 0, 1"),
        ({"memory_limit_mib": 63}, "gpu_memory_limit is 63, expected 64 or more"),
    ],
)
def test_device_settings_that_cannot_work_are_refused(settings, message):
    """A device is no less used for being named twice."""
    with pytest.raises(ConfigError, match=f"^{message}$"):
        DeviceConfig(**settings)


def test_workers_take_the_devices_in_turn():
    """More workers than devices share them; without a number it is the first."""
    assert [DeviceConfig(ids=(2, 5)).number(slot) for slot in range(5)] == [2, 5, 2, 5, 2]
    assert [DeviceConfig().number(slot) for slot in range(3)] == [0, 0, 0]


@pytest.mark.parametrize("name", ["grace_s", "drain_delay_s", "max_connection_age_s"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_time_that_is_no_time_is_refused(name: str, value: float):
    """Such a value would pass every comparison, and fail while the server stops."""
    settings: dict[str, Any] = {name: value}
    with pytest.raises(ConfigError, match=f"^{name} is {value}, expected"):
        ServerConfig(repository=Path(), **settings)


def test_both_ports_may_be_any_free_one():
    """Zero and zero are not the same port."""
    config = ServerConfig(repository=Path(), grpc_port=0, metrics_port=0)

    assert config.grpc_port == config.metrics_port


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tls_cert": Path("c")}, "tls_cert needs tls_key: TLS takes both"),
        ({"tls_key": Path("k")}, "tls_key needs tls_cert: TLS takes both"),
        (
            {"tls_client_ca": Path("a")},
            "tls_client_ca needs tls_cert and tls_key: without TLS no client shows anything",
        ),
    ],
)
def test_security_settings_that_need_each_other_are_refused_alone(settings, message):
    """A server that was meant to be protected does not start without."""
    with pytest.raises(ConfigError, match=f"^{message}$"):
        SecurityConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "in_clear"),
    [
        ({}, False),
        ({"auth_token_file": Path("t")}, True),
        ({"control_token_file": Path("t")}, True),
        ({"auth_token_file": Path("t"), "tls_cert": Path("c"), "tls_key": Path("k")}, False),
    ],
)
def test_tokens_without_tls_are_noticed(settings, in_clear):
    """Whoever listens has them."""
    assert SecurityConfig(**settings).sends_tokens_in_clear is in_clear


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(LimitsConfig)])
def test_limits_below_zero_are_refused(name: str):
    """Zero is no limit; less is a mistake."""
    with pytest.raises(ConfigError, match=f"^{name} is -1, expected"):
        LimitsConfig(**{name: -1})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seconds": 0.5}, "vetting_seconds is 0.5, expected 1 or more"),
        ({"memory_mib": 16}, "vetting_memory_mib is 16, expected 256 or more"),
        (
            {"level": "strict", "domains": ("com.microsoft",)},
            "vetting_domain needs vetting standard, which is strict",
        ),
    ],
)
def test_vetting_that_could_not_work_is_refused(settings: dict[str, Any], message: str):
    """By the setting's name."""
    with pytest.raises(ConfigError, match=message):
        VettingConfig(**settings)


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://collector:4318", "http://collector:4318/v1/traces"),
        ("https://collector:4318/", "https://collector:4318/v1/traces"),
        ("https://vendor.example/otlp/v1/traces", "https://vendor.example/otlp/v1/traces"),
    ],
)
def test_spans_go_to_the_path_of_the_protocol_unless_there_is_one(endpoint: str, url: str):
    """Collectors listen there; a vendor may not."""
    assert TracingConfig(endpoint=endpoint).url == url


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"share": -0.1}, "tracing_share is -0.1, expected a share"),
        ({"share": 1.1}, "tracing_share is 1.1, expected a share"),
        ({"endpoint": "collector:4318"}, "expected http://HOST:4318"),
        ({"endpoint": "http:///v1/traces"}, "expected http://HOST:4318"),
        ({"endpoint": "http://a:b@collector"}, "OTEL_EXPORTER_OTLP_HEADERS"),
    ],
)
def test_tracing_that_could_not_work_is_refused(settings: dict[str, Any], message: str):
    """With what was expected."""
    with pytest.raises(ConfigError, match=message):
        TracingConfig(**settings)


def test_tracing_and_the_logs_format_survive_json():
    """A worker gets exactly what the supervisor was told."""
    tracing = TracingConfig(endpoint="http://collector:4318", share=0.5)
    config = ServerConfig(repository=Path("models"), tracing=tracing, log_format="json")

    assert ServerConfig.from_json(config.to_json()) == config
