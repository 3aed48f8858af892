"""`isotherm serve`: flags and environment to settings, errors to one sentence."""

from __future__ import annotations

import logging
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from isotherm.server import cpus, flags, logs, observing, repository_flags
from isotherm.server.config import (
    BatchingConfig,
    LimitsConfig,
    SecurityConfig,
    ServerConfig,
    TracingConfig,
    VettingConfig,
)
from isotherm.server.errors import StartError

_log = logging.getLogger(__name__)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class ProviderChoice(StrEnum):
    """Where models run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


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
    workers: Annotated[
        int,
        typer.Option(
            help="Worker processes; 0 for one a CPU that this container may use.",
            envvar="ISOTHERM_WORKERS",
        ),
    ] = 1,
    provider: Annotated[
        ProviderChoice,
        typer.Option(
            help="auto takes CUDA where it works, and says so where it does not.",
            envvar="ISOTHERM_PROVIDER",
        ),
    ] = ProviderChoice.auto,
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
    instances: Annotated[
        int,
        typer.Option(
            help="Batches of one model that may run at once, where they are long.",
            envvar="ISOTHERM_INSTANCES",
        ),
    ] = 1,
    intra_op_threads: Annotated[
        int,
        typer.Option(
            help="Threads that share one run on the CPU; 0 for as many CPUs as may be used.",
            envvar="ISOTHERM_INTRA_OP_THREADS",
        ),
    ] = 1,
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
        config = ServerConfig(
            repository=repository,
            model_name=model_name,
            repository_wait_s=repository_wait,
            host=host,
            grpc_port=grpc_port,
            metrics_port=metrics_port,
            http_port=http_port,
            workers=workers or cpus.allowed(),
            provider=provider.value,
            transport=transport.value,
            intra_op_threads=intra_op_threads or cpus.allowed(),
            batching=BatchingConfig(
                max_batch_size=max_batch_size,
                max_queue_delay_us=max_queue_delay_us,
                max_queue_rows=max_queue_rows,
                max_queue_bytes=max_queue_bytes,
                instances=instances,
            ),
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


def _fail(message: str, log_format: LogFormatChoice) -> NoReturn:
    if log_format is LogFormatChoice.json:
        logs.configure("critical", process="isotherm", form="json")
        _log.critical(message)
    else:
        print(f"isotherm serve: {message}", file=sys.stderr)  # noqa: T201
    raise typer.Exit(1)


if __name__ == "__main__":
    app()
