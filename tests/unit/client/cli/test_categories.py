"""Categories on the command line, in files of every form, and in what is written."""

from __future__ import annotations

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

COLUMNS = {
    "note": ["a", "b", "c", "d"],
    "hour": [1, 2, 3, 4],
    "seats": [6, 4, None, 5],
    "city": ["Rome", None, "Atlantis", "Oslo"],
    "km": [1.0, 2.0, 3.0, None],
}
# `tests.unit.client.linear` says how they come about.
ANSWERS = [2111.0, 7202.0, -627.0, 694.0]
FEATURES = ("city", "km", "seats", "hour")


@pytest.fixture(name="predict")
def _predict(isotherm, server):
    def call(*arguments, fed=""):
        return isotherm("predict", "rides", *arguments, "--address", server.address, fed=fed)

    return call


def _csv(path):
    cells = zip(*COLUMNS.values(), strict=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([[*COLUMNS], *cells])


def _json_lines(path):
    rows = (dict(zip(COLUMNS, row, strict=True)) for row in zip(*COLUMNS.values(), strict=True))
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def _parquet(path):
    pq.write_table(pa.table(COLUMNS), path, row_group_size=3)


def _dictionary(path):
    table = pa.table(COLUMNS)
    index = table.column_names.index("city")
    encoded = table.column("city").dictionary_encode()
    pq.write_table(table.set_column(index, "city", encoded), path)


FILES = {
    "rows.csv": _csv,
    "rows.jsonl": _json_lines,
    "rows.parquet": _parquet,
    "dictionary.parquet": _dictionary,
}
each_file = pytest.mark.parametrize("name", FILES)


@pytest.fixture(name="path")
def _path(tmp_path, name):
    FILES[name](tmp_path / name)
    return tmp_path / name


@each_file
def test_a_file_has_its_categories_read_by_value(predict, path):
    """What is written beside the answers is what stood in the file, not codes."""
    result = predict("--data", path, "--format", "jsonl", "--batch-rows", 2)

    assert result.exit_code == 0, result.stderr
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["fare"] for row in rows] == ANSWERS
    assert [row["city"] for row in rows] == COLUMNS["city"]
    assert [row["seats"] for row in rows] == ["6", "4", None, "5"]
    assert [row["km"] for row in rows] == COLUMNS["km"]


def test_unknown_values_get_a_note(predict, tmp_path):
    """They are answered all the same."""
    path = tmp_path / "rows.csv"
    _csv(path)

    result = predict("--data", path, "--format", "csv")

    assert result.stderr.splitlines() == [
        "note: 1 of 4 values of 'city' are not among its 3 of the training, such as 'Atlantis': "
        "the model takes them as unknown",
        "note: 1 of 4 values of 'seats' are not among its 2 of the training, such as '5': the "
        "model takes them as unknown",
    ]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_an_output_is_gone_on_with(predict, tmp_path, suffix):
    """The row before must have the file's values, and what is added is what one run writes."""
    whole, begun = tmp_path / f"whole.{suffix}", tmp_path / f"begun.{suffix}"
    path = tmp_path / "rows.csv"
    _csv(path)
    assert predict("--data", path, "--output", whole).exit_code == 0
    head = path.read_text().splitlines()[:4]
    (tmp_path / "first.csv").write_text("\n".join(head))
    assert predict("--data", tmp_path / "first.csv", "--output", begun).exit_code == 0

    result = predict("--data", path, "--output", begun, "--resume")

    assert result.exit_code == 0, result.stderr
    assert begun.read_bytes() == whole.read_bytes()


def test_an_output_of_other_values_is_not_gone_on_with(predict, tmp_path):
    """A code would be the same for all that are unknown."""
    rows, output = tmp_path / "rows.csv", tmp_path / "out.csv"
    rows.write_text("city,km,seats,hour\nAtlantis,1,4,1\nRome,1,4,1\n")
    assert predict("--data", rows, "--output", output, "--batch-rows", 1).exit_code == 0
    output.write_text("".join(output.read_text().splitlines(keepends=True)[:2]))
    rows.write_text("city,km,seats,hour\nElsewhere,1,4,1\nRome,1,4,1\n")

    result = predict("--data", rows, "--output", output, "--resume")

    assert result.exit_code == 1
    assert "has Atlantis for 'city', and " in result.stderr
    assert "line 2 has Elsewhere" in result.stderr


