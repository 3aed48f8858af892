"""What a batch's time on a device goes to, step by step, and what lanes, graphs and TF32 are worth.

    python -m tests.bench.gpus.lanes [--provider cuda|cpu] [--seconds 50] [--json FILE]

In this process, without a server: what `gpu.py` shows as slow is explained here. All times are
medians, in microseconds. With `--provider cpu` a device in the host's memory stands in.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from isotherm.server.config import BatchingConfig, DeviceConfig, ServerConfig, VettingConfig
from isotherm.server.device.lane import Lane
from isotherm.server.loader import Loader, Model
from isotherm.server.placer import Placer
from tests.bench.gpus import bare, loops, served
from tests.bench.gpus.bare import Array
from tests.bench.gpus.budget import Budget
from tests.bench.gpus.plan import NETWORKS, TARGET
from tests.support import models
from tests.support.host_device import HostDevice

# Steps are told apart for these, the most telling first; together lanes run those.
SIZES: Final = (512, 4096, 64, 1, 8, 16384)
TOGETHER: Final = (4096, 512, 64)
LANES: Final = (2, 1, 4)
# What a step is repeated for, at most, and how often.
STEP_S: Final = 0.1
STEP_RUNS: Final = 50
# However long it takes: of one run alone, the median is whatever disturbed it.
LEAST_RUNS: Final = 5
TOGETHER_S: Final = 0.4

Facts = dict[str, Any]


def main() -> None:
    """Measure the most telling first, and keep what there is after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--provider", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--seconds", type=float, default=50.0, help="in all")
    parser.add_argument("--json", type=Path, help="where to keep the figures")
    arguments = parser.parse_args()
    budget = Budget(arguments.seconds)
    found: list[Facts] = []
    with tempfile.TemporaryDirectory() as folder:
        for facts in measured(Path(folder), arguments.provider, budget):
            found.append(facts)
            print(json.dumps(facts), flush=True)
            if arguments.json:
                arguments.json.write_text(json.dumps({"found": found, "cut": budget.cut}, indent=1))
    print(f"left out for want of time: {', '.join(budget.cut) or 'nothing'}")
    sys.exit(any("failed" in facts for facts in found))


def measured(
    folder: Path, provider: str, budget: Budget, sizes: Sequence[int] = SIZES
) -> Iterator[Facts]:
    """Yield figures; where a part of them fails, why."""
    plans: list[tuple[str, int, bool]] = [(TARGET, lanes, True) for lanes in LANES]
    plans += [(name, 2, True) for name in NETWORKS if name != TARGET]
    # A session without graphs may run otherwise than one that has some and does not replay them.
    plans.insert(1, (TARGET, 2, False))
    pieces: list[tuple[str, Callable[[], Iterator[Facts]]]] = [
        (_named(*plan), partial(_placed, folder, provider, sizes, *plan)) for plan in plans
    ]
    if provider == "cuda":
        pieces.append(("bare loops with TF32", partial(_by_tf32, folder)))
    for what, piece in pieces:
        if not budget.allows(what, 8):
            continue
        try:
            for facts in piece():
                yield {"what": what, **facts}
        except Exception as error:  # noqa: BLE001  the others are worth their figures
            yield {"what": what, "failed": f"{type(error).__name__}: {str(error)[:1000]}"}


def _named(network: str, lanes: int, graphs: bool) -> str:
    return f"{network} on {lanes} lanes{'' if graphs else ' without graphs'}"


def _placed(
    folder: Path, provider: str, sizes: Sequence[int], network: str, lanes: int, graphs: bool
) -> Iterator[Facts]:
    with loaded(folder, provider, network, lanes, graphs, max(sizes)) as (model, facts):
        yield facts
        for size in sizes if lanes == LANES[0] else ():
            yield {"rows": size, **steps(model.lanes[0], served.rows(NETWORKS[network], size))}
        for size in TOGETHER if network == TARGET and graphs else ():
            x = served.rows(NETWORKS[network], min(size, max(sizes)))
            yield {"rows": len(x), "rows_per_s": together(model.lanes, x)}


