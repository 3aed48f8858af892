"""The server's settings: frozen, valid by construction, passed to workers as JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Self
from urllib.parse import urlsplit

from isotherm.server.errors import ConfigError

Provider = Literal["auto", "cpu", "cuda"]
LogFormat = Literal["text", "json"]
TransportName = Literal["auto", "core", "aio"]
# none: what is there at the start; poll: follow the folder; explicit: as callers ask.
ModelControl = Literal["none", "poll", "explicit"]
# How far model files are trusted: in all; not to harm the server; to be no more than layers.
VettingLevel = Literal["off", "standard", "strict"]

MAX_PORT: Final = 65535


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchingConfig:
    """When a batch is closed, and how much work may wait, for each model version."""

    # Rows in one call of the runtime; a larger request runs in slices.
    max_batch_size: int = 1024
    # 0: a batch is whatever arrived while the previous one ran.
    max_queue_delay_us: int = 0
    max_queue_rows: int = 65536
    max_queue_bytes: int = 256 << 20
    # 0: as many requests as fit into the other two.
    max_queue_requests: int = 0
    # How long a request may wait unless it says so itself; 0: as long as its caller does.
    queue_timeout_us: int = 0
    # Batches that may run at once, where they are too long for the loop's own thread.
    instances: int = 1
    # The same on a device: while one batch runs there, another one is copied.
    lanes: int = 2
    # While a batch waits for company, it is closed at once when it has so many rows.
    preferred_batch_sizes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Raise ConfigError on a value that could never work."""
        _at_least("max_batch_size", self.max_batch_size, 1)
        _at_least("max_queue_delay_us", self.max_queue_delay_us, 0)
        _at_least("max_queue_rows", self.max_queue_rows, self.max_batch_size)
        _at_least("max_queue_bytes", self.max_queue_bytes, 1)
        _at_least("max_queue_requests", self.max_queue_requests, 0)
        _at_least("queue_timeout_us", self.queue_timeout_us, 0)
        _at_least("instances", self.instances, 1)
        _at_least("lanes", self.lanes, 1)
        for size in self.preferred_batch_sizes:
            if not 1 <= size <= self.max_batch_size:
                msg = f"preferred_batch_size {size} is not between 1 and {self.max_batch_size}"
                raise ConfigError(msg)


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceConfig:
    """Which GPUs models run on, and how, where the provider has them run on any."""

    # As CUDA counts those that are visible; workers take them in turn. None: the first.
    ids: tuple[int, ...] = ()
    # Whether runs of one batch size are recorded and replayed, where that is faster.
    graphs: bool = True
    # Of each of a model's lanes, beside what CUDA and cuBLAS take for themselves.
    memory_limit_mib: int = 4096

    def __post_init__(self) -> None:
        """Raise ConfigError on a value that could never work."""
        for number in self.ids:
            _at_least("device_ids", number, 0)
        if len(set(self.ids)) < len(self.ids):
            msg = f"device_ids names a device twice: {', '.join(map(str, self.ids))}"
            raise ConfigError(msg)
        _at_least("gpu_memory_limit", self.memory_limit_mib, 64)

    def number(self, slot: int) -> int:
        """Return the device of a worker's slot."""
        return self.ids[slot % len(self.ids)] if self.ids else 0


@dataclass(frozen=True, kw_only=True, slots=True)
class SecurityConfig:
    """Who may call, and how the connection is protected. Paths only: no secret is a setting."""

    # PEM files; both or neither.
    tls_cert: Path | None = None
    tls_key: Path | None = None
    # Clients must then show a certificate of this CA.
    tls_client_ca: Path | None = None
    # One token a line; without a file nobody is asked for one.
    auth_token_file: Path | None = None
    control_token_file: Path | None = None

    def __post_init__(self) -> None:
        """Raise ConfigError on settings that need each other."""
        if (self.tls_cert is None) != (self.tls_key is None):
            given, missing = ("cert", "key") if self.tls_cert is not None else ("key", "cert")
            msg = f"tls_{given} needs tls_{missing}: TLS takes both"
            raise ConfigError(msg)
        if self.tls_client_ca is not None and self.tls_cert is None:
            msg = "tls_client_ca needs tls_cert and tls_key: without TLS no client shows anything"
            raise ConfigError(msg)

    @property
    def sends_tokens_in_clear(self) -> bool:
        """Whether tokens are asked for over connections that are not encrypted."""
        return self.tls_cert is None and bool(self.auth_token_file or self.control_token_file)