@pytest.mark.parametrize(
    ("values", "answer"),
    [
        (["Rome", 1, 6, 1], 2111.0),
        (["hour=1", "seats=6", "km=1", "city=Rome"], 2111.0),
        (["city=", "km=", "seats=", "hour=2"], 7000 + 700 + 70 + 2.0),
        (["city=Atlantis=under=water", "km=0", "seats=4", "hour=0"], -1000.0),
    ],
)
def test_values_are_one_row_in_order_or_by_name(predict, values, answer):
    """`city=Rome` says itself what it is; an empty value is a missing one."""
    result = predict(*values, "--format", "jsonl", "--only-outputs")

    assert json.loads(result.stdout) == {"fare": answer}, result.stderr


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["city=Rome", "km=1", "seats=6"], "no value of 'hour': add hour=VALUE"),
        (["city=Rome", "1", "seats=6", "hour=1"], "'1' is no NAME=VALUE of a feature of model"),
        (["city=Rome", "town=1", "seats=6", "hour=1"], "'town=1' is no NAME=VALUE of a feature"),
        (["city=Rome", "city=Oslo", "km=1", "seats=6", "hour=1"], "'city' has 2 values"),
        (["city=Rome", "km=far", "seats=6", "hour=1"], "'far' is not a number"),
        (["city=Rome", "km=1", "seats=6", "hour="], "has nan for 'hour'"),
        (["Rome", "1"], "takes 4 values a row (city, km, seats, hour), got 2"),
    ],
)
def test_values_that_do_not_fit_are_told(predict, values, message):
    result = predict(*values)

    assert (result.exit_code, result.stdout) == (1, "")
    assert message in result.stderr


def test_a_missing_cell_that_is_refused_is_found_in_its_line(predict, tmp_path):
    """Missing cells before it are none of the mistake."""
    path = tmp_path / "rows.csv"
    path.write_text("city,km,seats,hour\n,,,1\nRome,1,6,\nOslo,1,6,1\n")

    result = predict("--data", path, "--format", "csv", "--only-outputs")

    assert result.exit_code == 1
    assert result.stdout == "fare\n7771.0\n"
    assert f"{path}, line 3: row 0 of input 'x' has nan for 'hour'" in result.stderr


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.csv", "city,km,seats,hour\nRome,1\n", "line 2 has 2 cells, expected at least 4"),
        (
            "rows.jsonl",
            '{"city": ["Rome"], "km": 1, "seats": 4, "hour": 1}\n',
            "line 1: [\"Rome\"] is no value of 'city', expected text",
        ),
    ],
)
def test_a_line_that_is_no_row_is_told(predict, tmp_path, name, content, message):
    (tmp_path / name).write_text(content)

    result = predict("--data", tmp_path / name)

    assert result.exit_code == 1
    assert message in result.stderr


def test_a_column_of_lists_is_no_category(predict, tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({name: [[1]] for name in FEATURES}), path)

    result = predict("--data", path)

    assert "column 'city' is list<element: int64>, expected text" in result.stderr


def test_a_missing_value_is_an_empty_cell_of_a_table(predict):
    """Not a word that could be a city."""
    result = predict("city=", "km=1", "seats=4", "hour=1")

    assert "None" not in result.stdout
    assert "7101" in result.stdout


def test_inspect_shows_values_and_policies(isotherm, server):
    """What a caller may send, and what becomes of the rest."""
    result = isotherm("inspect", "rides", "--address", server.address)

    lines = [" ".join(line.replace("│", " ").split()) for line in result.stdout.splitlines()]
    assert "values of city (3): Oslo, Paris, Rome; 50.0% of the rows had none of them" in lines
    assert "city - BYTES - - - - 25.0%" in lines
    assert "km km - 0 50 0 0 0.0%" in lines
    assert "a missing cell: unknown in city, seats; mean in km; refused elsewhere" in lines
