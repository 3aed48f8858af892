"""The init container of models-fetch, with Debian's rclone and stores on this machine."""

import os

import grpc
import pytest

from tests.deploy.kustomize.kubelet import Node
from tests.deploy.kustomize.pods import code_of, running_server
from tests.deploy.kustomize.renderings import rendered
from tests.deploy.manifests import pod
from tests.deploy.pages import page
from tests.deploy.places import KUSTOMIZE, MODELS
from tests.deploy.processes import eventually, output, running, tool
from tests.deploy.server import Caller
from tests.support.ports import free_port

pytestmark = pytest.mark.slow


UNAUTHORIZED = 401
SECRET = "isotherm-models-source"  # noqa: S105


class Fetch:
    """The container, and the folder that it fills."""

    def __init__(self, folder):
        self.objects = rendered(KUSTOMIZE / "base", ("models-fetch",))
        (self._container,) = pod(self.objects)["spec"]["initContainers"]
        self.models = folder / "models"
        self.models.mkdir()

    def run(self, secret):
        """Run it to its end, which must be a good one."""
        node = Node(folders={"/models": self.models}, secrets={SECRET: secret})
        command = [_rclone(), *node.arguments(self._container)]
        # The container's root is read-only: nothing can be written to this home either.
        output(command, variables={"HOME": "/proc"} | node.environment(self._container))


@pytest.fixture(name="fetch")
def _fetch(tmp_path):
    return Fetch(tmp_path)


@pytest.fixture(name="store")
def _store(tmp_path):
    """A folder with our models, as rclone knows a bucket."""
    for path, content in _contents(MODELS).items():
        target = tmp_path / "store" / "models" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return tmp_path / "store"


@pytest.fixture(name="server")
def _server(store, tmp_path):
    """The same behind WebDAV, which asks for a password; where it listens."""
    port = free_port()
    command = [_rclone(), "serve", "webdav", "--addr", f"127.0.0.1:{port}", "--read-only"]
    command += ["--user", "reader", "--pass", "secret", str(store)]
    with running(command, tmp_path / "webdav", variables={"RCLONE_CONFIG": "/notfound"}):
        eventually(lambda: page(port, "/")[0] == UNAUTHORIZED, what="the store")
        yield f"http://127.0.0.1:{port}"


def test_the_server_serves_what_was_fetched(fetch, store, tmp_path):
    """By the container's own arguments and variables, with no file of settings anywhere."""
    fetch.run(_alias(store))
    with running_server(
        pod(fetch.objects), tmp_path / "log", folders={"/models": fetch.models}
    ) as served:
        served.wait_until_ready()
        with grpc.insecure_channel(served.address.target) as channel:
            caller = Caller(channel)
            code = code_of(caller, caller.request(1))

    assert code is grpc.StatusCode.OK
    assert _contents(fetch.models) == _contents(MODELS)


def test_what_an_earlier_try_left_damaged_is_fetched_again(fetch, store):
    """Even where size and time are those of the good file."""
    fetch.run(_alias(store))
    damaged = next(fetch.models.rglob("model.onnx"))
    good = damaged.stat()
    damaged.write_bytes(bytes(good.st_size))
    os.utime(damaged, ns=(good.st_atime_ns, good.st_mtime_ns))
    fetch.run(_alias(store))

    assert _contents(fetch.models) == _contents(MODELS)


def test_a_store_is_asked_over_the_network_with_the_secrets_password(fetch, server):
    """Nothing but the Secret's variables says where it is and who asks."""
    fetch.run(_webdav(server, "secret"))

    assert _contents(fetch.models) == _contents(MODELS)


def test_a_wrong_password_fails_the_start(fetch, server):
    """The control: the pod stays in its init phase, and its log says why."""
    with pytest.raises(pytest.fail.Exception, match="401 Unauthorized"):
        fetch.run(_webdav(server, "guessed"))


def test_a_folder_that_is_not_there_fails_the_start(fetch, store):
    """Rather than to start a server without models."""
    with pytest.raises(pytest.fail.Exception, match="directory not found"):
        fetch.run(_alias(store) | {"MODELS_PATH": "elsewhere"})


def _alias(store):
    return {
        "MODELS_PATH": "models",
        "RCLONE_CONFIG_SOURCE_TYPE": "alias",
        "RCLONE_CONFIG_SOURCE_REMOTE": str(store),
    }


def _webdav(address, password):
    return {
        "MODELS_PATH": "models",
        "RCLONE_CONFIG_SOURCE_TYPE": "webdav",
        "RCLONE_CONFIG_SOURCE_URL": address,
        "RCLONE_CONFIG_SOURCE_VENDOR": "other",
        "RCLONE_CONFIG_SOURCE_USER": "reader",
        "RCLONE_CONFIG_SOURCE_PASS": output([_rclone(), "obscure", password]).strip(),
    }


def _rclone():
    return tool("rclone", "Debian's rclone")


def _contents(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