@dataclass(frozen=True, kw_only=True, slots=True)
class LimitsConfig:
    """What one caller may take of a worker's transport; 0 is no limit."""

    max_message_bytes: int = 0
    # Calls at once on one connection.
    max_concurrent_streams: int = 0
    # Of one worker.
    max_connections: int = 0
    # Without a call for so long, a connection is closed.
    max_connection_idle_s: float = 900.0
    # A silent connection is asked whether it is still there, and closed without an answer; 0 never.
    keepalive_time_s: float = 60.0
    keepalive_timeout_s: float = 20.0

    def __post_init__(self) -> None:
        """Raise ConfigError on a value that could never work."""
        _at_least("max_message_bytes", self.max_message_bytes, 0)
        _at_least("max_concurrent_streams", self.max_concurrent_streams, 0)
        _at_least("max_connections", self.max_connections, 0)
        _at_least("max_connection_idle_s", self.max_connection_idle_s, 0)
        _at_least("keepalive_time_s", self.keepalive_time_s, 0)
        _at_least("keepalive_timeout_s", self.keepalive_timeout_s, 0.001)


@dataclass(frozen=True, kw_only=True, slots=True)
class VettingConfig:
    """What a model file may be, and what loading it and running it once on zeros may take."""

    level: VettingLevel = "standard"
    # Of processor time.
    seconds: float = 60.0
    # Beside what its files take.
    memory_mib: int = 4096
    # Operator domains beside those of ONNX; with the standard level only.
    domains: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise ConfigError on a value that could never work."""
        _at_least("vetting_seconds", self.seconds, 1)
        _at_least("vetting_memory_mib", self.memory_mib, 256)
        if self.domains and self.level != "standard":
            msg = f"vetting_domain needs vetting standard, which is {self.level}"
            raise ConfigError(msg)


@dataclass(frozen=True, kw_only=True, slots=True)
class TracingConfig:
    """Where the spans of traced calls go, and which calls begin a trace."""

    # An OTLP receiver, over HTTP; None: nothing is traced.
    endpoint: str | None = None
    # Of the calls that belong to no trace; of the others their callers have decided.
    share: float = 0.001

    def __post_init__(self) -> None:
        """Raise ConfigError on a value that could never work."""
        _share("tracing_share", self.share)
        if self.endpoint is None:
            return
        if "@" in self.endpoint:
            msg = "tracing_endpoint holds a password: put it into OTEL_EXPORTER_OTLP_HEADERS"
            raise ConfigError(msg)
        url = urlsplit(self.endpoint)
        if url.scheme not in {"http", "https"} or not url.hostname:
            msg = f"tracing_endpoint is '{self.endpoint}', expected http://HOST:4318 or the like"
            raise ConfigError(msg)

    @property
    def url(self) -> str:
        """Where spans are posted: OTLP's own path, unless the endpoint has one."""
        endpoint = (self.endpoint or "").rstrip("/")
        return endpoint if urlsplit(endpoint).path else f"{endpoint}/v1/traces"


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerConfig:
    """Everything `isotherm serve` can be told."""

    repository: Path
    # What the folder's model is called, where the folder is one and no repository.
    model_name: str | None = None
    # How long to wait for the folder at the start.
    repository_wait_s: float = 0.0
    host: str = "127.0.0.1"
    grpc_port: int = 8001
    metrics_port: int = 8002
    # None: no REST.
    http_port: int | None = None
    workers: int = 1
    provider: Provider = "auto"
    transport: TransportName = "auto"
    # Threads that share one run of a model on the CPU.
    intra_op_threads: int = 1
    batching: BatchingConfig = field(default_factory=BatchingConfig)
    device: DeviceConfig = field(default_factory=DeviceConfig)
    security: SecurityConfig = field(default_factory=SecurityConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    vetting: VettingConfig = field(default_factory=VettingConfig)
    tracing: TracingConfig = field(default_factory=TracingConfig)
    # How long to go on serving after SIGTERM while health says NOT_SERVING.
    drain_delay_s: float = 0.0
    # How long calls in flight may take to end after that.
    grace_s: float = 30.0
    # 0: connections live as long as their client wants.
    max_connection_age_s: float = 0.0
    # Whether one model that cannot be loaded keeps the server from starting.
    exit_on_error: bool = True
    model_control: ModelControl = "none"
    poll_s: float = 15.0
    # With explicit control: the models to load at the start.
    load_models: tuple[str, ...] = ()
    log_level: str = "info"
    log_format: LogFormat = "text"
    # Whether callers may see and change the level while the server runs.
    log_control: bool = False
    # Share of the answered requests that have a line in the log; failures then have one each.
    access_log: float = 0.0
    # How far the comparison with the training rows looks back; 0: rows are not looked at.
    drift_window_s: float = 600.0
    # How far the errors against reported truths look back.
    feedback_window_s: float = 3600.0

    def __post_init__(self) -> None:
        """Raise ConfigError on a value that could never work."""
        if self.model_name is not None and not is_name(self.model_name):
            msg = f"model_name is '{self.model_name}', expected a name without '/' or leading '.'"
            raise ConfigError(msg)
        _at_least("repository_wait_s", self.repository_wait_s, 0)
        _at_least("workers", self.workers, 1)
        _at_least("intra_op_threads", self.intra_op_threads, 1)
        _at_least("drain_delay_s", self.drain_delay_s, 0)
        _at_least("grace_s", self.grace_s, 0)
        _at_least("max_connection_age_s", self.max_connection_age_s, 0)
        _at_least("poll_s", self.poll_s, 0.1)
        _at_least("drift_window_s", self.drift_window_s, 0)
        _at_least("feedback_window_s", self.feedback_window_s, 1)
        _share("access_log", self.access_log)
        if self.load_models and self.model_control != "explicit":
            msg = f"load_models needs model_control explicit, which is {self.model_control}"
            raise ConfigError(msg)
        self._check_ports()

    def _check_ports(self) -> None:
        taken: dict[int, str] = {}
        for name in ("grpc_port", "metrics_port", "http_port"):
            port: int | None = getattr(self, name)
            if port is None:
                continue
            if not 0 <= port <= MAX_PORT:
                msg = f"{name} is {port}, expected 0 (any free port) to {MAX_PORT}"
                raise ConfigError(msg)
            if port and port in taken:
                msg = f"{taken[port]} and {name} are both {port}: give each its own"
                raise ConfigError(msg)
            taken[port] = name

    @property
    def models_at_start(self) -> set[str] | None:
        """The models to load before callers ask for others; None: all."""
        if self.model_control != "explicit" or "*" in self.load_models:
            return None
        return set(self.load_models)

    def to_json(self) -> str:
        """Return the settings as JSON, for a worker process and for the log."""
        return json.dumps(dataclasses.asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Restore what `to_json` wrote."""
        values: dict[str, Any] = json.loads(text)
        values["repository"] = Path(values["repository"])
        values["load_models"] = tuple(values["load_models"])
        batching = values["batching"]
        preferred = {"preferred_batch_sizes": tuple(batching["preferred_batch_sizes"])}
        values["batching"] = BatchingConfig(**batching | preferred)
        device = values["device"]
        values["device"] = DeviceConfig(**device | {"ids": tuple(device["ids"])})
        security = values["security"].items()
        values["security"] = SecurityConfig(**{k: v and Path(v) for k, v in security})
        values["limits"] = LimitsConfig(**values["limits"])
        vetting = values["vetting"]
        values["vetting"] = VettingConfig(**vetting | {"domains": tuple(vetting["domains"])})
        values["tracing"] = TracingConfig(**values["tracing"])
        return cls(**values)


def is_name(name: str) -> bool:
    """Tell whether a model may be called that: a caller's name must not lead out of its folder."""
    return bool(name) and not name.startswith(".") and Path(name).name == name


def _at_least(name: str, value: float, minimum: float) -> None:
    if not (math.isfinite(value) and value >= minimum):
        msg = f"{name} is {value}, expected {minimum} or more"
        raise ConfigError(msg)


def _share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        msg = f"{name} is {value}, expected a share from 0 (off) to 1 (all)"
        raise ConfigError(msg)
