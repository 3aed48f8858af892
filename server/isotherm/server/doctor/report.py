"""An examination as people read it, in 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from isotherm.server.device.problem import Problem
from isotherm.server.doctor.examination import CPU, CUDA, Examination, Facts

_MS = 1e3


def show(examination: Examination, console: Console) -> None:
    """Print what was found, then what is wrong with what mends it, then the verdict."""
    facts = examination.facts
    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for part, found in _rows(examination, facts):
        table.add_row(part, found)
    console.print(table)
    for number, problem in enumerate(_worth_telling(examination), 1):
        entry = Table.grid(padding=(0, 1, 0, 0))
        entry.add_column()
        entry.add_column(overflow="fold")
        entry.add_row(f"{number}.", problem.text)
        entry.add_row("", f"remedy: {problem.remedy}")
        console.print()
        console.print(entry)
    console.print(f"\n{verdict(examination)}")


def verdict(examination: Examination) -> str:
    """Return in one line where models run, and whether that is what was asked for."""
    if examination.on_cuda:
        where = "Models run on CUDA, and on the CPU."
    elif examination.on_cpu:
        where = "Models run on the CPU, and not on CUDA."
    else:
        where = "No model runs here."
    if examination.works:
        return where
    return f"{where} Asked for: {examination.asked}."


def _rows(examination: Examination, facts: Facts) -> Iterator[tuple[str, str]]:
    python = facts["python"]
    yield "Python", f"{python['version']} on {python['machine']}"
    present = [name for name, there in facts["extras"].items() if there]
    yield "isotherm", f"{facts['isotherm']} with {', '.join(present) or 'no extra'}"
    yield "ONNX Runtime", _runtime(facts["onnxruntime"])
    for trial in facts["providers"]:
        yield _where(trial), _trial(trial)
    if not any(trial["provider"] == CUDA for trial in facts["providers"]):
        yield "on CUDA", "no"
    yield "NVIDIA driver", _driver(examination)
    for device in facts["devices"]:
        yield f"device {device['number']}", _device(device)
    # The package with CUDA brings them: without it they are no use.
    if facts["onnxruntime"]["cuda"]:
        yield from (("CUDA libraries", found) for found in _libraries(facts["libraries"]))
    yield "torch", _torch(facts["torch"])
    for name, value in facts["environment"].items():
        yield "variable", f"{name}={value}"


def _runtime(runtime: Facts) -> str:
    packages = [f"{each['name']} {each['version']}" for each in runtime["packages"]]
    if not packages:
        return "not installed"
    built = f"built with CUDA {runtime['cuda']}" if runtime["cuda"] else "built without CUDA"
    return f"{', '.join(packages)}, {built}"


def _where(trial: Facts) -> str:
    return "on the CPU" if trial["provider"] == CPU else f"on device {trial['device']}"


def _trial(trial: Facts) -> str:
    if not trial["works"]:
        return "no"
    return f"yes: loaded in {trial['load_s'] * _MS:.0f} ms, a run of {trial['run_s'] * _MS:.2f} ms"


def _driver(examination: Examination) -> str:
    driver = examination.driver
    if driver is None:
        return "none"
    return f"{driver['release'] or 'of unknown release'}, runs CUDA {driver['cuda']}"


def _device(device: Facts) -> str:
    free = device["free_bytes"]
    memory = f"{device['memory_bytes'] >> 20} MiB"
    if free is not None:
        memory = f"{free >> 20} of {memory} free"
    return f"{device['name']} ({device['capability']}), {memory}, {device['uuid']}"


def _libraries(libraries: list[Facts]) -> Iterator[str]:
    """Yield a line for each folder they are in, and one for those that are missing."""
    folders: dict[str, list[str]] = {}
    for library in libraries:
        if library["path"]:
            version = library["version"] or "of unknown version"
            folder = str(Path(library["path"]).parent)
            folders.setdefault(folder, []).append(f"{library['name']} {version}")
    for folder, found in folders.items():
        yield f"{', '.join(found)} in {folder}"
    missing = [
        f"{each['soname']} of {each['package']}"
        for each in libraries
        if each["needed"] and not each["path"]
    ]
    if missing:
        yield f"missing: {', '.join(missing)}"


def _torch(torch: Facts | None) -> str:
    if torch is None:
        return "not installed"
    if not torch["cuda"]:
        return f"{torch['version']}, built without CUDA"
    seen = f"sees {torch['devices']} device(s)"
    why = f"sees no device ({torch['error']})"
    return f"{torch['version']}, built with CUDA {torch['cuda']}, {why if torch['error'] else seen}"


def _worth_telling(examination: Examination) -> list[Problem]:
    """Return the problems; where the CPU was asked for and works, there are none."""
    return [] if examination.asked == CPU and examination.works else examination.problems
