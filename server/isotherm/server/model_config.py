"""A model's `config.pbtxt`: what Triton's configuration means here, and what it does not."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Self

from google.protobuf import text_format

from isotherm.server import cpus
from isotherm.server.config import BatchingConfig, DeviceConfig, ServerConfig
from isotherm.server.errors import ConfigError, LoadError
from isotherm.v1 import open_inference_pb2 as pb

_log = logging.getLogger(__name__)

CONFIG_FILE: Final = "config.pbtxt"
MODEL_FILE: Final = "model.onnx"

_BACKENDS: Final = frozenset({"", "onnxruntime"})
_PLATFORMS: Final = frozenset({"", "onnxruntime_onnx"})
_INTRA_OP_THREADS: Final = "intra_op_thread_count"
_CUDA_GRAPHS: Final = "enable_cuda_graph"
_GPU_MEMORY_LIMIT: Final = "gpu_mem_limit"
# What else Triton's ONNX Runtime backend heeds.
_RUNTIME_PARAMETERS: Final = frozenset(
    {
        "cudnn_conv_algo_search",
        "disable_cpu_ep_fallback",
        "enable_mem_arena",
        "enable_mem_pattern",
        "execution_mode",
        "inter_op_thread_count",
        "memory.enable_memory_arena_shrinkage",
        "session.use_device_allocator_for_initializers",
    }
)
# proto3 does not tell an explicit 0 from nothing, and 0 forbids batching.
_EXPLICIT_BATCH_SIZE: Final = re.compile(r"^\s*max_batch_size\s*:", re.MULTILINE)
# Settings of Triton's that change nothing here; each is named once, with the reason.
_WITHOUT_EFFECT: Final = {
    "ensemble_scheduling": "ensembles are not served",
    "model_warmup": "every model is warmed up, on rows of zeros and on its golden rows",
    "optimization": "the graph is always optimised",
    "response_cache": "answers are not cached",
    "sequence_batching": "sequences are not served",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSettings:
    """How one model is to be served."""

    batching: BatchingConfig = field(default_factory=BatchingConfig)
    # False where the file forbids batches; else the graph decides.
    may_batch: bool = True
    # Threads that share one run of the model on the CPU.
    intra_op_threads: int = 1
    device: DeviceConfig = field(default_factory=DeviceConfig)
    file_name: str = MODEL_FILE
    # What the file says, for ModelConfig and for the choice of versions.
    config: pb.ModelConfig = field(default_factory=pb.ModelConfig)

    @classmethod
    def of(cls, config: ServerConfig) -> Self:
        """Return the settings of a model that has no file of its own."""
        return cls(
            batching=config.batching,
            intra_op_threads=config.intra_op_threads,
            device=config.device,
        )

    def choose(self, versions: Collection[int]) -> list[int]:
        """Return the versions to serve, by the version policy: the latest one unless told."""
        policy = self.config.version_policy
        choice = policy.WhichOneof("policy_choice")
        if choice == "all":
            return sorted(versions)
        if choice == "specific":
            return sorted(set(policy.specific.versions) & set(versions))
        return sorted(versions)[-max(1, policy.latest.num_versions) :]


def read(folder: Path, name: str, defaults: ModelSettings) -> ModelSettings:
    """Read the `config.pbtxt` in a model's folder; without one, everything is the default.

    Raises LoadError when it is for another backend or model, or cannot be read. What it knows and
    this server does not is warned about.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        return defaults
    text = _text(path)
    config = _parse(path, text)
    _check(path, config, name)
    forbidden = not config.max_batch_size and bool(_EXPLICIT_BATCH_SIZE.search(text))
    return ModelSettings(
        batching=_batching(path, config, defaults.batching),
        may_batch=not forbidden,
        intra_op_threads=_intra_op_threads(path, config) or defaults.intra_op_threads,
        device=_device(path, config, defaults.device),
        file_name=config.default_model_filename or defaults.file_name,
        config=config,
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path} cannot be read: {error}"
        raise LoadError(msg) from error


def _parse(path: Path, text: str) -> pb.ModelConfig:
    try:
        return text_format.Parse(text, pb.ModelConfig())
    except text_format.ParseError as error:
        try:
            config = text_format.Parse(text, pb.ModelConfig(), allow_unknown_field=True)
        except text_format.ParseError:
            msg = f"{path} is not a model configuration: {error}"
            raise LoadError(msg) from error
        _log.warning("%s: an unknown field is ignored (%s)", path, error)
        return config


