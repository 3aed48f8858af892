"""`isotherm predict` against a real gRPC server of the protocol."""

from __future__ import annotations

import csv
import json
import shlex
import threading

import grpc
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.client.linear import LinearModel


@pytest.fixture(name="predict")
def _predict(isotherm, server):
    def call(*arguments, fed=""):
        return isotherm("predict", *arguments, "--address", server.address, fed=fed)

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
    """The address is part of the sentence; the same command may do better later."""
    result = isotherm("predict", "line", "1", "--address", "127.0.0.1:1")

    assert result.exit_code == 3
    assert "UNAVAILABLE from 127.0.0.1:1" in result.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "give the rows for 'line' as values or as --data FILE, one of the two"),
        (["1", "--data", "x.csv"], "one of the two"),
        (["1", "--offset", "2"], "are for --data FILE, not for values"),
        (["--data", "x.csv", "--resume"], "--resume needs --output FILE"),
        (["--data", "x.csv", "--output", "-", "--overwrite"], "--overwrite needs --output FILE"),
        (["--data", "x.csv", "--output", "y.csv", "--resume", "--overwrite"], "give one"),
        (["--data", "x.csv", "--output", "y.txt"], "say the form with --format"),
        (
            ["--data", "x.csv", "--output", "y.csv", "--format", "table"],
            "a table is for the screen",
        ),
        (["--data", "x.csv", "--batch-rows", "0"], "--batch-rows"),
    ],
)
def test_flags_that_cannot_be_meant_have_a_status_of_their_own(predict, flags, message):
    """2, as for a flag that is not there."""
    result = predict("line", *flags)

    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (grpc.StatusCode.INTERNAL, 1),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 3),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 3),
        (grpc.StatusCode.UNAVAILABLE, 3),
    ],
)
def test_the_status_tells_whether_to_try_again(predict, server, code, status):
    """A script need not read the sentence."""
    server.failures = [code] * 20

    result = predict("line", 1)

    assert result.exit_code == status
    assert "as told" in result.stderr


@pytest.fixture(name="table")
def _table(tmp_path):
    """A CSV file with readings 0 to 9."""
    path = tmp_path / "rows.csv"
    path.write_text("id,reading\n" + "".join(f"r{each},{each}\n" for each in range(10)))
    return path


def test_batches_come_back_in_their_order(predict, server, table):
    """Four rows each, the last one has what is left; the client may put several into a call."""
    result = predict("line", "--data", table, "--format", "csv", "--batch-rows", 4)

    rows = list(csv.DictReader(result.stdout.splitlines()))
    assert [float(row["reading"]) for row in rows] == list(range(10))
    sizes = [len(each.raw_input_contents[0]) // 4 for each in server.requests]
    assert len(sizes) > 1
    assert sum(sizes) == 10


@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl", "ndjson", "parquet"])
def test_the_suffix_says_how_the_output_is_written(predict, table, tmp_path, suffix):
    """And the same rows come out of each."""
    output = tmp_path / f"out.{suffix}"
    result = predict("line", "--data", table, "--output", output, "--batch-rows", 3)

    assert (result.exit_code, result.stdout) == (0, "")
    text = output.read_bytes()
    rows = {
        "csv": lambda: [
            {name: float(cell) for name, cell in row.items()}
            for row in csv.DictReader(text.decode().splitlines())
        ],
        "json": lambda: json.loads(text),
        "jsonl": lambda: [json.loads(line) for line in text.splitlines()],
        "ndjson": lambda: [json.loads(line) for line in text.splitlines()],
        "parquet": lambda: pq.read_table(output).to_pylist(),
    }[suffix]()
    assert list(rows[0]) == ["reading", "celsius", "lower", "upper"]
    assert [row["reading"] for row in rows] == list(range(10))
    np.testing.assert_allclose(
        [row["upper"] for row in rows], (np.arange(10) - 32) / 1.8 + 1.5, rtol=1e-6
    )


def test_a_json_array_of_several_batches_is_written_as_one(predict, table):
    """Byte for byte as if it had been made at once."""
    shown = predict("line", "--data", table, "--format", "json", "--batch-rows", 3).stdout

    assert shown == json.dumps(json.loads(shown), indent=2) + "\n"


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_rows_are_read_from_the_form_that_the_suffix_says(predict, tmp_path, suffix):
    """Null is a missing value in both."""
    path = tmp_path / f"rows.{suffix}"
    rows = [{"a": 1, "b": 2.5, "c": 3}, {"a": None, "b": 5.0, "c": 6}]
    if suffix == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)

    result = predict("plane", "--data", path, "--format", "csv")

    assert result.stdout.splitlines()[1:] == ["1.0,2.5,3.0,6.5", "nan,5.0,6.0,nan"]


