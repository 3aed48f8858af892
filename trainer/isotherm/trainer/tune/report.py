"""The report of a search: its best trials, what mattered, and how far it is."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from isotherm.trainer.tracking.story import Trial
from isotherm.trainer.tune.config import Scalar
from isotherm.trainer.tune.search import Found, OnTrial
from isotherm.trainer.tune.trial import State, Tried, ranked

_SHOWN: Final = 10
_SMALLEST: Final = 0.01


def show(found: Found, metric: str, console: Console) -> None:
    """Print the best trials, and what else there is to say."""
    best = ranked(found.trials)[:_SHOWN]
    if best:
        rows = [("trial", f"CV {metric}", "parameters", "seconds", "settings"), *map(_cells, best)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for *numbers, settings in rows:
            cells = [cell.rjust(width) for cell, width in zip(numbers, widths[:-1], strict=True)]
            console.out("  ".join((*cells, settings)), highlight=False)
    for sentence in sentences(found):
        console.out(sentence, highlight=False)


def sentences(found: Found) -> Iterator[str]:
    """Yield how the trials ended, and which parameters mattered."""
    counts = Counter(one.outcome.state for one in found.trials)
    parts = [f"{counts[state]} {text}" for state, text in _ENDS.items() if counts[state]]
    yield f"Of {len(found.trials)} trials {', '.join(parts)}."
    reasons = sorted(
        {one.outcome.reason for one in found.trials if one.outcome.state is State.FAILED}
    )
    for reason in reasons:
        yield f"Failed: {reason}."
    if found.importance:
        telling = ((name, share) for name, share in found.importance.items() if share >= _SMALLEST)
        shares = ", ".join(f"{name} {share:.0%}" for name, share in telling)
        yield f"What sets the best tenth apart: {shares}."


_ENDS: Final = {
    State.COMPLETE: "were completed",
    State.PRUNED: "were given up because they fell behind",
    State.DIVERGED: "left the finite numbers",
    State.FAILED: "failed",
}


def told(one: Tried) -> Trial:
    """Return a trial as stores are told of it."""
    return Trial(
        name=f"trial-{one.index}",
        state=str(one.outcome.state),
        parameters=one.parameters,
        error=one.outcome.error,
        losses=one.losses,
        started=one.started,
        seconds=one.outcome.seconds,
    )


@contextmanager
def watching(file: TextIO, trials: int, *, quiet: bool = False) -> Iterator[OnTrial]:
    """Yield what shows each trial that ends: a bar on a terminal, a line of JSON elsewhere."""
    console = Console(file=file)
    if quiet:
        yield lambda _trials: None
    elif not console.is_terminal:
        yield lambda ended: _line(file, ended, trials)
    else:
        columns = (TextColumn("trials"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(
            *columns, TextColumn("{task.fields[best]}"), console=console, transient=True
        ) as bars:
            task = bars.add_task("trials", total=trials, best="")

            def on_trial(ended: list[Tried]) -> None:
                best = ranked(ended)[:1]
                text = f"best {best[0].error:.4g} (trial {best[0].index})" if best else ""
                bars.update(task, completed=len(ended), best=text)

            yield on_trial


def _line(file: TextIO, ended: Sequence[Tried], trials: int) -> None:
    last, best = ended[-1], ranked(ended)[:1]
    line = {
        "trial": last.index,
        "state": str(last.outcome.state),
        "error": last.outcome.error,
        "best": best[0].error if best else None,
        "ended": len(ended),
        "trials": trials,
    }
    file.write(json.dumps(line) + "\n")
    file.flush()


def _cells(one: Tried) -> tuple[str, ...]:
    settings = ", ".join(f"{name} {_text(value)}" for name, value in one.parameters.items())
    size, seconds = str(one.outcome.parameters), f"{one.outcome.seconds:.1f}"
    return str(one.index), f"{one.error:.4g}", size, seconds, settings


def _text(value: Scalar) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
