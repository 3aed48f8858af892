"""One ONNX Runtime session: a model file's signature, and running it."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from isotherm.server.buffers import BoundRun, Buffers
from isotherm.server.errors import LoadError
from isotherm.server.runtime import ort
from isotherm.v1.tensors import DTYPES

_log = logging.getLogger(__name__)

Array = NDArray[Any]
# The runtime's own, which has no types.
Binding = Any
RunOptions = Any
ProviderOptions = Sequence[tuple[str, Mapping[str, str]]]

_CUDA: Final = "CUDAExecutionProvider"

_DATATYPES: Final = MappingProxyType(
    {
        "tensor(bool)": "BOOL",
        "tensor(uint8)": "UINT8",
        "tensor(uint16)": "UINT16",
        "tensor(uint32)": "UINT32",
        "tensor(uint64)": "UINT64",
        "tensor(int8)": "INT8",
        "tensor(int16)": "INT16",
        "tensor(int32)": "INT32",
        "tensor(int64)": "INT64",
        "tensor(float16)": "FP16",
        "tensor(float)": "FP32",
        "tensor(double)": "FP64",
        "tensor(string)": "BYTES",
    }
)

# ONNX Runtime computes constant subgraphs while it loads: 150 bytes can ask for gigabytes.
_MAX_FOLDED_BYTES: Final = str(1 << 20)
_SEVERITY_FATAL: Final = 4
_CUDA_FAILURE: Final = re.compile(r"\bCU[A-Z]+ failure \d+: [^;\n]*")

# How a run of a session with CUDA graphs says that it is to leave them alone.
NO_GRAPH: Final = -1

# A run is a spike when its inputs are so large, and so many times the usual of the last runs.
_SPIKE_BYTES: Final = 4 << 20
_SPIKE_RATIO: Final = 8
_SPIKE_RUNS: Final = 16


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output of the graph; -1 in its shape stands for any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class Session:
    """A loaded model file.

    `batched` is true where the first dimension of every input and output is free, so that the rows
    of several requests can run together.
    """

    def __init__(
        self,
        data: bytes,
        folder: Path,
        providers: ProviderOptions,
        external: Mapping[str, bytes] = MappingProxyType({}),
        threads: int = 1,
    ) -> None:
        """Load the file's bytes; weights beside it are taken from `external`, else from `folder`.

        `threads` share one run on the CPU. Raises LoadError with the runtime's reason.
        """
        options = _options(folder, threads, providers)
        if external:
            options.add_external_initializers_from_files_in_memory(
                list(external), list(external.values()), [len(one) for one in external.values()]
            )
        try:
            self._session = ort.InferenceSession(
                data,
                options,
                providers=[(name, dict(o)) for name, o in providers],
                # Else what fails on a device is opened, and run, on the CPU instead.
                enable_fallback=0,
            )
        except Exception as error:
            raise LoadError(reason(error)) from error
        try:
            self.inputs = _specs(self._session.get_inputs())
            self.outputs = _specs(self._session.get_outputs())
        except LoadError:
            # What it holds on a device goes before its stream does, not with the traceback.
            del self._session
            raise
        self.batched = all(
            spec.shape and spec.shape[0] == -1 for spec in (*self.inputs, *self.outputs)
        )
        self.metadata: Mapping[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        self.providers: tuple[str, ...] = tuple(self._session.get_providers())
        self._input_names = tuple(spec.name for spec in self.inputs)
        self._output_names = [spec.name for spec in self.outputs]
        self._spikes = Spikes()
        self._spike_over = False
        # Whether runs may be captured as CUDA graphs, which `run` never is.
        self.captures = any(chosen.get("enable_cuda_graph") == "1" for _, chosen in providers)
        self._ordinary = _graph_options(NO_GRAPH) if self.captures else None
        # A captured graph works on memory of the arenas: nothing of it may be given back.
        self._shrinking = self._ordinary if self.captures else _shrinking(providers)
        self._buffers = Buffers(self._session, *self.rows()) if self.bindable else None

    @property
    def even(self) -> bool:
        """Whether all rows have one size, which is known beforehand."""
        return self.batched and all(
            -1 not in spec.shape[1:] and spec.datatype != "BYTES"
            for spec in (*self.inputs, *self.outputs)
        )

    @property
    def bindable(self) -> bool:
        """Whether all rows have one size, known beforehand, in the host's memory."""
        return self.even and self.providers == ("CPUExecutionProvider",)

    def rows(self) -> tuple[dict[str, Array], dict[str, Array]]:
        """Return a row of zeros of each input, by its name, and of each output."""
        return _rows(self.inputs), _rows(self.outputs)

    def run(self, arrays: Sequence[Array]) -> list[Array]:
        """Run the graph on one array an input, in `inputs`' order; return one an output.

        BYTES are object arrays of `str`, both ways.
        """
        feed = dict(zip(self._input_names, arrays, strict=True))
        # Tensors only: a graph with an output of another kind was refused at load.
        over = self._spikes.over(sum(array.nbytes for array in arrays)) or self._spike_over
        self._spike_over = False
        if not over or self._shrinking is self._ordinary:
            return self._run(feed, self._ordinary)
        try:
            return self._run(feed, self._shrinking)
        except Exception as error:  # noqa: BLE001  if it is not the memory's, it comes again
            outputs = self._run(feed, self._ordinary)
            self._shrinking = self._ordinary
            _log.warning("memory of runs is kept from now on: %s", reason(error))
            return outputs

    def _run(self, feed: Mapping[str, Array], options: RunOptions) -> list[Array]:
        return cast("list[Array]", self._session.run(self._output_names, feed, options))

    def shrink(self, arrays: Sequence[Array]) -> None:
        """Give back the memory that runs have taken, in the course of one more on `arrays`."""
        self._spike_over = True
        self.run(arrays)

    def bound(self, rows: int) -> BoundRun | None:
        """Return the buffers of a small batch, bound to the graph; None where `run` must be used.

        The buffers are the same at every call, so only one thread may use them.
        """
        found = self._buffers.of(rows) if self._buffers is not None else None
        if found is not None and self._spikes.over(found.size_bytes):
            # An ordinary run can give memory back, a bound one cannot.
            self._spike_over = True
            return None
        return found

    def binding(self) -> Binding:
        """Return a new binding, in which `run_bound` finds its inputs and outputs."""
        return self._session.io_binding()

    def bound_options(self, graph_id: int = NO_GRAPH) -> RunOptions:
        """Return the options of runs that are captured as that CUDA graph, or of others."""
        options = _graph_options(graph_id)
        # Whoever copies the answers out waits for them, and for all of it at once.
        options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        return options

    def run_bound(self, binding: Binding, options: RunOptions) -> None:
        """Run the graph on what is bound; on a device, its stream may still be at it afterwards."""
        self._session.run_with_iobinding(binding, options)

    def close(self) -> None:
        """Give back what the session holds, once no binding is left; it runs no more."""
        self._buffers = None
        del self._session


