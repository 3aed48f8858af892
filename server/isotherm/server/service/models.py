"""What the server and its models say of themselves: health, metadata, configuration, statistics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import metadata
from typing import Final

from isotherm.server.counters import Block
from isotherm.server.errors import InvalidRequestError
from isotherm.server.layout import ModelState, Phase, WorkerState
from isotherm.server.loader import Model
from isotherm.server.placement import Placement
from isotherm.server.repository import Repository
from isotherm.server.session import TensorSpec
from isotherm.server.totals import Latency, ModelTotals, total
from isotherm.v1 import contract as contracts
from isotherm.v1 import open_inference_pb2 as pb

PLATFORM: Final = "onnxruntime_onnx"
BACKEND: Final = "onnxruntime"
# A client relies on what is named here, so nothing is named that does not work.
EXTENSIONS: Final = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "parameters",
    "statistics",
)

_CONFIG_TYPES: Final = {"BYTES": pb.TYPE_STRING}


class ModelsService:
    """Answers everything about models but predictions."""

    def __init__(self, repository: Repository, blocks: Sequence[Block]) -> None:
        self._repository = repository
        self._blocks = blocks

    @property
    def ready(self) -> bool:
        """Whether every worker serves, with every model it was told to load."""
        return self._repository.ready and all(
            block.state is WorkerState.SERVING for block in self._blocks
        )

    def server_live(self, _request: pb.ServerLiveRequest) -> pb.ServerLiveResponse:
        """Answer that this process handles calls."""
        return pb.ServerLiveResponse(live=True)

    def server_ready(self, _request: pb.ServerReadyRequest) -> pb.ServerReadyResponse:
        """Answer whether all workers serve all models."""
        return pb.ServerReadyResponse(ready=self.ready)

    def server_metadata(self, _request: pb.ServerMetadataRequest) -> pb.ServerMetadataResponse:
        """Answer name, version and the protocol extensions that are served."""
        return pb.ServerMetadataResponse(
            name="isotherm", version=metadata.version("isotherm"), extensions=EXTENSIONS
        )

    def model_ready(self, request: pb.ModelReadyRequest) -> pb.ModelReadyResponse:
        """Answer whether a known version serves; an unknown one is NOT_FOUND."""
        entry = self._repository.find(request.name, request.version)
        return pb.ModelReadyResponse(ready=entry.state is ModelState.READY)

    def model_metadata(self, request: pb.ModelMetadataRequest) -> pb.ModelMetadataResponse:
        """Answer the model's tensors, the batch dimension included."""
        model = self._repository.get(request.name, request.version)
        return pb.ModelMetadataResponse(
            name=model.name,
            versions=[str(model.version)],
            platform=PLATFORM,
            inputs=[_tensor_metadata(spec) for spec in model.session.inputs],
            outputs=[_tensor_metadata(spec) for spec in model.session.outputs],
        )

    def model_config(self, request: pb.ModelConfigRequest) -> pb.ModelConfigResponse:
        """Answer the model's configuration; its contract rides in the parameters."""
        model = self._repository.get(request.name, request.version)
        return pb.ModelConfigResponse(config=self._model_config(model))

    def model_statistics(self, request: pb.ModelStatisticsRequest) -> pb.ModelStatisticsResponse:
        """Answer what all workers have counted, for one version or for all that are loaded.

        Raises UnavailableError for one that was unloaded: its counts are gone with it.
        """
        if not request.name and request.version:
            msg = f"version {request.version} was given without a model's name"
            raise InvalidRequestError(msg)
        wanted = None
        if request.name:
            entry = self._repository.find(request.name, request.version)
            wanted = entry.name, entry.version
        stats = [
            _statistics(model)
            for model in total(self._blocks)
            if wanted is None or (model.name, model.version) == wanted
        ]
        if wanted is not None and not stats:
            self._repository.get(request.name, request.version)
        return pb.ModelStatisticsResponse(model_stats=stats)

    def _model_config(self, model: Model) -> pb.ModelConfig:
        settings = model.settings
        latest = pb.ModelVersionPolicy(latest=pb.ModelVersionPolicy.Latest(num_versions=1))
        told = settings.config.HasField("version_policy")
        config = pb.ModelConfig(
            name=model.name,
            platform=PLATFORM,
            backend=BACKEND,
            max_batch_size=model.max_batch_size,
            default_model_filename=settings.file_name,
            version_policy=settings.config.version_policy if told else latest,
            instance_group=[
                pb.ModelInstanceGroup(
                    name=f"{model.name}_0",
                    kind=pb.ModelInstanceGroup.KIND_GPU
                    if model.provider == "cuda"
                    else pb.ModelInstanceGroup.KIND_CPU,
                    count=len(model.lanes) or settings.batching.instances,
                    gpus=[model.placement.device_number] if model.lanes else [],
                )
            ],
        )
        skip = 1 if model.batched else 0
        for spec in model.session.inputs:
            config.input.add(name=spec.name, data_type=_config_type(spec), dims=spec.shape[skip:])
        for spec in model.session.outputs:
            config.output.add(name=spec.name, data_type=_config_type(spec), dims=spec.shape[skip:])
        if model.batched:
            batching = settings.batching
            config.dynamic_batching.max_queue_delay_microseconds = batching.max_queue_delay_us
            config.dynamic_batching.preferred_batch_size.extend(batching.preferred_batch_sizes)
            policy = config.dynamic_batching.default_queue_policy
            if batching.max_queue_requests:
                policy.max_queue_size = batching.max_queue_requests
            if batching.queue_timeout_us:
                policy.default_timeout_microseconds = batching.queue_timeout_us
            # An empty message would not be sent, and readers look for its presence.
            config.dynamic_batching.SetInParent()
        for target in model.contract.targets if model.contract else ():
            # One a line, as Triton keeps labels in files.
            if target.classes:
                labels = config.parameters[f"labels.{target.name}"]
                labels.string_value = "\n".join(target.classes)
        for name, parameter in settings.config.parameters.items():
            config.parameters[name].CopyFrom(parameter)
        for name, value in _placement_parameters(model.placement):
            config.parameters[name].string_value = value
        if model.contract_json:
            config.parameters[contracts.METADATA_KEY].string_value = model.contract_json
        return config