@pytest.mark.parametrize(
    ("form", "text"), [([], "reading\n32\n"), (["--input-format", "jsonl"], '{"reading": 32}\n')]
)
def test_rows_come_from_standard_input(predict, form, text):
    """As CSV unless said otherwise."""
    result = predict("line", "--data", "-", *form, "--format", "csv", fed=text)

    assert result.stdout == "reading,celsius,lower,upper\n32.0,0.0,-1.5,1.5\n"


def test_the_features_can_be_left_out(predict, table):
    """Only what the model says."""
    result = predict("line", "--data", table, "--format", "csv", "--only-outputs")

    assert result.stdout.splitlines()[0] == "celsius,lower,upper"


def test_rows_at_the_front_can_be_left_out(predict, table):
    """The first of them has the number 0."""
    result = predict("line", "--data", table, "--format", "csv", "--offset", 8)

    assert [line.partition(",")[0] for line in result.stdout.splitlines()[1:]] == ["8.0", "9.0"]


def test_more_rows_than_there_are_cannot_be_left_out(predict, table):
    """Somebody has another file in mind."""
    result = predict("line", "--data", table, "--offset", 11)

    assert (result.exit_code, result.stdout) == (1, "")
    assert f"{table} has 10 rows, and 11 are to be skipped" in result.stderr


def test_integers_are_sent_to_a_model_of_integers(predict, server):
    """A number with a fraction is refused, and its row is named."""
    server.models["whole"] = LinearModel(
        [("n", "INT32", (-1, 2))], [("m", "INT32", (-1, 1))], lambda n: [n.sum(1, keepdims=True)]
    )

    assert predict("whole", 1, 2, "--format", "csv").stdout == "n[0],n[1],m\n1.0,2.0,3\n"
    refused = predict("whole", 1, 2.5)
    assert refused.exit_code == 1
    assert "the command line, row 1: " in refused.stderr
    assert "INT32" in refused.stderr


def test_a_table_off_the_screen_has_all_rows_or_is_refused(predict, tmp_path):
    """A pipe would lose the rest in silence."""
    path = tmp_path / "rows.csv"
    path.write_text("reading\n" + "50\n" * 1001)

    result = predict("line", "--data", path)

    assert (result.exit_code, result.stdout) == (1, "")
    assert "more than 1000 rows are no table: add --format csv, or --output FILE" in result.stderr


def test_an_output_that_is_there_is_not_written_over(predict, table, tmp_path):
    """Unless it is said."""
    output = tmp_path / "out.csv"
    output.write_text("dear\n")
    arguments = ("line", "--data", table, "--output", output)

    refused = predict(*arguments)
    assert (refused.exit_code, output.read_text()) == (2, "dear\n")
    assert "go on with it by --resume, or begin anew by --overwrite" in refused.stderr
    assert predict(*arguments, "--overwrite").exit_code == 0
    assert len(output.read_text().splitlines()) == 11


def test_an_output_is_not_begun_where_nobody_answers(isotherm, table, tmp_path):
    """What it held stays, and nothing is left where there was nothing."""
    output = tmp_path / "out.csv"
    output.write_text("dear\n")
    call = ("predict", "line", "--data", table, "--address", "127.0.0.1:1")

    isotherm(*call, "--output", output, "--overwrite")
    isotherm(*call, "--output", tmp_path / "new.csv")

    assert output.read_text() == "dear\n"
    assert not (tmp_path / "new.csv").exists()


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_bad_row_leaves_those_before_it_and_a_way_to_go_on(predict, tmp_path, suffix):
    """The file is as an uninterrupted run makes it, once the row is mended."""
    good, bad = "reading\n" + "".join(f"{each}\n" for each in range(20, 90)), tmp_path / "rows.csv"
    bad.write_text(good.replace("57\n", "warm\n"))
    # A shell would make two words of it.
    output, whole = tmp_path / f"the output.{suffix}", tmp_path / f"whole.{suffix}"
    call = ("line", "--data", bad, "--batch-rows", 16, "--output")

    broken = predict(*call, output)
    assert broken.exit_code == 1
    assert f"{bad}, line 39: 'warm' is not a number\n{output} has 37 whole rows" in broken.stderr
    bad.write_text(good)
    line = broken.stderr.splitlines()[-1]
    program, *words = shlex.split(line)
    assert (program, words[0]) == ("isotherm", "predict")
    assert words[-1] == "--resume"
    assert predict(*words[1:]).exit_code == 0
    assert predict(*call, whole).exit_code == 0

    assert output.read_bytes() == whole.read_bytes()


