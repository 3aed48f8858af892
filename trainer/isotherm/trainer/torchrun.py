"""torchrun: what it tells a process of the others, and the world that it describes.

Kubeflow's TrainJob, SLURM and a shell can set the same variables: RANK, WORLD_SIZE, LOCAL_RANK,
LOCAL_WORLD_SIZE, MASTER_ADDR and MASTER_PORT.
"""

from __future__ import annotations

import logging
import os
import socket
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from datetime import timedelta
from pathlib import Path
from typing import Final
from uuid import uuid4

import torch
from torch import distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from isotherm.trainer.errors import ConfigError, WorldError, first_line
from isotherm.trainer.world import Alone, Several, World

# How long a process waits for another one that is still there; one that ends is noticed at once.
TIMEOUT_S: Final = 1800
# Between two looks at who has come.
_PAUSE_S: Final = 0.02

# Under which rank 0 says in torchrun's store what its own is called, and there who takes part.
_OPENED: Final = "isotherm/opened"
_COMPLETE: Final = "complete"


@contextmanager
def joined() -> Iterator[World]:
    """Yield the world that torchrun's variables describe, and leave it whatever happens.

    Meanwhile the ranks beyond 0 print nothing but errors.

    Raises:
        ConfigError: the variables do not describe one.
        WorldError: the others did not come in time.
    """
    size = _number("WORLD_SIZE", 1)
    if size == 1:
        yield Alone()
        return
    rank = _number("RANK")
    with _loopback(), _silent() if rank else nullcontext():
        world = _connected(rank, size)
        try:
            yield world
            # Rank 0 has still to publish when the others are done; what it meets is theirs, too.
            world.barrier()
        except BaseException as error:
            world.fail(error)
            raise
        finally:
            dist.destroy_process_group()


def _connected(rank: int, size: int) -> Several:
    # Optimizers import it, and what is imported while there are connections keeps them to the end:
    # their threads then meet a Python that is ending, and abort the process.
    import torch._dynamo  # noqa: F401

    timeout = timedelta(seconds=_number("ISOTHERM_WORLD_TIMEOUT_S", TIMEOUT_S))
    backend = _backend()
    try:
        common, _, _ = next(rendezvous("env://", timeout=timeout))
        store = met(common, rank, size, time.monotonic() + timeout.total_seconds())
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=timeout)
    except ValueError as error:
        msg = f"torchrun's variables are not complete: {first_line(error)}; start with torchrun"
        raise ConfigError(msg) from error
    except (RuntimeError, TimeoutError) as error:
        msg = (
            f"rank {rank} of {size} could not meet the others at {os.environ['MASTER_ADDR']}:"
            f"{os.environ['MASTER_PORT']} ({first_line(error)}); start all of them with the same "
            f"address, within {timeout.total_seconds():.0f} s"
        )
        raise WorldError(msg) from error
    return Several(store, rank, size)


def met(common: Store, rank: int, size: int, deadline: float) -> Store:
    """Return a store of those who are there now, when they are all there.

    torchrun keeps one store for all its restarts, and where dead processes listened is still in it.
    So rank 0 opens a new one by a random name, which the others have to answer under theirs.
    """
    own = uuid4().hex
    if rank == 0:
        store = PrefixStore(own, common)
        common.set(_OPENED, own)
        names = [str(other) for other in range(1, size)]
        while not store.check(names):
            _pause(deadline, "not all of them have come")
        store.set(_COMPLETE, " ".join(store.get(name).decode() for name in names))
        return store
    while True:
        if common.check([_OPENED]):
            store = PrefixStore(common.get(_OPENED).decode(), common)
            store.set(str(rank), own)
            # Either may be of a process that has died since: then there will be another one.
            if store.check([_COMPLETE]) and own in store.get(_COMPLETE).decode():
                return store
        _pause(deadline, "rank 0 does not answer")


def _pause(deadline: float, what: str) -> None:
    if time.monotonic() > deadline:
        raise TimeoutError(what)
    time.sleep(_PAUSE_S)


def _backend() -> str:
    """Choose the connections, and the CUDA device of this process where there are any."""
    devices = torch.cuda.device_count()
    if not devices:
        return "gloo"
    here = _number("LOCAL_WORLD_SIZE", 1)
    if here > devices:
        msg = (
            f"{here} processes share {devices} CUDA devices here; start one a device "
            f"(--nproc-per-node {devices}), or hide them (CUDA_VISIBLE_DEVICES=)"
        )
        raise ConfigError(msg)
    torch.cuda.set_device(_number("LOCAL_RANK"))
    return "cpu:gloo,cuda:nccl"


@contextmanager
def _loopback() -> Iterator[None]:
    """Keep the connections of processes that share a machine inside it, unless told otherwise."""
    names = (name for _, name in socket.if_nameindex())
    loopback = next((name for name in names if name in {"lo", "lo0"}), "")
    together = _number("LOCAL_WORLD_SIZE", 0) == _number("WORLD_SIZE")
    wanted = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME") if together and loopback else ()
    changed = [name for name in wanted if name not in os.environ]
    os.environ.update(dict.fromkeys(changed, loopback))
    try:
        yield
    finally:
        for name in changed:
            del os.environ[name]


@contextmanager
def _silent() -> Iterator[None]:
    """Drop what would be printed, logged as no error, or warned of."""
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


def _number(name: str, default: int | None = None) -> int:
    text = os.environ.get(name)
    if text is None and default is not None:
        return default
    try:
        return int(text or "")
    except ValueError as error:
        msg = f"{name} is '{text or ''}'; expected a whole number, as torchrun sets it"
        raise ConfigError(msg) from error
