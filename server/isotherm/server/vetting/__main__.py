"""The vetting process: for every file on its input it forks, and the child may fail.

What is expensive, the imports, is paid once. What is dangerous, the file, is only ever touched by
the child, within limits that it cannot lift.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Final

import onnx

from isotherm.server import logs
from isotherm.server.errors import LoadError
from isotherm.server.providers import ON_CPU
from isotherm.server.session import Session
from isotherm.server.vetting import constants, graph, limits
from isotherm.server.vetting.files import ExternalFiles
from isotherm.server.vetting.messages import Request, Verdict
from isotherm.server.vetting.rules import rules_of
from isotherm.server.vetting.trial import try_out

# A process that is kept from running does not use up its time: then the clock ends it.
_WALL_S_PER_CPU_S: Final = 10.0
_MAX_VERDICT_BYTES: Final = 1 << 20


def main() -> int:
    """Answer every request on standard input until it ends; the first argument is the log's format.

    It logs nothing by itself: what a library warns of, and what ends this process, is in the log.
    """
    logs.configure("warning", process="vetter", form=sys.argv[1])
    # The supervisor alone decides what Ctrl-C means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limits.die_with_parent()
    # Whatever a library prints must not pass for a verdict.
    answers = os.dup(sys.stdout.fileno())
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    _warm_up()
    gc.freeze()
    for line in sys.stdin.buffer:
        verdict = vet(Request.from_line(line), answers)
        os.write(answers, verdict.to_line())
    return 0


def vet(request: Request, *closed: int) -> Verdict:
    """Vet a file in a child, which has none of the descriptors `closed`."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        for fd in (reading, *closed):
            os.close(fd)
        # What a crash prints helps nobody: the verdict will say that there was one.
        os.dup2(sys.stdout.fileno(), sys.stderr.fileno())
        _child(request, writing)
    os.close(writing)
    wall_s = _WALL_S_PER_CPU_S * request.cpu_s
    text, in_time = _read(reading, time.monotonic() + wall_s)
    os.close(reading)
    if not in_time:
        os.kill(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if not in_time:
        return Verdict(reason=f"it was not loaded and run on zeros within {wall_s:g} s")
    if status == 0:
        with contextlib.suppress(ValueError, TypeError):
            return Verdict.from_line(text)
    return Verdict(reason=_ended(status, request))


def examine(request: Request) -> Verdict:
    """Hold a file against the rules and try it out, in this process."""
    path = Path(request.path)
    budget = limits.memory_budget(request.memory_bytes, _folder_bytes(path.parent))
    limits.confine(budget, request.cpu_s)
    try:
        data = path.read_bytes()
        files = ExternalFiles(path.parent, request.memory_bytes)
        digests = _examine(data, request, files)
        return Verdict(sha256=hashlib.sha256(data).hexdigest(), external=digests)
    except MemoryError:
        return Verdict(
            reason=f"it takes more than {budget >> 20} MiB to load and to run on zeros "
            f"(--vetting-memory-mib allows {request.memory_bytes >> 20} beside its files)"
        )
    except LoadError as error:
        return Verdict(reason=str(error)[:_MAX_VERDICT_BYTES])
    except OSError as error:
        return Verdict(reason=f"it cannot be read: {error.strerror}")
    except Exception as error:  # noqa: BLE001  a library's error on a file that is hardly one
        return Verdict(reason=f"it could not be vetted ({type(error).__name__}: {error})")


def _examine(data: bytes, request: Request, files: ExternalFiles) -> dict[str, str]:
    """Return the digests of the files beside it."""
    rules = rules_of(request.level, request.domains)
    model = graph.parse(data)
    graph.check(model, rules, files)
    if rules.checker:
        _check_validity(data)
    constants.check(model, len(data) + files.total_bytes)
    del model
    external = files.read()
    try_out(data, external, request.max_batch_size)
    return {name: hashlib.sha256(content).hexdigest() for name, content in external.items()}


def _check_validity(data: bytes) -> None:
    try:
        onnx.checker.check_model(data, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        lines = str(error).strip().splitlines() or ["it is no valid ONNX"]
        msg = f"it is no valid ONNX: {lines[0]}"
        raise LoadError(msg) from error


def _child(request: Request, writing: int) -> None:
    """Write the verdict and end; whatever happens, this process does not return from here."""
    status = 1
    try:
        limits.die_with_parent()
        os.write(writing, examine(request).to_line())
        status = 0
    finally:
        os._exit(status)


def _read(fd: int, deadline: float) -> tuple[bytes, bool]:
    """Read to the end; return what there was, and whether the end came in time."""
    text = b""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        chunk = os.read(fd, _MAX_VERDICT_BYTES)
        text += chunk
        if not chunk or len(text) > 2 * _MAX_VERDICT_BYTES:
            return text, True
    return text, False


def _ended(status: int, request: Request) -> str:
    if status == -signal.SIGXCPU:
        return (
            f"it takes more than {request.cpu_s:g} s of processor time to load and to run on zeros "
            "(--vetting-seconds allows more)"
        )
    how = signal.Signals(-status).name if status < 0 else f"status {status}"
    return f"loading it and running it on zeros ended the process that tried ({how})"


def _folder_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())


def _warm_up() -> None:
    """Have the checker and the runtime set themselves up once, instead of in every child."""
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], "warm", [value], [result]),
        opset_imports=[onnx.helper.make_opsetid("", 20)],
        ir_version=10,
    )
    onnx.checker.check_model(model, full_check=True)
    Session(model.SerializeToString(), Path(), ON_CPU)


if __name__ == "__main__":
    sys.exit(main())
