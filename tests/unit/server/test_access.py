"""Who may call what, by the token of the call."""

from __future__ import annotations

from pathlib import Path

import pytest

from isotherm.server.rpcs import CONTROL_RPCS, PREFIX, SERVED_RPCS, UNSERVED_RPCS
from isotherm.server.service.access import Access
from isotherm.server.service.tokens import TokenFile
from isotherm.server.transport.call import Gate, Metadata, Methods, StatusCode, Stream, Unary
from tests.unit.server.fakes import FakeCall

INFER, LOAD, HEALTH = PREFIX + "ModelInfer", PREFIX + "RepositoryModelLoad", "/health"
METHOD = Unary(lambda call, message: call.reply(message))
PUBLIC = Unary(lambda call, _message: call.reply(b"public"))
TABLE = {INFER: METHOD, LOAD: METHOD, HEALTH: METHOD}
OPEN = "open"


def tokens(folder: Path, name: str) -> TokenFile:
    """Return a file of one token, its own name."""
    path = folder / name
    path.touch(0o600)
    path.write_text(f"{name}\n")
    return TokenFile(path)


def bearer(token: str) -> Metadata:
    """Return the metadata of a caller with a token; "" brings none."""
    return (("user-agent", "test"), *([("authorization", f"Bearer {token}")] if token else []))


def outcome(table: Methods, path: str, metadata: Metadata) -> str:
    """Call a method; return what became of it: open, public, or the code of the refusal."""
    method = table[path]
    if isinstance(method, Gate):
        method = method.choose(metadata)
    if method is METHOD:
        return OPEN
    if method is PUBLIC:
        return "public"
    assert isinstance(method, Stream)
    call = FakeCall()
    method.open(call)
    assert call.code is not None
    return call.code.name


def guarded(folder: Path, *names: str) -> Methods:
    """Return the table behind the files of these names: auth, control."""
    access = Access(**{name: tokens(folder, name) for name in names})
    return access.guard(TABLE, public={HEALTH: PUBLIC})


def test_a_gate_behind_the_gate_is_asked_when_the_first_has_opened(tmp_path: Path):
    """With the same metadata; nobody asks it for a caller without a token."""
    asked: list[Metadata] = []

    def choose(metadata: Metadata) -> Unary:
        asked.append(metadata)
        return METHOD

    access = Access(auth=tokens(tmp_path, "auth"), control=tokens(tmp_path, "control"))
    table = access.guard({INFER: Gate(choose), LOAD: Gate(choose)}, public={})

    assert outcome(table, INFER, bearer("")) == "UNAUTHENTICATED"
    assert asked == []
    assert outcome(table, INFER, bearer("auth")) == OPEN
    assert outcome(table, LOAD, bearer("control")) == OPEN
    assert asked == [bearer("auth"), bearer("control")]


def test_without_files_there_is_no_gate(tmp_path: Path):
    """Nor any cost: the transport gets the very methods."""
    assert guarded(tmp_path) == TABLE


def test_what_controls_the_server_is_a_known_rpc():
    """A name that is mistyped would leave it open."""
    names = {path.removeprefix(PREFIX) for path in CONTROL_RPCS}

    assert names <= {*SERVED_RPCS, *UNSERVED_RPCS}


@pytest.mark.parametrize(
    ("token", "infer", "load", "health"),
    [
        ("", "UNAUTHENTICATED", "UNAUTHENTICATED", "public"),
        ("wrong", "UNAUTHENTICATED", "UNAUTHENTICATED", "public"),
        ("auth", OPEN, OPEN, OPEN),
    ],
)
def test_one_file_is_asked_for_everything(tmp_path, token, infer, load, health):
    """Only what is public stays so."""
    table = guarded(tmp_path, "auth")

    assert [outcome(table, path, bearer(token)) for path in TABLE] == [infer, load, health]


@pytest.mark.parametrize(
    ("token", "infer", "load", "health"),
    [
        ("", "UNAUTHENTICATED", "UNAUTHENTICATED", "public"),
        ("wrong", "UNAUTHENTICATED", "UNAUTHENTICATED", "public"),
        ("auth", OPEN, "PERMISSION_DENIED", OPEN),
        ("control", OPEN, OPEN, OPEN),
    ],
)
def test_control_has_tokens_of_its_own(tmp_path, token, infer, load, health):
    """A caller who is known and may not is told so; who may control may call as well."""
    table = guarded(tmp_path, "auth", "control")

    assert [outcome(table, path, bearer(token)) for path in TABLE] == [infer, load, health]


@pytest.mark.parametrize(
    ("token", "load"),
    [("", "UNAUTHENTICATED"), ("wrong", "UNAUTHENTICATED"), ("control", OPEN)],
)
def test_control_alone_may_be_guarded(tmp_path, token, load):
    """Everything else stays open to everybody."""
    table = guarded(tmp_path, "control")

    assert [outcome(table, path, bearer(token)) for path in TABLE] == [OPEN, load, OPEN]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Bearer auth", OPEN),
        ("bearer auth", OPEN),
        ("Bearer  auth ", OPEN),
        ("Basic auth", "UNAUTHENTICATED"),
        ("auth", "UNAUTHENTICATED"),
        ("Bearer", "UNAUTHENTICATED"),
        ("Bearer auth,auth", "UNAUTHENTICATED"),
        ("Bearer \xe9", "UNAUTHENTICATED"),
    ],
)
def test_the_scheme_is_bearer(tmp_path: Path, value: str, expected: str):
    """In any case, as HTTP writes it."""
    table = guarded(tmp_path, "auth")

    assert outcome(table, INFER, (("authorization", value),)) == expected


def test_a_refusal_says_what_to_bring(tmp_path: Path):
    """And nothing else."""
    gate = guarded(tmp_path, "auth")[INFER]
    assert isinstance(gate, Gate)
    refusal, call = gate.choose(()), FakeCall()
    assert isinstance(refusal, Stream)
    refusal.open(call)

    assert call.status == (
        StatusCode.UNAUTHENTICATED,
        "this server asks for a token, as metadata 'authorization: Bearer TOKEN'",
        (),
    )
