"""docs/client.md: its programs, its commands and its prompt, against servers as the page starts."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from inspect import Parameter, signature
from pathlib import Path

import pytest

from isotherm import client as public
from isotherm.client import AsyncClient, Client, Hedge, Retry
from tests.guides.page import Prompt, Reader, broken_links, sections, server_flags
from tests.support.certificates import Authority
from tests.support.environments import ROOT
from tests.support.server import Server, serving

PAGE = "client.md"
TEXT = (ROOT / "docs" / PAGE).read_text(encoding="utf-8")
SECTIONS = sections(PAGE)
START = SECTIONS["The Python client"]
# What has a server of its own.
SECURE, CONTROLLED = SECTIONS["TLS and tokens"], SECTIONS["Models of a server"]
FIRST = SECTIONS["One call"]
# In the order of the page: the prompt is the same throughout.
PLAIN = (
    *("What goes in", "What comes back", "Intervals", "asyncio", "Streams of batches", "Errors"),
    *("Retries", "Coalescing", "Several servers", "Hedging"),
)
ADDRESS, SECOND = "127.0.0.1:8001", "127.0.0.1:8003"
TOKEN = "c2VydmluZy1qb2ItMQ3f0b9a"  # noqa: S105  made up
PATH = {"PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))}


def test_every_link_of_the_page_leads_somewhere() -> None:
    """Relative links are files of the repository, and headings in them."""
    assert [] == broken_links(PAGE)


def test_the_tests_know_every_section() -> None:
    """What is added to the page is run, too."""
    programs = {heading for heading, blocks in SECTIONS.items() if blocks}

    assert programs == {
        *("The Python client", "One call", *PLAIN, "TLS and tokens", "Readiness"),
        *("Models of a server", "Feedback", "Tracing", "A setting of gRPC's"),
    }


def test_the_page_says_what_to_do_about_every_error() -> None:
    """One row each."""
    rows = re.findall(r"^\| `(\w+Error)`", TEXT, re.MULTILINE)

    assert sorted(["IsothermError", *rows]) == [
        name for name in sorted(public.__all__) if name.endswith("Error")
    ]


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_the_page_has_every_setting_with_its_default(kind: type) -> None:
    """Of both clients."""
    rows = re.findall(r"^\| `(\w+)` \| (?:`(.*?)` )?\| \[", TEXT, re.MULTILINE)
    defaults = [
        "" if each.default is Parameter.empty else default(each)
        for each in signature(kind).parameters.values()
    ]

    assert rows == list(zip(signature(kind).parameters, defaults, strict=True))


@pytest.mark.parametrize("kind", [Retry, Hedge])
def test_the_page_has_every_setting_of_a_policy(kind: Callable[..., object]) -> None:
    """With its default."""
    rows = re.findall(rf"^\| `{kind.__name__}\((\w+)\)` \| `(.*?)` \|", TEXT, re.MULTILINE)

    assert rows == [(each.name, default(each)) for each in signature(kind).parameters.values()]


def default(parameter: Parameter) -> str:
    """Return a default as a reader would write it."""
    return "Retry()" if parameter.default == Retry() else repr(parameter.default)


@pytest.fixture(name="servers", scope="module")
def _servers() -> Iterator[tuple[Server, Server]]:
    """The server of the page's first command, and a second one beside it."""
    repository, *flags = server_flags(START)
    with (
        serving(ROOT / repository, *flags) as first,
        serving(ROOT / repository, *flags) as second,
    ):
        yield first, second


@pytest.mark.slow
def test_the_page_is_what_happens(servers: tuple[Server, Server], tmp_path: Path) -> None:
    """From top to bottom: programs at a shell, the rest at one prompt."""
    instead = {ADDRESS: servers[0].address, SECOND: servers[1].address}
    reader, prompt = Reader(tmp_path, instead, PATH), Prompt(instead)

    assert [] == reader.follow(FIRST) + prompt.type(FIRST)
    for name in (*PLAIN, "Readiness", "Tracing", "A setting of gRPC's"):
        assert [] == reader.follow(SECTIONS[name]) + prompt.type(SECTIONS[name])


@pytest.mark.slow
def test_a_secure_server_is_called_with_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CA's certificate and the token lie where the reader is."""
    Authority(tmp_path, "ca").issue("server")
    for name in ("tokens.txt", "token.txt"):
        (tmp_path / name).write_text(f"{TOKEN}\n")
        (tmp_path / name).chmod(0o600)
    monkeypatch.chdir(tmp_path)
    repository, *flags = server_flags(SECURE)
    with serving(ROOT / repository, *flags) as server:
        prompt = Prompt({ADDRESS: server.address})
        prompt.type(FIRST)

        assert [] == prompt.type(SECURE)


@pytest.mark.slow
def test_models_come_and_go(tmp_path: Path) -> None:
    """By a client whose server takes such orders; the truth is told to the same one."""
    repository, *flags = server_flags(CONTROLLED)
    with serving(ROOT / repository, *flags) as server:
        prompt = Prompt({ADDRESS: server.address})
        prompt.type(FIRST)

        assert [] == prompt.type(CONTROLLED)
        assert [] == prompt.type(SECTIONS["Feedback"])
