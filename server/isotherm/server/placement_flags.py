"""The flags of `isotherm serve` about where models run: processes, processors, GPUs."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class ProviderChoice(StrEnum):
    """Where models run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


Workers = Annotated[
    int | None,
    typer.Option(
        help="Worker processes; 0 for one a CPU that this container may use.",
        envvar="ISOTHERM_WORKERS",
        show_default="one a GPU, or 1",
    ),
]
Provider = Annotated[
    ProviderChoice,
    typer.Option(
        help="auto runs each batch where that is faster, and says so where CUDA cannot be had.",
        envvar="ISOTHERM_PROVIDER",
    ),
]
DeviceIds = Annotated[
    str | None,
    typer.Option(
        help="GPUs to use, as CUDA counts them: 0,1. Workers take them in turn.",
        envvar="ISOTHERM_DEVICE_IDS",
        show_default="all that are visible",
    ),
]
CudaGraphs = Annotated[
    bool,
    typer.Option(
        help="Whether a GPU replays recorded runs where that is faster.",
        envvar="ISOTHERM_CUDA_GRAPHS",
    ),
]
GpuMemoryLimit = Annotated[
    int,
    typer.Option(
        help="MiB of a GPU that each instance of a model may take.",
        envvar="ISOTHERM_GPU_MEMORY_LIMIT",
    ),
]
Instances = Annotated[
    int | None,
    typer.Option(
        help="Batches of one model that may run at once, where they are long.",
        envvar="ISOTHERM_INSTANCES",
        show_default="1, and 2 on a GPU",
    ),
]
IntraOpThreads = Annotated[
    int,
    typer.Option(
        help="Threads that share one run on the CPU; 0 for as many CPUs as may be used.",
        envvar="ISOTHERM_INTRA_OP_THREADS",
    ),
]
