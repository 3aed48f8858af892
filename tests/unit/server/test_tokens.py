"""A file of tokens: read with care, read again when it changes, never written anywhere."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from isotherm.server.errors import ConfigError
from isotherm.server.service.tokens import LOOK_S, TokenFile


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    """Where the tokens are, for their owner alone."""
    path = tmp_path / "tokens"
    path.touch(0o600)
    return path


@pytest.fixture(name="clock")
def _clock() -> Clock:
    """The time that the file knows."""
    return Clock()


def rewrite(path: Path, text: str) -> None:
    """Put a new file in the old one's place, as one step."""
    new = path.with_suffix(".new")
    new.touch(0o600)
    new.write_text(text)
    new.replace(path)


def test_a_token_a_line_comments_apart(path: Path):
    """Blank lines, spaces around and comments are no tokens; a sign within one is its part."""
    path.write_text("# of the batch jobs\nalpha\n\n  beta  # until May\ngam#ma\r\n")
    tokens = TokenFile(path)

    assert [tokens.holds(token) for token in ("alpha", "beta", "gam#ma")] == [True] * 3
    wrong = ("", "#", "gam", "alph", "alphaa", "ALPHA", "beta  # until May", "# of the batch jobs")
    assert not any(tokens.holds(token) for token in wrong)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no token"),
        (b"# only a comment\n\n", "holds no token"),
        (b"good\ntop secret\n", "line 2 of .* is no token: printable ASCII without spaces"),
        ("schlüssel\n".encode(), "line 1 of .* is no token"),
        (b"\xff\xfe\n", "is not text"),
    ],
)
def test_a_file_without_tokens_is_refused(path: Path, content: bytes, message: str):
    """The text names the line, never what is in it."""
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        TokenFile(path)

    assert "secret" not in str(caught.value)
    assert "secret" not in repr(caught.value.__cause__)


def test_a_missing_file_is_refused(tmp_path: Path):
    """By name."""
    with pytest.raises(ConfigError, match=r"cannot read the tokens of .*/none: No such file"):
        TokenFile(tmp_path / "none")


def test_a_new_file_counts_within_a_second(path: Path, clock: Clock):
    """What was added is known, what was taken out is not."""
    path.write_text("old\nkept\n")
    tokens = TokenFile(path, clock)
    rewrite(path, "kept\nnew\n")
    before = [tokens.holds(token) for token in ("old", "kept", "new")]
    clock.now += LOOK_S
    after = [tokens.holds(token) for token in ("old", "kept", "new")]

    assert before == [True, True, False]
    assert after == [False, True, True]


@pytest.mark.parametrize("broken", ["", "two words\n"])
def test_a_broken_file_leaves_the_tokens_and_is_logged_once(
    path: Path, clock: Clock, caplog: pytest.LogCaptureFixture, broken: str
):
    """Mended, it counts again."""
    path.write_text("old\n")
    tokens = TokenFile(path, clock)
    rewrite(path, broken)
    held = []
    for _ in range(3):
        clock.now += LOOK_S
        held.append(tokens.holds("old"))
    errors = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    rewrite(path, "new\n")
    clock.now += LOOK_S

    assert held == [True] * 3
    assert len(errors) == 1
    assert errors[0].startswith("the tokens read before stay valid: ")
    assert [tokens.holds("old"), tokens.holds("new")] == [False, True]


def test_a_file_that_is_gone_leaves_the_tokens(path: Path, clock: Clock):
    """Between a removal and the next file nobody is locked out."""
    path.write_text("old\n")
    tokens = TokenFile(path, clock)
    path.unlink()
    clock.now += LOOK_S

    assert tokens.holds("old")


@pytest.mark.parametrize(("mode", "warnings"), [(0o600, 0), (0o640, 0), (0o644, 1)])
def test_a_file_that_everybody_can_read_is_a_warning(
    path: Path, caplog: pytest.LogCaptureFixture, mode: int, warnings: int
):
    """It is served all the same: some volumes know no other mode."""
    path.write_text("token\n")
    path.chmod(mode)
    held = TokenFile(path).holds("token")

    assert held
    assert len([r for r in caplog.records if "chmod o-r" in r.getMessage()]) == warnings


def test_no_token_is_ever_logged_or_kept(
    path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
):
    """Whatever happens to the file."""
    caplog.set_level(logging.DEBUG)
    path.write_text("very-secret\n")
    path.chmod(0o644)
    tokens = TokenFile(path, clock)
    for text in ("very-secret and-more\n", "very-secret\nanother-secret\n", ""):
        path.write_text(text)
        os.utime(path, ns=(0, int(clock.now)))
        clock.now += LOOK_S
        tokens.holds("guessed-secret")

    assert len(caplog.records) > 2
    assert "secret" not in caplog.text
    assert "secret" not in repr(vars(tokens))
