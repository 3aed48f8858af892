"""The section of docs/performance.md: one table, the targets, break-even, the trainer, the cuts."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.gpus.figures import Cell, Looped, Results, Served
from tests.bench.gpus.plan import NETWORKS, TARGET

LOOPS = ("CPU", "CUDA", "IO binding", "CUDA graph", "torch", "torch.compile")
OF_BEST = 0.9
# The target for the end-to-end p99: so many bare runs and so many milliseconds.
RUNS, EXTRA_MS = 2, 1.0
# Answers that differ by more are no answers of this network. TF32 would show at 1e-3.
DIFFERENCE = 2e-4
NOTHING = "-"


def page(results: Results) -> str:
    """Return the whole section."""
    lines = [
        f"{', '.join(results.machine)}; medians of {results.rounds} interleaved rounds; "
        f"{results.seconds:.0f} s in all.",
        "",
        *_absences(results),
        *_table(results),
        "",
        *targets(results),
        *_several(results),
        *_placed(results),
        *_trained(results),
        *_cut(results),
    ]
    return "\n".join(lines).rstrip("\n") + "\n"


def line(cell: Cell, results: Results) -> str:
    """Return a cell's row of the table."""
    served = [_served(cell.whole), _share(cell), _half(cell), _served(cell.single)]
    busy = cell.whole.limit if cell.whole else NOTHING
    loops = [_looped(cell.loops.get(name)) for name in _columns(results)]
    return _row(cell.network, f"{cell.batch:,}", *loops, *served, busy)


def targets(results: Results) -> Iterator[str]:
    """Yield a line for each target of each batch size of the network that they speak of."""
    cells = sorted(
        (cell for cell in results.cells if cell.network == TARGET), key=lambda cell: cell.batch
    )
    on = "" if not results.no_device else " (on the CPU: they are meant for a device)"
    yield f"**Targets** for {TARGET}{on}"
    yield ""
    shares = [(cell, share) for cell in cells if (share := of_best(cell)) is not None]
    for cell, share in shares:
        best = cell.best()
        loop = f"{best[0]}, {_rate(best[1].rows_per_s)}" if best else ""
        busy = f" ({cell.whole.limit})" if cell.whole and share < OF_BEST else ""
        yield (
            f"* {cell.batch:,} rows: the server has {share:.0%} of the best bare loop ({loop}), "
            f"wanted {OF_BEST:.0%}: {_met(share >= OF_BEST)}{busy}."
        )
    for cell in cells:
        limit_ms = p99_limit_ms(cell)
        if cell.half is None or limit_ms is None:
            continue
        yield (
            f"* {cell.batch:,} rows at {_rate(cell.half.rows_per_s)}: p99 end to end "
            f"{_ms(cell.half.p99_ms)}, wanted {_ms(limit_ms)} (twice the bare run, plus "
            f"{EXTRA_MS:g} ms): {_met(cell.half.p99_ms <= limit_ms)}."
        )
    if not cells:
        yield "* not measured."
    yield ""


def of_best(cell: Cell) -> float | None:
    """Return what share of the best bare loop's rows/s the server has."""
    best = cell.best()
    return cell.whole.rows_per_s / best[1].rows_per_s if best and cell.whole else None


def p99_limit_ms(cell: Cell) -> float | None:
    """Return what the end-to-end p99 at half load may be."""
    best = cell.best()
    return RUNS * best[1].run_ms + EXTRA_MS if best else None


def _absences(results: Results) -> Iterator[str]:
    if results.no_device:
        yield f"CUDA: no device: {results.no_device}. The server ran on the CPU."
        yield ""
    elif results.no_torch:
        yield f"torch: {results.no_torch}."
        yield ""
    for failure in results.failures:
        yield f"**Failed:** {' '.join(failure.split())[:400]}"
        yield ""


