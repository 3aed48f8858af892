"""`isotherm serve`: flags and environment to settings, errors to one sentence."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from isotherm.server import cpus, flags, gpus, logs, observing, placement_flags, repository_flags
from isotherm.server.config import (
    BatchingConfig,
    DeviceConfig,
    LimitsConfig,
    SecurityConfig,
    ServerConfig,
    TracingConfig,
    VettingConfig,
)
from isotherm.server.errors import ConfigError, StartError

_log = logging.getLogger(__name__)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class ModelControlChoice(StrEnum):
    """Who decides what is served after the start."""

    none = "none"
    poll = "poll"
    explicit = "explicit"


class TransportChoice(StrEnum):
    """What carries the calls."""

    auto = "auto"
    core = "core"
    aio = "aio"


class LogFormatChoice(StrEnum):
    """How a line of the log is written."""

    text = "text"
    json = "json"


class VettingChoice(StrEnum):
    """How far model files are trusted."""

    off = "off"
    standard = "standard"
    strict = "strict"


@app.command()
def serve(
    repository: Annotated[
        Path, typer.Argument(help="Folder of <model>/<version>/model.onnx.", show_default=False)
    ],
    model_name: repository_flags.ModelName = None,
    repository_wait: repository_flags.RepositoryWait = 0.0,
    host: Annotated[
        str, typer.Option(help="Address to bind; 0.0.0.0 for all.", envvar="ISOTHERM_HOST")
    ] = "127.0.0.1",
    grpc_port: Annotated[
        int, typer.Option(help="gRPC port; 0 for any free one.", envvar="ISOTHERM_GRPC_PORT")
    ] = 8001,
    metrics_port: Annotated[
        int, typer.Option(help="HTTP port of /metrics.", envvar="ISOTHERM_METRICS_PORT")
    ] = 8002,
    http_port: flags.HttpPort = None,
    workers: placement_flags.Workers = None,
    provider: placement_flags.Provider = placement_flags.ProviderChoice.auto,
    device_ids: placement_flags.DeviceIds = None,
    cuda_graphs: placement_flags.CudaGraphs = True,
    gpu_memory_limit: placement_flags.GpuMemoryLimit = 4096,
    transport: Annotated[
        TransportChoice,
        typer.Option(
            help="core is fast; auto takes it where it is known to work.",
            envvar="ISOTHERM_TRANSPORT",
        ),
    ] = TransportChoice.auto,
    max_batch_size: Annotated[
        int, typer.Option(help="Rows in one run of a model.", envvar="ISOTHERM_MAX_BATCH_SIZE")
    ] = 1024,
    max_queue_delay_us: Annotated[
        int,
        typer.Option(
            help="Microseconds to wait for company; 0 never waits while the model is idle.",
            envvar="ISOTHERM_MAX_QUEUE_DELAY_US",
        ),
    ] = 0,
    max_queue_rows: Annotated[
        int,
        typer.Option(
            help="Rows that may wait for a model; more are refused.",
            envvar="ISOTHERM_MAX_QUEUE_ROWS",
        ),
    ] = 65536,
    max_queue_bytes: Annotated[
        int,
        typer.Option(
            help="Bytes of requests that may wait for a model in a worker; more are refused.",
            envvar="ISOTHERM_MAX_QUEUE_BYTES",
        ),
    ] = 256 << 20,
    instances: placement_flags.Instances = None,
    intra_op_threads: placement_flags.IntraOpThreads = 1,
    drain_delay: Annotated[
        float,
        typer.Option(
            help="Seconds to go on serving after SIGTERM while health says NOT_SERVING.",
            envvar="ISOTHERM_DRAIN_DELAY",
        ),
    ] = 0.0,
    grace: Annotated[
        float,
        typer.Option(
            help="Seconds that calls in flight then have to end.", envvar="ISOTHERM_GRACE"
        ),
    ] = 30.0,
    max_connection_age: flags.MaxConnectionAge = 0.0,
    exit_on_error: Annotated[
        bool,
        typer.Option(
            help="Whether one model that cannot be loaded keeps the server from starting.",
            envvar="ISOTHERM_EXIT_ON_ERROR",
        ),
    ] = True,
    model_control: Annotated[
        ModelControlChoice,
        typer.Option(
            help="poll follows the folder; explicit lets callers load and unload.",
            envvar="ISOTHERM_MODEL_CONTROL",
        ),
    ] = ModelControlChoice.none,
    poll_seconds: Annotated[
        float,
        typer.Option(help="How often poll looks at the folder.", envvar="ISOTHERM_POLL_SECONDS"),
    ] = 15.0,
    load_model: Annotated[
        list[str] | None,
        typer.Option(
            help="With explicit: a model to load at the start; '*' is all. May be repeated.",
            envvar="ISOTHERM_LOAD_MODEL",
        ),
    ] = None,
    tls_cert: flags.TlsCert = None,
    tls_key: flags.TlsKey = None,
    tls_client_ca: flags.TlsClientCa = None,
    auth_token_file: flags.AuthTokenFile = None,
    control_token_file: flags.ControlTokenFile = None,
    max_message_bytes: flags.MaxMessageBytes = 0,
    max_concurrent_streams: flags.MaxConcurrentStreams = 0,
    max_connections: flags.MaxConnections = 0,
    max_connection_idle: flags.MaxConnectionIdle = 900.0,
    keepalive_time: flags.KeepaliveTime = 60.0,
    keepalive_timeout: flags.KeepaliveTimeout = 20.0,
    vetting: Annotated[
        VettingChoice,
        typer.Option(
            help="standard tries each file in bounds of its own; strict takes layers only.",
            envvar="ISOTHERM_VETTING",
        ),
    ] = VettingChoice.standard,
    vetting_seconds: flags.VettingSeconds = 60.0,
    vetting_memory_mib: flags.VettingMemoryMib = 4096,
    vetting_domain: flags.VettingDomain = None,
    log_level: Annotated[
        str, typer.Option(help=" | ".join(logs.LEVELS), envvar="ISOTHERM_LOG_LEVEL")
    ] = "info",
    log_format: Annotated[
        LogFormatChoice,
        typer.Option(help="A line of text, or an object of JSON.", envvar="ISOTHERM_LOG_FORMAT"),
    ] = LogFormatChoice.text,
    log_control: observing.LogControl = False,
    access_log: observing.AccessLog = 0.0,
    tracing_endpoint: observing.TracingEndpoint = None,
    tracing_share: observing.TracingShare = 0.001,
    drift_window: observing.DriftWindow = 600.0,
    feedback_window: observing.FeedbackWindow = 3600.0,
) -> None:
    """Serve a model repository over gRPC (Open Inference Protocol) in dynamic batches."""
    if log_level not in logs.LEVELS:
        _fail(f"--log-level is '{log_level}', expected one of {', '.join(logs.LEVELS)}", log_format)
    logs.configure(log_level, process="isotherm", form=log_format.value)
    try:
        devices = gpus.used(provider.value, _device_ids(device_ids))
        config = ServerConfig(
            repository=repository,
            model_name=model_name,
            repository_wait_s=repository_wait,
            host=host,
            grpc_port=grpc_port,
            metrics_port=metrics_port,
            http_port=http_port,
            workers=_workers(workers, devices),
            provider=provider.value,
            transport=transport.value,
            intra_op_threads=intra_op_threads or cpus.allowed(),
            batching=BatchingConfig(
                max_batch_size=max_batch_size,
                max_queue_delay_us=max_queue_delay_us,
                max_queue_rows=max_queue_rows,
                max_queue_bytes=max_queue_bytes,
                instances=1 if instances is None else instances,
                lanes=2 if instances is None else instances,
            ),
            device=DeviceConfig(ids=devices, graphs=cuda_graphs, memory_limit_mib=gpu_memory_limit),
            security=SecurityConfig(
                tls_cert=tls_cert,
                tls_key=tls_key,
                tls_client_ca=tls_client_ca,
                auth_token_file=auth_token_file,
                control_token_file=control_token_file,
            ),
            limits=LimitsConfig(
                max_message_bytes=max_message_bytes,
                max_concurrent_streams=max_concurrent_streams,
                max_connections=max_connections,
                max_connection_idle_s=max_connection_idle,
                keepalive_time_s=keepalive_time,
                keepalive_timeout_s=keepalive_timeout,
            ),
            vetting=VettingConfig(
                level=vetting.value,
                seconds=vetting_seconds,
                memory_mib=vetting_memory_mib,
                domains=tuple(vetting_domain or ()),
            ),
            drain_delay_s=drain_delay,
            grace_s=grace,
            max_connection_age_s=max_connection_age,
            exit_on_error=exit_on_error,
            model_control=model_control.value,
            poll_s=poll_seconds,
            load_models=tuple(load_model or ()),
            log_level=log_level,
            log_format=log_format.value,
            log_control=log_control,
            access_log=access_log,
            tracing=TracingConfig(endpoint=tracing_endpoint, share=tracing_share),
            drift_window_s=drift_window,
            feedback_window_s=feedback_window,
        )
        _log.debug("settings: %s", config.to_json())
        if config.security.sends_tokens_in_clear:
            _log.warning("tokens travel unencrypted: add --tls-cert, or keep the network private")
        # Here, so that `--help` needs no server packages.
        from isotherm.server.supervisor import Supervisor

        status = Supervisor(config).run()
    except StartError as error:
        _fail(str(error), log_format)
    raise typer.Exit(status)


def _workers(told: int | None, devices: Sequence[int]) -> int:
    if told is None:
        return max(1, len(devices))
    return told or cpus.allowed()


def _device_ids(text: str | None) -> tuple[int, ...]:
    try:
        return gpus.parse(text or "")
    except ValueError as error:
        msg = f"--device-ids is '{text}', expected numbers such as 0,1"
        raise ConfigError(msg) from error


def _fail(message: str, log_format: LogFormatChoice) -> NoReturn:
    if log_format is LogFormatChoice.json:
        logs.configure("critical", process="isotherm", form="json")
        _log.critical(message)
    else:
        print(f"isotherm serve: {message}", file=sys.stderr)  # noqa: T201
    raise typer.Exit(1)


if __name__ == "__main__":
    app()
