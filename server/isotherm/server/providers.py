"""What is asked of ONNX Runtime: which execution provider, with which options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from isotherm.server.device.probe import CUDA
from isotherm.server.errors import LoadError
from isotherm.server.session import ProviderOptions, Session

CPU: Final = "CPUExecutionProvider"
ON_CPU: Final[ProviderOptions] = ((CPU, {}),)


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceOptions:
    """How a session on a device is opened."""

    # What IO binding calls its memory: "cuda"; a stand-in's is "cpu".
    kind: str
    number: int
    memory_limit_bytes: int
    # Whether parts that the device cannot run may run on the CPU.
    may_mix: bool
    # Whether matrices may be multiplied with 10 bits behind the point instead of 23.
    tf32: bool = False

    def providers(self, stream: int, *, graphs: bool) -> ProviderOptions:
        """Return the providers of a session that works on a stream, given by its address.

        0 leaves the stream to the runtime. With `graphs`, runs can be captured and replayed.
        """
        if self.kind != "cuda":
            return ON_CPU
        options = {
            "device_id": str(self.number),
            # Of the arena alone: the context and what cuBLAS works in are beside it.
            "gpu_mem_limit": str(self.memory_limit_bytes),
            "arena_extend_strategy": "kSameAsRequested",
            "cudnn_conv_algo_search": "HEURISTIC",
            # On by default, TF32 changes a regression's answers in the third digit.
            "use_tf32": "1" if self.tf32 else "0",
        }
        if stream:
            options["user_compute_stream"] = str(stream)
        if graphs:
            options["enable_cuda_graph"] = "1"
        # Where the CPU is not named, a part that would run there is an error of the session's.
        return ((CUDA, options), *(ON_CPU if self.may_mix else ()))

    def check(self, session: Session) -> None:
        """Raise LoadError when a session fell back to the CPU in silence, as the runtime does."""
        if self.kind == "cuda" and CUDA not in session.providers:
            msg = (
                "the CUDA provider loaded, but the session took "
                f"{', '.join(session.providers)}: `isotherm doctor` says what is missing"
            )
            raise LoadError(msg)
