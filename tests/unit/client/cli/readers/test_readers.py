"""What all readers have in common: batches of the rows of a file, whatever its form."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from isotherm.client.cli.failure import Failure
from isotherm.client.cli.readers import InputFormat, reader_of

ROWS = 10
FORMS = tuple(InputFormat)


def _file(folder: Path, form: InputFormat) -> Path:
    """Write rows (0, 0.5), (1, 1.5) ... beside a column of text; the third has no `a`."""
    path = folder / f"rows.{form.value}"
    rows = [
        {"id": f"r{each}", "b": each + 0.5, "a": None if each == 3 else each}
        for each in range(ROWS)
    ]
    if form is InputFormat.PARQUET:
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=4)
    elif form is InputFormat.JSONL:
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    else:
        lines = [
            ",".join("" if cell is None else str(cell) for cell in row.values()) for row in rows
        ]
        path.write_text("\n".join(["id,b,a", *lines]))
    return path


def _expected() -> np.ndarray:
    rows = np.arange(ROWS)[:, None] + [0, 0.5]
    rows[3, 0] = np.nan
    return rows


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [1, 3, 4, ROWS, 99])
def test_all_rows_come_in_batches_of_a_size(named, tmp_path, form, size):
    """By name, in their order; what is missing is NaN."""
    batches = list(reader_of(named, _file(tmp_path, form)).batches(size))

    np.testing.assert_array_equal(np.concatenate([each.rows for each in batches]), _expected())
    assert {len(each) for each in batches[:-1]} <= {size}
    assert 0 < len(batches[-1]) <= size


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("skip", range(ROWS + 1))
def test_rows_can_be_skipped_and_the_first_batch_be_shorter(named, tmp_path, form, skip):
    """The batches behind it end where they always do."""
    reader = reader_of(named, _file(tmp_path, form))
    first = 4 - skip % 4

    sizes: list[int] = []
    found: list[float] = []
    for batch in reader.batches(4, skip=skip, first=first):
        sizes.append(len(batch))
        found.extend(batch.rows[:, 1])

    assert found == [each + 0.5 for each in range(skip, ROWS)]
    assert sizes[:1] == ([min(first, ROWS - skip)] if skip < ROWS else [])


@pytest.mark.parametrize("form", FORMS)
def test_no_more_rows_are_skipped_than_there_are(named, tmp_path, form):
    """That would be another file."""
    path = _file(tmp_path, form)

    with pytest.raises(Failure, match=f"{path} has 10 rows, and 11 are to be skipped"):
        list(reader_of(named, path).batches(4, skip=11))


@pytest.mark.parametrize("form", FORMS)
def test_each_row_knows_where_it_comes_from(named, tmp_path, form):
    """Lines are counted from the top, rows of Parquet from 1."""
    path = _file(tmp_path, form)
    *_, last = reader_of(named, path).batches(4)

    place = {"csv": "line 11", "jsonl": "line 10", "parquet": "row 10"}[form.value]
    assert last.place(1) == f"{path}, {place}"
    assert last.part(1, 2).place(0) == f"{path}, {place}"


@pytest.mark.parametrize("form", FORMS)
def test_how_much_was_read_grows_to_the_size(named, tmp_path, form):
    """A bar comes to its end."""
    reader = reader_of(named, _file(tmp_path, form))
    read = [batch.read for batch in reader.batches(3)]

    assert read == sorted(read)
    assert read[-1] == reader.size


@pytest.mark.parametrize("form", FORMS)
def test_a_name_that_is_missing_is_told_with_those_that_are_there(named, tmp_path, form):
    """Most often it is spelt otherwise."""
    path = _file(tmp_path, form)
    if form is InputFormat.PARQUET:
        pq.write_table(pq.read_table(path).rename_columns(["id", "b", "A"]), path)
    else:
        path.write_text(path.read_text().replace('"a"', '"A"').replace("id,b,a", "id,b,A"))

    with pytest.raises(Failure, match=r"has no (column|key) 'a'; its \w+s are 'id', 'b', 'A'"):
        list(reader_of(named, path).batches(4))


@pytest.mark.parametrize("form", FORMS)
def test_without_names_the_number_of_values_must_be_right(unnamed, tmp_path, form):
    """Which of three are meant, nobody could tell."""
    with pytest.raises(Failure, match=r"has 3 \w+s, model 'm' takes 2"):
        list(reader_of(unnamed, _file(tmp_path, form)).batches(4))


@pytest.mark.parametrize("form", FORMS)
def test_an_empty_file_is_no_rows(named, tmp_path, form):
    """The name is in the sentence."""
    path = tmp_path / f"empty.{form.value}"
    if form is InputFormat.PARQUET:
        pq.write_table(
            pa.table({"a": pa.array([], pa.float64()), "b": pa.array([], pa.int8())}), path
        )
    else:
        path.write_text("\n\n")

    with pytest.raises(Failure, match=rf"{path} (is empty|has no rows)"):
        list(reader_of(named, path).batches(4))


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("rows", InputFormat.CSV),
        ("rows.txt", InputFormat.CSV),
        ("rows.CSV", InputFormat.CSV),
        ("rows.json", InputFormat.JSONL),
        ("rows.NDJSON", InputFormat.JSONL),
        ("rows.pq", InputFormat.PARQUET),
    ],
)
def test_the_suffix_says_the_form_and_is_overruled(named, name, form):
    """Small letters or capitals."""
    kinds = {each: type(reader_of(named, Path("x"), each)) for each in FORMS}

    assert type(reader_of(named, Path(name))) is kinds[form]
    for each in FORMS:
        assert type(reader_of(named, Path(name), each)) is kinds[each]
