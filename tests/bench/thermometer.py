"""What the seed's eleven readings allow: its runs over many starts, and models by leaving one out.

    python tests/bench/thermometer.py [--write]

takes some minutes; `--write` puts the tables into docs/thermometer.md. Every figure is computed
here, on fixed seeds; other processors and versions may round to a different last digit.
"""

from __future__ import annotations

import argparse
import platform
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402  the repository's root must be importable first
import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from isotherm.trainer import copies, lesson  # noqa: E402
from tests.bench import left_out  # noqa: E402
from tests.bench.left_out import ROWS, T_C, T_RANGE, T_U, TRUTH, Row, X, Y  # noqa: E402

PAGE = ROOT / "docs" / "thermometer.md"
SEEDS = 20
SPLITS = 2000
SHOWN = tuple(range(20, 91, 10))


def main() -> None:
    """Compute, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true")
    write = parser.parse_args().write
    networks, counts = split_runs(lesson.network, lesson.network_optimizer, lesson.NETWORK_EPOCHS)
    sections: dict[str, Callable[[], Iterator[str]]] = {
        "versions": versions,
        "all": all_readings,
        "splits": lambda: splits(networks, counts),
        "truth": lambda: truth(networks),
        "left-out": models,
    }
    for name, lines in sections.items():
        text = "\n".join(lines()) + "\n"
        print(text)
        if write:
            put(name, text)


def versions() -> Iterator[str]:
    """Yield what the tables were made with."""
    packages = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "numpy"))
    yield f"Made with Python {platform.python_version()}, {packages}, on CPU."


def all_readings() -> Iterator[str]:
    """Yield the table of the line through all readings."""
    yield from head("line", "slope", "intercept", "MSE")
    slope, intercept, error = lesson.closed_form(T_U, T_C)
    yield line("closed form", f"{slope:.4f}", f"{intercept:.4f}", f"{error:.4f}")
    lines = [lesson.line() for _ in seeded()]
    copies.train(
        lines, X[None], Y[None], optimizer=lesson.line_optimizer, epochs=lesson.LINE_EPOCHS
    )
    errors = (copies.answers(lines, X) - Y).square().mean(dim=(1, 2))
    slopes, intercepts = coefficients(lines)
    yield line(
        f"SGD 1e-2 x 3000, {SEEDS} starts",
        *(spread(values, digits) for values, digits in ((slopes, 3), (intercepts, 3), (errors, 4))),
    )


def splits(networks: Sequence[nn.Module], counts: Tensor) -> Iterator[str]:
    """Yield the table of models that learn from nine readings and are validated on two."""
    yield from head("model", "training MSE", "validation MSE")
    yield closed_form_on_splits()
    lines, line_counts = split_runs(lesson.line, lesson.line_optimizer, lesson.LINE_EPOCHS)
    slopes, _ = coefficients(lines)
    yield run_line(f"line, SGD 1e-2 x 3000 (slope {spread(slopes, 2)})", lines, line_counts)
    yield run_line("tanh 13, SGD 1e-3 x 5000 (the seed)", networks, counts)
    for name, build, optimizer in (
        ("tanh 8, the same", lambda: lesson.network(8), lesson.network_optimizer),
        ("tanh 13, at the line's rate 1e-2", lesson.network, lesson.line_optimizer),
    ):
        yield run_line(name, *split_runs(build, optimizer, lesson.NETWORK_EPOCHS))


def truth(networks: Sequence[nn.Module]) -> Iterator[str]:
    """Yield the table of answers where the truth is known."""
    answers = copies.answers(networks, lesson.FACTOR * T_RANGE)[..., 0]
    slope, intercept, _ = lesson.closed_form(T_U, T_C)
    true, best = TRUTH.flatten(), slope * lesson.FACTOR * T_RANGE.flatten() + intercept
    shown = [int(reading) - 20 for reading in SHOWN]
    yield from head("degrees Fahrenheit", *map(str, SHOWN), "RMSE 20..90")
    for name, each in (
        ("true", true[None]),
        ("line, closed form", best[None]),
        (f"tanh 13 (the seed), mean of {SEEDS}", answers),
    ):
        distance = (each - true).square().mean(dim=1).sqrt().mean()
        yield line(name, *(f"{value:.1f}" for value in each.mean(dim=0)[shown]), f"{distance:.2f}")
    yield line("standard deviation", *(f"{answers.std(dim=0)[i]:.1f}" for i in shown), "")


def models() -> Iterator[str]:
    """Yield the table of models by leaving one out."""
    yield from head("model", "left-out RMSE", "training RMSE", "RMSE to the truth", "against line")
    closed = list(left_out.closed_forms())
    reference = next(row for row in closed if row.name == left_out.LINE)
    for row in (*closed, *map(left_out.left_out, left_out.recipes())):
        yield model_line(row, reference)


def model_line(row: Row, reference: Row) -> str:
    """Return a row of the table of models."""
    rmse = row.squares.mean(dim=1).sqrt()
    gain = (row.squares.mean(dim=0) - reference.squares[0]).double()
    error = gain.std() / len(gain) ** 0.5
    return line(
        row.name,
        spread(rmse, 2) if len(rmse) > 1 else f"{rmse[0]:.2f}",
        f"{row.training:.2f}",
        f"{row.truth:.2f}",
        "" if row is reference else f"{gain.mean():+.2f} +- {error:.2f}",
    )


def split_runs(
    build: Callable[[], nn.Module], optimizer: copies.MakeOptimizer, epochs: int
) -> tuple[list[nn.Module], Tensor]:
    """Train one model a seed on nine readings; return them, and which readings each learned."""
    trained, counts = [], torch.zeros(SEEDS, ROWS)
    for seed in seeded():
        counts[seed, lesson.split(ROWS)[0]] = 1
        trained.append(build())
    copies.train(trained, X[None], Y[None], counts=counts, optimizer=optimizer, epochs=epochs)
    return trained, counts


def run_line(name: str, trained: Sequence[nn.Module], counts: Tensor) -> str:
    """Return a row of the table of splits."""
    squares = (copies.answers(trained, X) - Y)[..., 0].square()
    sides = ((squares * side).sum(dim=1) / side.sum(dim=1) for side in (counts, 1 - counts))
    return line(name, *(spread(side, 2) for side in sides))


def closed_form_on_splits() -> str:
    """Return the row of the best line on many splits, with the middle 90 % of its errors."""
    x, y = X.double().numpy().ravel(), Y.double().numpy().ravel()
    generator, errors = np.random.default_rng(0), []
    for _ in range(SPLITS):
        rows = generator.permutation(ROWS)
        train, val = rows[: -lesson.HELD_OUT], rows[-lesson.HELD_OUT :]
        weights = np.polyfit(x[train], y[train], 1)
        errors.append(
            [np.square(np.polyval(weights, x[part]) - y[part]).mean() for part in (train, val)]
        )
    low, middle, high = np.quantile(errors, (0.05, 0.5, 0.95), axis=0)
    return line(
        f"line, closed form, {SPLITS} splits (5 % and 95 %)",
        *(f"{m:.2f} [{a:.2f}, {b:.2f}]" for a, m, b in zip(low, middle, high, strict=True)),
    )


def seeded() -> Iterator[int]:
    """Yield the seeds, each set when it is yielded."""
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        yield seed


def coefficients(lines: Sequence[nn.Module]) -> tuple[Tensor, Tensor]:
    """Return the lines' slopes and intercepts."""
    slopes, intercepts = zip(*(line.parameters() for line in lines), strict=True)
    return torch.cat(slopes).detach().flatten(), torch.cat(intercepts).detach()


def spread(values: Tensor, digits: int) -> str:
    """Return the median, the smallest and the largest value."""
    middle, low, high = values.quantile(0.5).item(), values.min().item(), values.max().item()
    return f"{middle:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def head(*cells: str) -> Iterator[str]:
    """Yield a table's first two lines."""
    yield line(*cells)
    yield line(*["---"] * len(cells))


def line(*cells: str) -> str:
    """Return one line of a table."""
    return f"| {' | '.join(cells)} |"


def put(name: str, text: str) -> None:
    """Write a table between its markers."""
    page, marked = PAGE.read_text(), rf"(<!-- begin: {name} -->\n).*?(<!-- end: {name} -->)"
    replaced, found = re.subn(
        marked, lambda match: match[1] + text + match[2], page, flags=re.DOTALL
    )
    if found != 1:
        msg = f"{PAGE} has the markers of '{name}' {found} times, expected once"
        raise ValueError(msg)
    PAGE.write_text(replaced)


if __name__ == "__main__":
    main()
