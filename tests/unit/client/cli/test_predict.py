"""`isotherm predict` against a real gRPC server of the protocol."""

from __future__ import annotations

import csv
import json

import pytest


@pytest.fixture(name="predict")
def _predict(isotherm, server):
    def call(*arguments):
        return isotherm("predict", *arguments, "--address", server.address)

    return call


def test_values_are_rows_of_a_model_with_one_feature(predict):
    """Two numbers, two predictions with their interval."""
    result = predict("line", 32, 77, "--format", "json")

    assert json.loads(result.stdout) == [
        {"reading": 32.0, "celsius": 0.0, "lower": -1.5, "upper": 1.5},
        {"reading": 77.0, "celsius": 25.0, "lower": 23.5, "upper": 26.5},
    ]
    assert (result.exit_code, result.stderr) == (0, "")


def test_values_are_one_row_of_a_model_with_several_features(predict):
    """Three numbers, one prediction; without a contract the columns are numbered."""
    result = predict("plane", 1, 2, 3.5, "--format", "csv")

    assert result.stdout == "x[0],x[1],x[2],y\n1.0,2.0,3.5,6.5\n"


def test_a_negative_value_is_no_option(predict):
    """Minus twelve and a half is a temperature."""
    result = predict("line", "-12.5", "--format", "csv")

    assert result.stdout.startswith("reading,celsius,lower,upper\n-12.5,-24.7")


def test_the_table_has_names_and_units_and_coverage(predict):
    """People see what the numbers mean."""
    result = predict("line", 32)

    for head in ("reading [degF]", "celsius [degC]", "lower 90%", "upper 90%"):
        assert head in result.stdout


def test_a_value_outside_the_training_range_gets_a_note(predict):
    """The note is on stderr, so that stdout stays what it is."""
    result = predict("line", 32, 250, "--format", "csv")

    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 3
    assert result.stderr == (
        "note: 1 of 2 values of 'reading' lie outside the training range 20 to 90 degF, "
        "such as 250: the model extrapolates\n"
    )


def test_a_csv_file_is_read_by_the_contracts_names(predict, tmp_path):
    """Order and further columns do not matter; a byte order mark does not either."""
    path = tmp_path / "data.csv"
    path.write_text("room, reading\nattic,32\n\ncellar,50\n", encoding="utf-8-sig")

    result = predict("line", "--data", path, "--format", "csv")

    rows = list(csv.DictReader(result.stdout.splitlines()))
    assert [(row["reading"], row["celsius"]) for row in rows] == [("32.0", "0.0"), ("50.0", "10.0")]


def test_a_csv_file_without_names_is_read_in_order(predict, tmp_path):
    """A first line of numbers is a row."""
    path = tmp_path / "data.csv"
    path.write_text("1,2,3\n4,5,6\n")

    result = predict("plane", "--data", path, "--format", "csv")

    assert result.stdout.splitlines()[1:] == ["1.0,2.0,3.0,6.0", "4.0,5.0,6.0,15.0"]


def test_names_are_passed_over_where_the_model_has_none(predict, tmp_path):
    """Without a contract the columns are taken in order."""
    path = tmp_path / "data.csv"
    path.write_text("a,b,c\n1,2,3\n")

    result = predict("plane", "--data", path, "--format", "csv")

    assert result.stdout.splitlines()[1:] == ["1.0,2.0,3.0,6.0"]


def test_an_empty_cell_is_a_missing_value(predict, tmp_path):
    """It travels as NaN, and is null in JSON."""
    path = tmp_path / "data.csv"
    path.write_text("a,b,c\n1,,3\n")

    result = predict("plane", "--data", path, "--format", "json")

    assert json.loads(result.stdout) == [{"x[0]": 1.0, "x[1]": None, "x[2]": 3.0, "y": None}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("reading\n", "has a header and no rows"),
        ("a,b\n1,2\n", "has no column 'reading'; its columns are 'a', 'b'"),
        ("1,2\n", "has 2 columns, model 'line' takes 1"),
        ("reading\n1\ntwo\n", "line 3: 'two' is not a number"),
        ("a,reading\n1,2\n3\n", "line 3 has 1 cells, expected at least 2"),
    ],
)
def test_a_csv_file_that_does_not_fit_is_refused_in_a_sentence(predict, tmp_path, text, message):
    """The file, the line and what was expected."""
    path = tmp_path / "data.csv"
    path.write_text(text)

    result = predict("line", "--data", path)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"error: {path}")
    assert message in result.stderr


def test_a_file_that_is_no_text_is_refused(predict, tmp_path):
    """Bytes that are no UTF-8 are no CSV."""
    path = tmp_path / "data.csv"
    path.write_bytes(b"\xff\xfe\x00")

    result = predict("line", "--data", path)

    assert f"error: {path} is no CSV file" in result.stderr


def test_a_file_that_is_not_there_is_named(predict, tmp_path):
    """The name and the reason, no errno."""
    result = predict("line", "--data", tmp_path / "absent.csv")

    assert result.stderr == f"error: {tmp_path / 'absent.csv'}: No such file or directory\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["line"], "give the rows for 'line' as values or as --data FILE, one of the two"),
        (["line", "1", "--data", "x.csv"], "one of the two"),
        (["line", "warm"], "the command line: 'warm' is not a number"),
        (["plane", "1", "2"], "model 'plane' takes 3 values a row (x[0], x[1], x[2]), got 2"),
        (["two", "1"], "model 'two' has 2 inputs (a, b), predict needs one"),
        (["bare", "1"], "model 'bare' has 0 inputs (none), predict needs one"),
        (["absent", "1"], "unknown model: 'absent'"),
        (["line", "1", "--version", "9"], "NOT_FOUND"),
    ],
)
def test_a_call_that_cannot_work_ends_with_a_sentence(predict, arguments, message):
    """Exit status 1, nothing on stdout."""
    result = predict(*arguments)

    assert (result.exit_code, result.stdout) == (1, "")
    assert message in result.stderr


def test_an_address_where_nobody_listens_is_told(isotherm):
    """The address is part of the sentence."""
    result = isotherm("predict", "line", "1", "--address", "127.0.0.1:1")

    assert result.exit_code == 1
    assert "UNAVAILABLE from 127.0.0.1:1" in result.stderr
