"""The worker's end of vetting: asks the process that does it, and believes its verdict alone."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from isotherm.server.config import LogFormat, VettingConfig
from isotherm.server.errors import LoadError
from isotherm.server.vetting.messages import Request, Verdict

# The process bounds each file itself; beyond that it is stuck. Its start is in there too.
_PATIENCE_S: Final = 60.0
_WALL_S_PER_CPU_S: Final = 10.0
_MAX_VERDICT_BYTES: Final = 2 << 20


class Vetter:
    """Vets files in a process of its own, which starts with the first and ends with `close`."""

    def __init__(self, config: VettingConfig, log_format: LogFormat = "text") -> None:
        self._config = config
        self._log_format = log_format
        self._process: subprocess.Popen[bytes] | None = None
        self._used_at = time.monotonic()

    @property
    def idle_s(self) -> float | None:
        """How long the process has waited for a file; None when there is no process."""
        return None if self._process is None else time.monotonic() - self._used_at

    @property
    def active(self) -> bool:
        """Whether files are vetted at all."""
        return self._config.level != "off"

    def start(self, *, beside_calls: bool = False) -> None:
        """Start the process now, so that it is there when the first file is.

        With `beside_calls` it takes only what processor time is left over: whoever calls is not to
        feel that a version is coming.
        """
        if self.active and self._process is None:
            self._process = subprocess.Popen(  # noqa: S603  our own module, in this interpreter
                [sys.executable, "-m", "isotherm.server.vetting", self._log_format],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                # It forks, so it may have one thread only.
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            )
            if beside_calls:
                # Where a sandbox forbids it, vetting competes like everything else.
                with contextlib.suppress(OSError):
                    os.sched_setscheduler(self._process.pid, os.SCHED_IDLE, os.sched_param(0))

    def check(self, path: Path, sha256: str, max_batch_size: int) -> dict[str, str]:
        """Raise LoadError unless the bytes with this digest were vetted and found good.

        Returns the digests of the files beside it that its weights lie in, by their location.
        """
        if not self.active:
            return {}
        verdict = self._ask(path, max_batch_size)
        if verdict.reason:
            raise LoadError(verdict.reason)
        if verdict.sha256 != sha256:
            msg = "it changed while it was vetted"
            raise LoadError(msg)
        return verdict.external

    def close(self) -> None:
        """End the process; the next file starts another."""
        if self._process is None:
            return
        process, self._process = self._process, None
        # Between two files there is nothing to lose.
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def _ask(self, path: Path, max_batch_size: int) -> Verdict:
        config = self._config
        request = Request(
            path=str(path.absolute()),
            level=config.level,
            domains=list(config.domains),
            max_batch_size=max_batch_size,
            cpu_s=config.seconds,
            memory_bytes=config.memory_mib << 20,
        )
        try:
            self.start(beside_calls=True)
            return Verdict.from_line(self._exchange(request.to_line()))
        except (OSError, ValueError, TypeError) as error:
            self.close()
            msg = f"the process that vets it failed ({error}): it is not loaded"
            raise LoadError(msg) from error
        finally:
            self._used_at = time.monotonic()

    def _exchange(self, request: bytes) -> bytes:
        process = self._process
        assert process is not None  # noqa: S101  it was started
        assert process.stdin is not None  # noqa: S101  it was started with pipes
        assert process.stdout is not None  # noqa: S101
        process.stdin.write(request)
        deadline = time.monotonic() + _PATIENCE_S + _WALL_S_PER_CPU_S * self._config.seconds
        answer = b""
        poll = select.poll()
        poll.register(process.stdout, select.POLLIN)
        while not answer.endswith(b"\n") and len(answer) < _MAX_VERDICT_BYTES:
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                msg = "no verdict in time"
                raise TimeoutError(msg)
            chunk = os.read(process.stdout.fileno(), _MAX_VERDICT_BYTES)
            if not chunk:
                msg = "it ended"
                raise BrokenPipeError(msg)
            answer += chunk
        return answer
