"""The worker: a process that runs one trial after the other, and tells how they go.

To the worker goes a configuration for each trial, and the answer to each report: whether to go on.
From the worker come `(step, loss)`, then an `Outcome`; or an exception, with which the search ends.
"""

from __future__ import annotations

import os
import pickle
import signal
import threading
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection

import torch

# What the first optimizer of a process imports, for seconds: here it is once for all workers, which
# are forked from a process that has imported this module.
import torch._dynamo

from isotherm.trainer.data import Table
from isotherm.trainer.errors import TrainerError, TuneError
from isotherm.trainer.tune import trial


def work(channel: Connection, lifeline: Connection, table: Table, threads: int) -> None:
    """Run trials until the search has no more, or is gone."""
    # Ctrl-C reaches all processes of a terminal: the search decides what becomes of this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_the_search, args=(lifeline,), daemon=True).start()
    torch.set_num_threads(threads)

    def report(step: int, loss: float) -> bool:
        channel.send((step, loss))
        goes_on: bool = channel.recv()
        return goes_on

    with suppress(EOFError, OSError):
        while True:
            config = channel.recv()
            try:
                answer: object = trial.run(table, config, report)
            except (EOFError, BrokenPipeError, ConnectionResetError):
                # The search is gone, not the trial.
                raise
            # Whatever is wrong with one trial in this way is wrong with each.
            except Exception as error:  # noqa: BLE001  told where it can be seen
                answer = _portable(error)
            channel.send(answer)


def _die_with_the_search(lifeline: Connection) -> None:
    """End this process when the other end of the pipe is closed: the search was killed."""
    with suppress(EOFError, OSError):
        lifeline.recv()
    os._exit(1)


def _portable(error: Exception) -> Exception:
    """Return an error that survives the way to another process."""
    if isinstance(error, TrainerError):
        with suppress(Exception):
            pickle.loads(pickle.dumps(error))  # noqa: S301  our own
            return error
    return TuneError(f"a trial failed unexpectedly:\n{''.join(traceback.format_exception(error))}")
