"""The dispatcher: what it lists, what it imports, what it says when something is missing."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from typing import Any

import pytest

from isotherm.client.cli import dispatch


def _python(program, *, path=None):
    environment = {} if path is None else {"PYTHONPATH": str(path)}
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


def _hide(folder, *packages):
    """Make `packages` look as if they were not installed."""
    (folder / "sitecustomize.py").write_text(
        "import sys\n"
        "class Without:\n"
        "    def __init__(self, finder):\n"
        "        self.finder = finder\n"
        "    def __getattr__(self, name):\n"
        "        return getattr(self.finder, name)\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {packages!r}:\n"
        "            return None\n"
        "        return self.finder.find_spec(name, path, target)\n"
        "sys.meta_path[:] = map(Without, sys.meta_path)\n"
    )
    return folder


def test_all_parts_are_listed_with_static_help(isotherm):
    """The help shows the commands of all parts."""
    result = isotherm("--help")

    assert result.exit_code == 0
    for name in (
        "demo",
        "train",
        "serve",
        "doctor",
        "predict",
        "bench",
        "feedback",
        "inspect",
        "health",
    ):
        assert f"  {name} " in result.stdout


def test_help_imports_none_of_the_parts():
    """Listing a command does not load it."""
    done = _python(
        "import sys\n"
        "from isotherm.client.cli.dispatch import app\n"
        "try:\n    app(['--help'])\n"
        "except SystemExit:\n    pass\n"
        "print(sorted(name for name in sys.modules if name.startswith(\n"
        "    ('isotherm.server', 'isotherm.trainer', 'torch', 'onnx', 'isotherm.client.cli.p'))))\n"
    )

    assert done.stdout.endswith("[]\n"), done.stderr


def test_the_version_is_the_distributions(isotherm):
    """`isotherm --version` names the installed version."""
    result = isotherm("--version")

    assert result.stdout == f"isotherm {version('isotherm')}\n"


def test_an_unknown_command_is_named(isotherm):
    """A mistyped command ends with a sentence."""
    result = isotherm("florecast")

    assert result.exit_code == 2
    assert "No such command 'florecast'" in result.stderr


def test_a_parts_own_help_is_reached(isotherm):
    """`--help` behind the name belongs to the sub-command."""
    result = isotherm("health", "--help")

    assert result.exit_code == 0
    assert "isotherm health" in result.stdout
    assert "--service" in result.stdout


@pytest.mark.parametrize(
    ("command", "package", "extra"),
    [
        ("train", "torch", "trainer"),
        ("serve", "onnxruntime", "server"),
        ("demo", "torch", "all"),
    ],
)
def test_a_part_whose_extra_is_missing_says_what_to_install(tmp_path, command, package, extra):
    """It is listed with the remedy, and calling it ends with a sentence and a non-zero status."""
    path = _hide(tmp_path, package)
    main = "from isotherm.client.cli import main; import sys; sys.argv[1:] = {}; main()"
    remedy = f"pip install 'isotherm[{extra}]'"

    listed = _python(main.format(["--help"]), path=path)
    called = _python(main.format([command]), path=path)

    assert remedy in " ".join(listed.stdout.split()), listed.stderr
    assert called.returncode == 1
    assert called.stderr == f"isotherm {command} needs packages that are not installed: {remedy}\n"


def test_without_typer_the_script_says_what_to_install(tmp_path):
    """The base install has the script, and the script has a sentence instead of a traceback."""
    done = _python("from isotherm.client.cli import main; main()", path=_hide(tmp_path, "typer"))

    assert done.returncode == 1
    assert done.stderr == (
        "isotherm: the command needs more than the client: pip install 'isotherm[cli]'\n"
    )


def test_a_missing_module_of_our_own_is_a_bug_and_shows():
    """Only packages of others have an extra to install."""
    command = dispatch.Command(name="x", summary="", app="isotherm.client.absent:app")
    context: Any = None

    with pytest.raises(ModuleNotFoundError, match=r"isotherm\.client\.absent"):
        dispatch._forwarder(command)(context)


def test_the_module_runs_like_the_script():
    """`python -m isotherm.client.cli` is the command."""
    done = subprocess.run(
        [sys.executable, "-m", "isotherm.client.cli", "--version"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout == f"isotherm {version('isotherm')}\n", done.stderr
