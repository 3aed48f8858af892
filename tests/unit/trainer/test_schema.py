"""Tests of the schema that is shown before training."""

from __future__ import annotations

import io

from rich.console import Console

from isotherm.trainer import schema, sources
from isotherm.trainer.config import DataConfig, in_memory

SOURCE = sources.of_memory(
    {
        "area": [50.0, 60.0, None, 95.5, 120.0],
        "town": ["Ulm", "Bonn", "Ulm", "Kiel", "Jena"],
        "sold": [1, 0, 1, 1, 0],
        "when": [None] * 5,
        "street": [*"abcde"],
    },
    "'house.csv'",
)


def test_every_column_is_shown_with_what_it_can_be() -> None:
    """Before a choice: types, ranges, classes, missing cells, and possible parts."""
    assert [*schema.rows(SOURCE)] == [
        ("area", "FP64", "", "feature, or target", "50 .. 120, 1 missing"),
        ("town", "BYTES", "", "feature, or target (label)", "Bonn, Jena, Kiel, Ulm"),
        ("sold", "INT64", "", "feature, or target (label)", "0 .. 1"),
        ("when", "null", "", "", "none, 5 missing"),
        ("street", "BYTES", "", "feature, or target (label)", "a, b, c, d ... (5)"),
    ]


def test_a_category_shows_its_values_by_frequency_and_what_is_unknown() -> None:
    """Rare values and empty cells count as unknown: how many rows that is."""
    source = sources.of_memory({"town": [*"bbbaac", None, ""], "code": [7, 7, 3, 3, 3, 1, 7, 7]})
    config = _chosen(features=["town", "code"], targets=["y"], categories=["code"])

    assert [row[3:] for row in schema.rows(source, config)] == [
        ("feature (category)", "b, a, 2 missing, 1 rare"),
        ("feature (category)", "7, 3, 1 rare"),
    ]


def test_the_chosen_columns_are_told_from_the_others() -> None:
    """A target says what it is taken for; a column without a part is not used."""
    config = _chosen(features=["area"], targets=["sold"], units={"area": "m2"}, task="regression")
    rows = schema.rows(SOURCE, config)

    assert [(row[0], row[2], row[3]) for row in rows][:3] == [
        ("area", "m2", "feature"),
        ("town", "", ""),
        ("sold", "", "target (number)"),
    ]


def test_the_plain_schema_is_aligned_and_indented() -> None:
    """A column called `mean` must not look like a line of the leaderboard."""
    file = io.StringIO()

    config = _chosen(features=["area"], targets=["town"])
    schema.show(SOURCE, Console(file=file, width=80), config)

    first, header, *rows = file.getvalue().splitlines()
    assert first == "'house.csv', 5 rows"
    assert header == "  column  type   unit  part            values"
    assert rows[1] == "  town    BYTES        target (label)  Bonn, Jena, Kiel, Ulm"


def test_a_terminal_gets_a_drawn_schema() -> None:
    """The same cells, inside a frame."""
    file = io.StringIO()

    schema.show(SOURCE, Console(file=file, force_terminal=True, width=100))

    assert "'house.csv', 5 rows" in file.getvalue()
    assert "town" in file.getvalue()


def _chosen(**settings: object) -> DataConfig:
    return in_memory(settings)