def _table(results: Results) -> Iterator[str]:
    yield (
        "Rows/s and p99 of a run or of a request, from the host's memory to the host's memory. "
        "`server` has one worker and gets requests as large as its batches, as many at once as "
        "keep it busy; `of best` compares it with the best bare loop of ONNX Runtime; `half load` "
        "is its p99 from when a request was due, at half that rate; `one row each` are requests of "
        "one row that the server batches. `busy` tells of the server's busiest thread, of the load "
        "and of the device while the server had requests of whole batches."
    )
    yield ""
    names = (*_columns(results), "server", "of best", "half load", "one row each", "busy")
    yield _row("network", "batch", *names)
    yield _row(*["---"] * (len(names) + 2))
    order = [*NETWORKS]
    for cell in sorted(results.cells, key=lambda cell: (order.index(cell.network), cell.batch)):
        yield line(cell, results)
    loads = {cell.whole.by for cell in results.cells if cell.whole}
    yield ""
    if loads:
        yield f"The load came from {', '.join(sorted(loads))}; at half load from Python processes."
    wrong = [
        f"{name} on {cell.network} at {cell.batch} rows by {loop.difference:.0e}"
        for cell in results.cells
        for name, loop in cell.loops.items()
        if loop.difference > DIFFERENCE
    ]
    if wrong:
        yield f"**Answers that differ from the CPU's:** {'; '.join(wrong)}."


def _columns(results: Results) -> tuple[str, ...]:
    return LOOPS[:1] if results.no_device else LOOPS[:4] if results.no_torch else LOOPS


def _several(results: Results) -> Iterator[str]:
    found = [
        f"{cell.batch:,} rows {_rate(cell.several.rows_per_s)} ({cell.several.limit})"
        for cell in sorted(results.cells, key=lambda cell: cell.batch)
        if cell.several
    ]
    if found:
        yield f"**{results.workers} workers on one device**, {TARGET}: {'; '.join(found)}."
        yield ""


def _placed(results: Results) -> Iterator[str]:
    if not results.placed:
        return
    yield "**Break-even** as a server with `--provider auto` measured it at load:"
    yield ""
    for one in results.placed:
        note = f" ({one.note})" if one.note else ""
        yield (
            f"* {one.network}: provider {one.provider}, the device from {one.break_even_rows} rows "
            f"on{note}. {_crossing(results, one.network)}"
        )
    yield ""


def _crossing(results: Results, network: str) -> str:
    """Tell from where the loops above say that the device is faster."""
    if results.no_device:
        return "No loop on a device to compare."
    ahead = None
    for cell in sorted(results.cells, key=lambda cell: -cell.batch):
        rates = {name: loop.rows_per_s for name, loop in cell.loops.items()}
        device = max((rates[name] for name in LOOPS[1:4] if name in rates), default=0.0)
        if cell.network != network or "CPU" not in rates:
            continue
        if device <= rates["CPU"]:
            break
        ahead = cell.batch
    return f"Of the loops above, the device is ahead from {ahead or 'no batch'} on."


def _trained(results: Results) -> Iterator[str]:
    if not results.trained:
        return
    yield "**Training on the device**, rows/s"
    yield ""
    yield _row("network", "rows a step", "eager", "step recorded as a graph", "gain")
    yield _row(*["---"] * 5)
    for one in results.trained:
        both = one.eager and one.recorded
        gain = f"{one.recorded / one.eager:.1f}" if both and one.recorded and one.eager else NOTHING
        rates = [NOTHING if rate is None else _rate(rate) for rate in (one.eager, one.recorded)]
        yield _row(one.network, f"{one.batch:,}", *rates, gain + (one.note and f" ({one.note})"))
    yield ""


def _cut(results: Results) -> Iterator[str]:
    if results.cut:
        yield f"Left out for want of time: {', '.join(results.cut)}."


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _looped(loop: Looped | None) -> str:
    return NOTHING if loop is None else f"{_rate(loop.rows_per_s)}; {_ms(loop.p99_ms)}"


def _served(served: Served | None) -> str:
    return NOTHING if served is None else f"{_rate(served.rows_per_s)}; {_ms(served.p99_ms)}"


def _share(cell: Cell) -> str:
    share = of_best(cell)
    return NOTHING if share is None else f"{share:.0%}"


def _half(cell: Cell) -> str:
    if cell.half is None:
        return NOTHING
    return f"{_ms(cell.half.p99_ms)} at {_rate(cell.half.rows_per_s)}"


def _met(met: bool) -> str:
    return "met" if met else "missed"


def _rate(rows_per_s: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if rows_per_s >= size:
            return f"{rows_per_s / size:.3g} {letter}"
    return f"{rows_per_s:.0f}"


def _ms(ms: float) -> str:
    return f"{ms:,.0f} ms" if ms >= 1000 else f"{ms:.3g} ms"