def test_a_row_that_the_server_refuses_is_found(predict, server, table, tmp_path):
    """Its line is named, and the rows before it are answered."""
    server.refuses = lambda x: (x == 6).any()
    output = tmp_path / "out.csv"

    result = predict("line", "--data", table, "--output", output, "--batch-rows", 4)

    assert result.exit_code == 1
    assert f"error: {table}, line 8: refused" in result.stderr
    assert [line.partition(",")[0] for line in output.read_text().splitlines()[1:]] == [
        f"{each}.0" for each in range(6)
    ]


def test_a_server_that_takes_fewer_rows_is_told_from_a_bad_row(predict, server, table):
    """Each row by itself is fine: smaller batches are the way."""
    server.refuses = lambda x: len(x) > 2

    result = predict("line", "--data", table, "--format", "csv")

    assert result.exit_code == 1
    assert "8 rows at once were refused, fewer were not: lower --batch-rows" in result.stderr
    assert predict("line", "--data", table, "--format", "csv", "--batch-rows", 2).exit_code == 0


def test_a_server_that_goes_away_leaves_whole_rows(predict, server, table, tmp_path):
    """The status says that the same may work later, the note how."""
    output = tmp_path / "out.csv"

    answered = threading.Event()

    def leave(inference):
        # Behind the first rows, whose call may come behind another one.
        if inference.rows[0] != [0]:
            assert answered.wait(10)
            server.failures = [grpc.StatusCode.UNAVAILABLE] * 99

    server.script = [leave] * 99
    server.change = lambda _: answered.set()
    result = predict("line", "--data", table, "--output", output, "--batch-rows", 2)

    assert result.exit_code == 3
    rows = len(output.read_text().splitlines()) - 1
    assert 0 < rows < 10
    assert f"{output} has {rows} whole rows; go on with:\n  isotherm predict line " in result.stderr


def test_on_the_screen_the_way_to_go_on_is_an_offset(predict, table):
    """Further along than the last one."""
    table.write_text(table.read_text().replace("r7,7", "r7,warm"))

    result = predict("line", "--data", table, "--format", "csv", "--offset", 2, "--batch-rows", 3)

    assert len(result.stdout.splitlines()) == 1 + 5
    assert result.stderr.splitlines()[-1].endswith("--offset 7")
    assert "5 rows written; go on with:" in result.stderr


def test_a_json_array_is_closed_and_goes_on_in_another_file(predict, table, tmp_path):
    """What is there can be read."""
    table.write_text(table.read_text().replace("r7,7", "r7,warm"))
    output = tmp_path / "out.json"
    call = ("line", "--data", table, "--output", output, "--batch-rows", 3)

    result = predict(*call)

    assert len(json.loads(output.read_text())) == 7
    assert result.stderr.splitlines()[-1].endswith("--offset 7 --output FILE")
    again = predict(*call, "--resume")
    assert again.exit_code == 2
    assert "write JSON lines" in again.stderr


def test_what_is_complete_is_left_as_it_is(predict, server, table, tmp_path):
    """So that a loop over `--resume` ends."""
    output = tmp_path / "out.csv"
    call = ("line", "--data", table, "--output", output, "--resume")
    assert predict(*call).exit_code == 0
    before = output.read_bytes()
    server.requests.clear()

    assert predict(*call).exit_code == 0
    assert (output.read_bytes(), server.requests) == (before, [])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--only-outputs"], "this run writes celsius, lower, upper"),
        (["--offset", "1"], "it was made from other rows, or from another --offset"),
    ],
)
def test_an_output_of_another_run_is_not_gone_on_with(predict, table, tmp_path, flags, message):
    """Half of it would belong to other rows."""
    output = tmp_path / "out.csv"
    predict("line", "--data", table, "--output", output)
    output.write_text("".join(output.read_text().splitlines(keepends=True)[:5]))
    before = output.read_bytes()

    result = predict("line", "--data", table, "--output", output, "--resume", *flags)

    assert result.exit_code == 1
    assert message in result.stderr
    assert output.read_bytes() == before