def _placement_parameters(placed: Placement) -> Iterator[tuple[str, str]]:
    """Yield what callers may want to know of where the model runs, and why there."""
    yield "isotherm.provider", placed.provider
    if placed.break_even_rows is not None:
        yield "isotherm.break_even_rows", str(placed.break_even_rows)
    if placed.notes:
        yield "isotherm.provider_note", "; ".join(placed.notes)


def _tensor_metadata(spec: TensorSpec) -> pb.ModelMetadataResponse.TensorMetadata:
    return pb.ModelMetadataResponse.TensorMetadata(
        name=spec.name, datatype=spec.datatype, shape=spec.shape
    )


def _config_type(spec: TensorSpec) -> pb.DataType.ValueType:
    return _CONFIG_TYPES.get(spec.datatype) or pb.DataType.Value(f"TYPE_{spec.datatype}")


def _statistics(model: ModelTotals) -> pb.ModelStatistics:
    phases = {phase: model.phase(phase) for phase in Phase}
    # Counted before they are answered, while what they took is known only afterwards.
    succeeded = pb.StatisticDuration(count=model.answered, ns=model.duration.sum_ns)
    return pb.ModelStatistics(
        name=model.name,
        version=str(model.version),
        last_inference=model.last_inference_ms,
        inference_count=model.rows,
        execution_count=model.executions,
        inference_stats=pb.InferStatistics(
            success=succeeded,
            fail=pb.StatisticDuration(count=model.failed, ns=model.fail_ns),
            queue=_duration(phases[Phase.QUEUE]),
            compute_input=_duration(phases[Phase.ASSEMBLE]),
            compute_infer=_duration(phases[Phase.RUN]),
            compute_output=_duration(phases[Phase.ENCODE]),
        ),
        batch_stats=[
            pb.InferBatchStatistics(
                batch_size=size,
                compute_input=pb.StatisticDuration(count=count, ns=assemble_ns),
                compute_infer=pb.StatisticDuration(count=count, ns=run_ns),
                compute_output=pb.StatisticDuration(count=count, ns=encode_ns),
            )
            for size, (count, assemble_ns, run_ns, encode_ns) in model.exact_batches()
        ],
    )


def _duration(latency: Latency) -> pb.StatisticDuration:
    return pb.StatisticDuration(count=latency.count, ns=latency.sum_ns)
