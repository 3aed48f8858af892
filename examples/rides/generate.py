"""Two years of made-up taxi rides in a made-up city, as two Parquet files.

    python examples/rides/generate.py [FOLDER] [--rows 2000000] [--seed 7]

`before.parquet` is the first year, `after.parquet` the second, in which the city changes: README.md
says how. The same arguments give the same rows, and no more of them are in memory than a row group
has.
"""

import argparse
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

BEGIN = datetime(2022, 1, 1, tzinfo=UTC)
SECONDS = 2 * 365 * 86_400
GROUP_ROWS = 65_536

FIRST = "Alder Amber Birch Cedar Clover Copper Elm Fern Hazel Heather Iron Larch Linden Maple Mill"
FIRST += " Moss Oak Otter Quarry Raven Rowan Sand Slate Thorn Willow"
LAST = "bank brook cross field ford gate hill mead park row side ton"
ZONES = [first + last for first in FIRST.split() for last in LAST.split()]
# These open in the second year.
NEW_ZONES = 40

SERVICES = ["standard", "shared", "comfort", "van", "electric"]
SERVICE_PRICES = np.array([1.0, 0.7, 1.35, 1.6, 0.9])
PAYMENTS = ["card", "app", "cash"]
DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]

SCHEMA = pa.schema(
    [
        ("at", pa.timestamp("s")),
        ("pickup", pa.dictionary(pa.int32(), pa.string())),
        ("service", pa.dictionary(pa.int32(), pa.string())),
        ("payment", pa.dictionary(pa.int32(), pa.string())),
        ("day", pa.dictionary(pa.int32(), pa.string())),
        ("hour", pa.float32()),
        pa.field("km", pa.float32(), metadata={"unit": "km"}),
        pa.field("rain", pa.float32(), metadata={"unit": "mm/h"}),
        pa.field("rating", pa.float32()),
        pa.field("fare", pa.float32(), metadata={"unit": "EUR"}),
    ]
)


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("build/rides"))
    parser.add_argument("--rows", type=int, default=2_000_000, help="of both files together")
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    for path in generate(given.folder, given.rows, given.seed):
        print(path)


def generate(folder: Path, rows: int, seed: int) -> tuple[Path, Path]:
    """Write `rows` rides, half of them into each file; return the two paths."""
    folder.mkdir(parents=True, exist_ok=True)
    middle = rows // 2
    before, after = folder / "before.parquet", folder / "after.parquet"
    for path, start, stop in ((before, 0, middle), (after, middle, rows)):
        # Whoever looks for the file finds all of it, or none.
        partial = path.with_suffix(".partial")
        with pq.ParquetWriter(partial, SCHEMA) as writer:
            for first in range(start, stop, GROUP_ROWS):
                count = min(GROUP_ROWS, stop - first)
                writer.write_table(rides(first, count, rows, seed), row_group_size=GROUP_ROWS)
        partial.replace(path)
    return before, after


def rides(first: int, count: int, rows: int, seed: int) -> pa.Table:
    """Return some rides, from the one with the number `first` on, of `rows` in the two years."""
    rng = np.random.default_rng([seed, first])
    # From 0 to 1 over the two years, in order.
    time = (first + np.arange(count) + rng.random(count)) / rows
    second_year = time > 0.5
    seconds = (time * SECONDS).astype(np.int64)
    hour = _hours(rng, count)
    seconds += (hour * 3600).astype(np.int64) - seconds % 86_400
    # The first day of 1970 was a Thursday.
    day = (int(BEGIN.timestamp()) // 86_400 + seconds // 86_400 + 3) % 7

    zone = _zones(rng, count, time)
    service = _services(rng, count, time)
    # Long rides are rare, and begin at the edge of the city more often.
    edge = (zone % len(LAST.split())) / 12
    km = np.exp(rng.normal(1.2 + 0.6 * edge, 0.7)).clip(0.3, 60)
    wet = rng.random(count) < 0.18
    rain = np.where(wet, rng.gamma(1.2, 2.0, count), 0.0)
    rating = 5 - rng.gamma(2.0, 0.12, count)

    rush = np.exp(-((hour - 8) ** 2) / 4) + np.exp(-((hour - 18) ** 2) / 6)
    night = (hour < 5) | (hour > 22)
    surge = 1 + 0.35 * rush * (day < 5) + 0.25 * (night & (day >= 4)) + 0.04 * np.minimum(rain, 10)
    level = 0.85 + 0.5 * _per_zone(1)[zone]
    # Prices rise a little all the time, and at once in the second year.
    inflation = 1 + 0.03 * time + 0.12 * second_year
    fare = (3.2 + 1.55 * km + 0.25 * km * rush) * surge * level * SERVICE_PRICES[service]
    fare *= inflation * np.exp(rng.normal(0, 0.12, count))
    fare = np.round(fare, 2)

    # The rain gauge of the second year is off for a third of the time; new drivers have no rating.
    rain[rng.random(count) < np.where(second_year, 0.35, 0.04)] = np.nan
    rating[rng.random(count) < 0.08] = np.nan
    payment = rng.choice(3, count, p=[0.5, 0.35, 0.15])
    unpaid = rng.random(count) < 0.02
    start = int(BEGIN.timestamp())
    return pa.table(
        [
            pa.array(start + seconds, pa.int64()).cast(pa.timestamp("s")),
            pa.DictionaryArray.from_arrays(zone.astype(np.int32), ZONES),
            pa.DictionaryArray.from_arrays(service.astype(np.int32), SERVICES),
            pa.DictionaryArray.from_arrays(pa.array(payment, pa.int32(), mask=unpaid), PAYMENTS),
            pa.DictionaryArray.from_arrays(day.astype(np.int32), DAYS),
            *(_numbers(values) for values in (np.floor(hour), km, rain, rating, fare)),
        ],
        schema=SCHEMA,
    )


def _hours(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return times of day in hours: many in the morning and the evening, few at night."""
    peak = rng.choice([8.0, 13.0, 18.0, 22.5], count, p=[0.27, 0.23, 0.35, 0.15])
    return rng.normal(peak, 2.2) % 24


def _zones(rng: np.random.Generator, count: int, time: np.ndarray) -> np.ndarray:
    """Return where rides begin: few zones have many, and some zones open in the second year."""
    old = len(ZONES) - NEW_ZONES
    weights = _per_zone(2)[:old].argsort().argsort() + 1.0
    shares = weights**-0.9 / (weights**-0.9).sum()
    zone = rng.choice(old, count, p=shares)
    opened = rng.random(count) < 0.3 * np.maximum(time - 0.5, 0)
    zone[opened] = old + rng.integers(NEW_ZONES, size=int(opened.sum()))
    return zone


def _services(rng: np.random.Generator, count: int, time: np.ndarray) -> np.ndarray:
    """Return the kinds of service: electric cars come in the second year, sharing goes."""
    service = rng.choice(4, count, p=[0.55, 0.22, 0.15, 0.08])
    share = 0.5 * np.maximum(time - 0.5, 0)
    service[(service == 1) & (rng.random(count) < 3 * share)] = 0
    service[rng.random(count) < 0.05 * (time > 0.5) + share] = 4
    return service


def _per_zone(what: int) -> np.ndarray:
    """Return a number from 0 to 1 for each zone: the city itself, whatever the rides' seed is."""
    return np.random.default_rng(what).random(len(ZONES))


def _numbers(values: np.ndarray) -> pa.Array:
    # From a mask: what is not a number is missing.
    return pa.array(values.astype(np.float32), mask=np.isnan(values))


if __name__ == "__main__":
    main()
