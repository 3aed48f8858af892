"""What a `config.pbtxt` changes: instances and threads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from isotherm.server import cpus, model_config
from isotherm.server.config import BatchingConfig, DeviceConfig
from isotherm.server.errors import LoadError
from isotherm.server.model_config import ModelSettings


def read(folder: Path, text: str, **defaults: Any) -> ModelSettings:
    """Read a model's settings from a text."""
    (folder / "config.pbtxt").write_text(text, encoding="utf-8")
    settings = ModelSettings(batching=BatchingConfig(**defaults))
    return model_config.read(folder, folder.name, settings)


def threads(number: str) -> str:
    """Triton's parameter for the threads of one run."""
    return f'parameters {{ key: "intra_op_thread_count" value {{ string_value: "{number}" }} }}'


@pytest.mark.parametrize(
    ("text", "instances"),
    [
        ("", 4),
        ("instance_group { count: 3 }", 3),
        ("instance_group { }", 1),
        ("instance_group [{ count: 2 }, { count: 3 }]", 5),
    ],
)
def test_instances_are_those_of_all_groups(tmp_path: Path, text: str, instances: int):
    """Without a group, the server's own number is taken."""
    assert read(tmp_path, text, instances=4, lanes=4).batching.instances == instances
    assert read(tmp_path, text, instances=4, lanes=4).batching.lanes == instances


def test_where_an_instance_runs_is_for_the_server_to_say(tmp_path: Path, caplog):
    """It is said that a kind and devices change nothing."""
    read(tmp_path, "instance_group { count: 2, kind: KIND_GPU, gpus: [0] }")

    assert "of instance_group, only count has an effect" in caplog.text


def test_threads_of_a_run_are_heeded(tmp_path: Path):
    """0 is as many as the container may use, and not as the machine has."""
    assert read(tmp_path, "").intra_op_threads == 1
    assert read(tmp_path, threads("3")).intra_op_threads == 3
    assert read(tmp_path, threads("0")).intra_op_threads == cpus.allowed()


def test_threads_that_are_no_number_are_refused(tmp_path: Path):
    """The text names file, parameter and value."""
    with pytest.raises(LoadError) as error:
        read(tmp_path, threads("many"))

    expected = "intra_op_thread_count is 'many', expected a number of threads"
    assert str(error.value) == f"{tmp_path / 'config.pbtxt'}: {expected}"


def parameter(name: str, value: str) -> str:
    """A parameter of a model."""
    return f'parameters {{ key: "{name}" value {{ string_value: "{value}" }} }}'


def test_a_model_may_have_a_limit_on_a_gpu_of_its_own(tmp_path: Path):
    """In bytes, as Triton's backend takes it; what it is silent on is the server's."""
    defaults = DeviceConfig(ids=(1,), graphs=True, memory_limit_mib=100)

    def device(text: str) -> DeviceConfig:
        (tmp_path / "config.pbtxt").write_text(text)
        return model_config.read(tmp_path, tmp_path.name, ModelSettings(device=defaults)).device

    assert device("") == defaults
    assert device(parameter("gpu_mem_limit", "2147483648")) == DeviceConfig(
        ids=(1,), graphs=True, memory_limit_mib=2048
    )
    assert not device(parameter("enable_cuda_graph", "0")).graphs
    assert device(parameter("enable_cuda_graph", "1")).graphs


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("gpu_mem_limit", "2G", "gpu_mem_limit is '2G', expected a number of bytes"),
        ("gpu_mem_limit", "1024", "gpu_mem_limit is too little: gpu_memory_limit is 0, expected"),
        ("enable_cuda_graph", "yes", "enable_cuda_graph is 'yes', expected 0 or 1"),
    ],
)
def test_limits_that_are_none_are_refused(tmp_path: Path, name: str, value: str, message: str):
    """With the file, the parameter and its value."""
    with pytest.raises(LoadError) as error:
        read(tmp_path, parameter(name, value))

    assert str(error.value).startswith(f"{tmp_path / 'config.pbtxt'}: {message}")


def test_parameters_of_the_runtime_without_effect_are_named(tmp_path: Path, caplog):
    """An operator's own parameters are passed on in silence."""
    read(
        tmp_path,
        'parameters { key: "execution_mode" value { string_value: "1" } }'
        'parameters { key: "owner" value { string_value: "us" } }',
    )

    assert "parameter execution_mode has no effect" in caplog.text
    assert "owner" not in caplog.text


def test_a_warm_up_of_ones_own_is_said_to_be_needless(tmp_path: Path, caplog):
    """Every model is warmed up anyway."""
    read(tmp_path, 'model_warmup { name: "w", batch_size: 1 }')

    assert "model_warmup has no effect: every model is warmed up" in caplog.text