@contextmanager
def loaded(
    folder: Path, provider: str, network: str, lanes: int, graphs: bool, max_rows: int
) -> Iterator[tuple[Model, Facts]]:
    """Load a network as a server does; with what the load took."""
    batching = BatchingConfig(max_batch_size=max_rows, lanes=lanes)
    config = ServerConfig(
        repository=folder,
        provider="cuda",
        device=DeviceConfig(graphs=graphs and provider == "cuda"),
        batching=batching,
        vetting=VettingConfig(level="off"),
    )
    path = models.publish(folder, network, models.mlp(NETWORKS[network]))
    placer = Placer.of(config) if provider == "cuda" else Placer(config, HostDevice())
    begun = time.perf_counter()
    model = Loader(config, placer=placer).load(network, 1, path)
    facts = {
        "load_s": time.perf_counter() - begun,
        "device_bytes": model.placement.memory_bytes,
        "graph_rows": model.lanes[0].graph_rows,
        "notes": model.lanes[0].notes,
    }
    try:
        yield model, facts
    finally:
        for closing in model.close():
            closing.result(20)


def steps(lane: Lane, x: Array) -> Facts:
    """Return what each step of a batch takes, the thread's own time of the whole, and the way."""
    x = x.copy()
    facts: Facts = lane.do(lambda: _inside(lane, x)).result(60)
    facts["handed_over_us"] = _median_us(lambda: lane.do(lambda: None).result())
    # All of it, as another thread sees it: with the copies into and out of page-locked memory.
    facts["asked_us"] = _median_us(lambda: lane.run([x]))
    return facts


def _inside(lane: Lane, x: Array) -> Facts:
    """Do the steps one by one, on the lane's own thread."""
    rows = len(x)
    instance = lane._open
    buffers, wait = instance.buffers, instance._device.wait
    assert buffers is not None, lane.notes
    bound = lane.bound(rows)
    assert bound is not None

    def lent() -> None:
        another = lane.bound(rows)
        assert another is not None
        another.release()

    def filled() -> None:
        bound.inputs[0][...] = x

    def sent() -> None:
        buffers.send(bound.inputs)
        wait(instance._stream)

    bucket = next((one for one in sorted(buffers._graphs) if one >= rows), 0)
    took: dict[str, Callable[[], object]] = {
        "lent": lent,
        "filled": filled,
        "copied_in": sent,
        "ran_eagerly": lambda: instance.rehearse(rows, replay=False),
        "copied_out": lambda: buffers.receive(bound.outputs),
        "whole": bound.run,
    }
    if bucket:
        took["replayed"] = lambda: instance.rehearse(bucket, replay=True)
    try:
        facts: Facts = {f"{name}_us": _median_us(step) for name, step in took.items()}
        begun, own_s = time.perf_counter(), time.thread_time()
        _median_us(bound.run)
        # Near one where waiting is done by looking again and again.
        facts["own_share"] = (time.thread_time() - own_s) / (time.perf_counter() - begun)
    finally:
        bound.release()
    return {**facts, "bucket": bucket, "runs_in_bucket": lane._choice.bucket(rows)}


def together(lanes: Sequence[Lane], x: Array) -> float:
    """Return the rows a second of all lanes at once."""
    until = time.perf_counter() + TOGETHER_S
    counts = [0] * len(lanes)

    def press(number: int) -> None:
        # Once at least, however late this thread has begun.
        while not counts[number] or time.perf_counter() < until:
            lanes[number].run([x])
            counts[number] += 1

    threads = [threading.Thread(target=press, args=(number,)) for number in range(len(lanes))]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) * len(x) / (time.perf_counter() - begun)


def _by_tf32(folder: Path) -> Iterator[Facts]:
    path = models.publish(folder, TARGET, models.mlp(NETWORKS[TARGET]))
    exact = bare.on_cpu(path, 1)
    for tf32 in (False, True):
        runs = {"CPU": exact, **bare.on_cuda(path, tf32=tf32)}
        for size in TOGETHER[:2]:
            x = served.rows(NETWORKS[TARGET], size)
            failures: list[str] = []
            turns = loops.contenders(runs, x, failures.append)
            for name, one in turns.items():
                one.turn(STEP_S)
                figures = one.figures()
                yield {
                    "loop": name,
                    "tf32": tf32,
                    "rows": size,
                    "rows_per_s": figures.rows_per_s,
                    "difference": figures.difference,
                }
            yield from ({"failed": failure} for failure in failures)


def _median_us(step: Callable[[], object]) -> float:
    taken: list[float] = []
    begun = time.perf_counter()
    step()
    while len(taken) < LEAST_RUNS or (
        len(taken) < STEP_RUNS and time.perf_counter() - begun < STEP_S
    ):
        start = time.perf_counter()
        step()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken) * 1e6


if __name__ == "__main__":
    main()