class Spikes:
    """Tells when memory that one large run took should be given back.

    The runtime keeps all it ever took for the runs to come. That pays while runs are alike, and
    holds gigabytes for nothing after a single one that was not.
    """

    def __init__(self) -> None:
        self._usual_bytes = 0.0
        self._largest_bytes = 0

    def over(self, size: int) -> bool:
        """Whether the run on inputs of `size` bytes should give back what is held at its end.

        Never the large run itself: its own answer still lies in the memory.
        """
        self._usual_bytes += (size - self._usual_bytes) / _SPIKE_RUNS
        if size >= self._largest_bytes:
            self._largest_bytes = size
            return False
        if self._largest_bytes < max(_SPIKE_BYTES, _SPIKE_RATIO * self._usual_bytes):
            return False
        self._largest_bytes = 0
        return True


def _rows(specs: Sequence[TensorSpec]) -> dict[str, Array]:
    """Return a row of zeros of each tensor, by its name."""
    return {spec.name: np.zeros(spec.shape[1:], DTYPES[spec.datatype]) for spec in specs}


def _shrinking(providers: ProviderOptions) -> ort.RunOptions:
    """Return the options of a run that gives memory back at its end."""
    devices = [f"gpu:{chosen.get('device_id', 0)}" for name, chosen in providers if name == _CUDA]
    options = ort.RunOptions()
    options.add_run_config_entry(
        "memory.enable_memory_arena_shrinkage", ";".join(["cpu:0", *devices])
    )
    return options


def _graph_options(graph_id: int) -> ort.RunOptions:
    options = ort.RunOptions()
    options.add_run_config_entry("gpu_graph_id", str(graph_id))
    return options


def _options(folder: Path, threads: int, providers: ProviderOptions) -> ort.SessionOptions:
    # One thread unless told, and no spinning: a batch of an MLP is too short to share, and a
    # spinning pool burns a core while it waits. The pattern planner keeps a plan for every batch
    # size it ever saw.
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False
    # A file that cannot be loaded raises: the runtime's own line on stderr would only repeat it.
    options.log_severity_level = _SEVERITY_FATAL
    entries = {
        "session.intra_op.allow_spinning": "0",
        "optimization.constant_folding_max_output_size_in_bytes": _MAX_FOLDED_BYTES,
        "session.model_external_initializers_file_folder_path": str(folder),
    }
    if [name for name, _ in providers] == [_CUDA]:
        # Asked for alone, it is to run every node: else the session is refused, with the nodes.
        entries["session.disable_cpu_ep_fallback"] = "1"
    for key, value in entries.items():
        options.add_session_config_entry(key, value)
    return options


def _specs(nodes: Sequence[Any]) -> tuple[TensorSpec, ...]:
    # A node keeps its session alive, and a traceback would keep the node.
    plain = [(node.name, node.type, tuple(node.shape)) for node in nodes]
    del nodes
    return tuple(_spec(*one) for one in plain)


def _spec(name: str, kind: str, dims: tuple[Any, ...]) -> TensorSpec:
    datatype = _DATATYPES.get(kind)
    if datatype is None:
        msg = f"tensor '{name}' has type {kind}, which the protocol cannot carry"
        raise LoadError(msg)
    shape = tuple(dim if isinstance(dim, int) else -1 for dim in dims)
    return TensorSpec(name, datatype, shape)


def reason(error: Exception) -> str:
    """Return what the runtime says was wrong, in one line and without its prefixes."""
    # "<file, function, types> CUDA failure 2: out of memory ; GPU=0 ; hostname=... ; file=...".
    of_cuda = _CUDA_FAILURE.search(str(error))
    if of_cuda is not None:
        return of_cuda[0].strip()
    # "[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Load model from ... failed: ..." and more lines.
    first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
    return first_line.rpartition(" : ")[2].strip()
