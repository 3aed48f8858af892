"""The run: the most important first, within its time, whatever fails on the way."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from tests.bench.gpus import bare, facts, loops, report, served, training, watch
from tests.bench.gpus.budget import Budget
from tests.bench.gpus.figures import Cell, Placed, Results, Served
from tests.bench.gpus.plan import NETWORKS, TARGET, Plan
from tests.support.server import Server

# A loop whose run would take longer, by what is known, is left out.
TOO_LONG_S: Final = 4.0
# A load lasts so many runs at least, and so long at most.
RUNS: Final = 8
LONGEST_S: Final = 3.0
# Compiling takes a part of this.
COMPILED_S: Final = 60.0


class Bench:
    """One run of the script."""

    def __init__(self, provider: str, plan: Plan, seconds: float) -> None:
        self._began_s = time.monotonic()
        self._budget = Budget(seconds)
        self._results = Results(provider=provider, machine=facts.machine(), rounds=plan.rounds)
        self._results.no_device = facts.no_device() if provider == "cuda" else "not asked for"
        self._results.no_torch = self._results.no_device or facts.no_torch()
        if provider == "cuda" and self._results.no_device:
            self._failed(f"CUDA was asked for: {self._results.no_device}")
        # Without a device, the server is measured on the CPU.
        self._provider = "cpu" if self._results.no_device else "cuda"
        self._plan = plan
        self._utilisation = watch.utilisation()
        self._row_s: dict[tuple[str, str], float] = {}
        self._file: Path | None = None

    def run(self, file: Path | None) -> Results:
        """Measure the most important first; keep what there is in a file, again and again."""
        self._file = file
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            first, *others = (
                partial(self._network, folder, network) for network in self._plan.networks
            )
            placement, several = partial(self._placement, folder), partial(self._several, folder)
            compiled = partial(self._compiled, folder)
            steps: list[Callable[[], None]]
            steps = [first, placement, self._training, *others, several, compiled]
            for step in steps:
                try:
                    step()
                except Exception as error:  # noqa: BLE001  the other steps are worth their figures
                    self._failed(f"{type(error).__name__}: {str(error)[-2000:]}")
                self._keep()
        return self._results

    def _keep(self) -> None:
        self._results.cut = self._budget.cut
        self._results.seconds = time.monotonic() - self._began_s
        if self._file:
            # In one step: the run may be ended in the midst of it.
            written = self._file.with_suffix(".part")
            written.write_text(self._results.to_json())
            written.replace(self._file)

    def _network(self, folder: Path, network: str) -> None:
        if not self._budget.allows(f"all of {network}", 20):
            return
        model = served.model_bytes(NETWORKS[network])
        path = folder / f"{network}.onnx"
        path.write_bytes(model)
        served.publish(folder / network, network, model, self._plan.batches)
        candidates = self._loops(path)
        with ExitStack() as stack:
            running = None
            try:
                running = stack.enter_context(
                    served.server(folder / network, *self._flags("--workers", "1"))
                )
            except RuntimeError as error:
                self._failed(f"{network}: {error}")
            for batch in self._plan.batches:
                least_s = self._plan.rounds * (6 * self._plan.loop_s + self._plan.served_s) + 2
                if not self._budget.allows(f"{network} at {batch} rows", least_s):
                    continue
                try:
                    self._cell(folder, network, batch, candidates, running)
                except Exception as error:  # noqa: BLE001  the other cells are worth their figures
                    self._failed(f"{network} at {batch} rows: {str(error)[-1000:]}")
                self._keep()

    def _loops(self, path: Path) -> dict[str, bare.Prepare]:
        """Return the contenders; what cannot be made is told of."""
        found = {"CPU": bare.on_cpu(path, facts.processors())}
        makers: list[Any] = []
        if not self._results.no_device:
            makers.append(lambda: bare.on_cuda(path))
        if not self._results.no_torch:
            from tests.bench.gpus import by_torch

            makers.append(lambda: {"torch": by_torch.eager(path)})
        for make in makers:
            try:
                found |= make()
            except Exception as error:  # noqa: BLE001  the others are worth their figures
                self._failed(f"a loop over {path.stem} cannot be made: {str(error)[:500]}")
        return found

    def _cell(
        self,
        folder: Path,
        network: str,
        batch: int,
        candidates: dict[str, bare.Prepare],
        running: Server | None,
    ) -> None:
        x = served.rows(NETWORKS[network], batch)
        if not self._results.no_torch:
            from tests.bench.gpus import by_torch

            x = by_torch.pinned(x)
        wanted = {
            name: one for name, one in candidates.items() if self._short(network, name, batch)
        }
        for name in candidates.keys() - wanted.keys():
            took_s = self._row_s[network, name] * batch
            self._budget.cut.append(f"{name} on {network} at {batch} rows ({took_s:.0f} s a run)")
        cell = Cell(network=network, batch=batch)
        self._results.cells.append(cell)
        turns = loops.contenders(wanted, x, lambda why: self._failed(f"{network}: {why}"))
        seen: dict[str, list[Served]] = {"whole": [], "single": []}
        # Nothing serves what a loop has no time for.
        served_too_long = self._provider == "cpu" and not self._short(network, "CPU", batch)
        load = None
        single = None
        if running is not None and not served_too_long:
            model = served.name_of(network, batch)
            load = served.Loader(running, folder, model, x, self._utilisation)
            if batch in self._plan.filled:
                single = served.Loader(running, folder, model, x[:1], self._utilisation)
        for _ in range(self._plan.rounds):
            for one in turns.values():
                one.turn(self._plan.loop_s)
            cell.loops = {name: one.figures() for name, one in turns.items()}
            if load:
                seen["whole"].append(load.saturate(_in_flight(batch), self._seconds(cell)))
            if single:
                seen["single"].append(single.saturate(4 * batch, self._seconds(cell)))
        for name, loop in cell.loops.items():
            self._row_s[network, name] = loop.run_ms / 1e3 / batch
        if load:
            cell.whole = _median(seen["whole"])
            cell.single = _median(seen["single"]) if seen["single"] else None
            rate = cell.whole.rows_per_s / batch / 2
            seconds = min(2 * LONGEST_S, max(self._plan.half_s, 4 * RUNS / rate))
            if self._budget.allows(f"half load of {network} at {batch}", seconds + 1):
                cell.half = load.offer(rate, seconds)
        print(report.line(cell, self._results), file=sys.stderr, flush=True)

    def _placement(self, folder: Path) -> None:
        """Ask a server that has both for its break-even."""
        if not self._budget.allows("break-even", 15):
            return
        for network in NETWORKS:
            target = folder / "auto" / network / "1"
            target.mkdir(parents=True)
            (target / "model.onnx").write_bytes(served.model_bytes(NETWORKS[network]))
        with served.server(folder / "auto", "--provider", "auto") as running:
            for network in NETWORKS:
                said = served.parameters(running, network)
                self._results.placed.append(
                    Placed(
                        network=network,
                        provider=said.get("isotherm.provider", "?"),
                        break_even_rows=said.get("isotherm.break_even_rows", "-"),
                        note=said.get("isotherm.provider_note", ""),
                    )
                )

    def _training(self) -> None:
        if self._results.no_torch:
            return
        if self._budget.allows("the trainer", 30):
            self._results.trained = training.measured()

    def _several(self, folder: Path) -> None:
        """Load several workers on one device with the target's requests."""
        workers = self._plan.workers
        cells = [
            cell
            for cell in self._results.cells
            if cell.network == TARGET and cell.whole and cell.batch in self._plan.several
        ]
        if not cells or not self._budget.allows(f"{workers} workers on one device", 25):
            return
        self._results.workers = workers
        repository = folder / "several"
        served.publish(
            repository, TARGET, served.model_bytes(NETWORKS[TARGET]), [cell.batch for cell in cells]
        )
        with served.server(repository, *self._flags("--workers", str(workers))) as running:
            for cell in cells:
                x = served.rows(NETWORKS[TARGET], cell.batch)
                model = served.name_of(TARGET, cell.batch)
                load = served.Loader(running, folder, model, x, self._utilisation)
                in_flight = workers * _in_flight(cell.batch)
                cell.several = load.saturate(in_flight, 2 * self._seconds(cell))

    def _compiled(self, folder: Path) -> None:
        """Add `torch.compile` to the cells that there are: last, since compiling takes long."""
        if self._results.no_torch:
            return
        from tests.bench.gpus import by_torch

        for network in self._plan.networks:
            what = f"torch.compile on {network}"
            if not self._budget.allows(what, COMPILED_S):
                continue
            path = folder / f"{network}.onnx"
            both = {"torch": by_torch.eager(path), "torch.compile": by_torch.compiled(path)}
            for cell in self._results.cells:
                if cell.network != network or not self._budget.allows(
                    f"{what} at {cell.batch}", 10
                ):
                    continue
                x = by_torch.pinned(served.rows(NETWORKS[network], cell.batch))
                turns = loops.contenders(both, x, self._failed)
                if (one := turns.get("torch.compile")) is not None:
                    for _ in range(self._plan.rounds):
                        one.turn(self._plan.loop_s)
                    cell.loops["torch.compile"] = one.figures()
                    self._keep()

    def _seconds(self, cell: Cell) -> float:
        """Return how long a load lasts: several of the runs that a loop has shown."""
        best = cell.best()
        run_s = best[1].run_ms / 1e3 if best else 0.0
        return min(LONGEST_S, max(self._plan.served_s, RUNS * run_s))

    def _flags(self, *flags: str) -> tuple[str, ...]:
        on_device = ("--device-ids", "0") if self._provider == "cuda" else ()
        return ("--provider", self._provider, *on_device, *flags)

    def _short(self, network: str, name: str, batch: int) -> bool:
        return self._row_s.get((network, name), 0.0) * batch < TOO_LONG_S

    def _failed(self, why: str) -> None:
        print(why, file=sys.stderr, flush=True)
        self._results.failures.append(why)


def _in_flight(batch: int) -> int:
    """Return how many requests of a whole batch keep a server busy: some run, some wait."""
    return 64 if batch <= 8 else 16 if batch <= 4096 else 6


def _median(seen: list[Served]) -> Served:
    """Return the round in the middle, by its rate."""
    ranked = sorted(seen, key=lambda one: one.rows_per_s)
    return replace(ranked[len(ranked) // 2])