def _check(path: Path, config: pb.ModelConfig, name: str) -> None:
    if config.name not in {"", name}:
        msg = f"{path} is for model '{config.name}', and lies in the folder of '{name}'"
        raise LoadError(msg)
    if config.backend not in _BACKENDS or config.platform not in _PLATFORMS:
        msg = (
            f"{path} asks for backend '{config.backend or config.platform}': "
            "only 'onnxruntime' (platform 'onnxruntime_onnx') is served"
        )
        raise LoadError(msg)
    for setting, reason in _WITHOUT_EFFECT.items():
        value = getattr(config, setting)
        given = bool(value) if setting == "model_warmup" else config.HasField(setting)  # type: ignore[arg-type]
        if given:
            _log.warning("%s: %s has no effect: %s", path, setting, reason)
    if any(group.kind or group.gpus or group.profile for group in config.instance_group):
        _log.warning(
            "%s: of instance_group, only count has an effect: --provider says where models run",
            path,
        )


def _batching(path: Path, config: pb.ModelConfig, defaults: BatchingConfig) -> BatchingConfig:
    policy = config.dynamic_batching.default_queue_policy
    instances = sum(group.count or 1 for group in config.instance_group)
    try:
        max_batch_size = config.max_batch_size or defaults.max_batch_size
        return replace(
            defaults,
            max_batch_size=max_batch_size,
            max_queue_rows=max(defaults.max_queue_rows, max_batch_size),
            max_queue_delay_us=config.dynamic_batching.max_queue_delay_microseconds
            or defaults.max_queue_delay_us,
            max_queue_requests=policy.max_queue_size or defaults.max_queue_requests,
            queue_timeout_us=policy.default_timeout_microseconds or defaults.queue_timeout_us,
            preferred_batch_sizes=tuple(config.dynamic_batching.preferred_batch_size)
            or defaults.preferred_batch_sizes,
            instances=instances or defaults.instances,
            lanes=instances or defaults.lanes,
        )
    except ConfigError as error:
        msg = f"{path}: {error}"
        raise LoadError(msg) from error


def _intra_op_threads(path: Path, config: pb.ModelConfig) -> int:
    """Return the threads that the file's parameters ask for, 0 where they do not.

    Raises LoadError when it is no number of threads.
    """
    threads = 0
    for name, parameter in config.parameters.items():
        if name in _RUNTIME_PARAMETERS:
            _log.warning("%s: parameter %s has no effect", path, name)
        elif name != _INTRA_OP_THREADS:
            continue  # a device's, or the operator's own: it is shown to callers
        elif parameter.string_value.isdecimal():
            # Triton's 0 is the runtime's own choice, which knows nothing of a container's quota.
            threads = int(parameter.string_value) or cpus.allowed()
        else:
            msg = f"{path}: {name} is '{parameter.string_value}', expected a number of threads"
            raise LoadError(msg)
    return threads


def _device(path: Path, config: pb.ModelConfig, defaults: DeviceConfig) -> DeviceConfig:
    """Return how the model runs on a GPU; raise LoadError where the file's parameters are none."""
    told = {name: parameter.string_value for name, parameter in config.parameters.items()}
    graphs = told.get(_CUDA_GRAPHS, str(int(defaults.graphs)))
    if graphs not in {"0", "1"}:
        msg = f"{path}: {_CUDA_GRAPHS} is '{graphs}', expected 0 or 1"
        raise LoadError(msg)
    limit_bytes = told.get(_GPU_MEMORY_LIMIT, str(defaults.memory_limit_mib << 20))
    if not limit_bytes.isdecimal():
        msg = f"{path}: {_GPU_MEMORY_LIMIT} is '{limit_bytes}', expected a number of bytes"
        raise LoadError(msg)
    try:
        return replace(defaults, graphs=graphs == "1", memory_limit_mib=int(limit_bytes) >> 20)
    except ConfigError as error:
        msg = f"{path}: {_GPU_MEMORY_LIMIT} is too little: {error}"
        raise LoadError(msg) from error
