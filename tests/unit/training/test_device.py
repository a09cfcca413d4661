import logging

import pytest
import torch

from assay.errors import TrainingError
from assay.spec.trained_model import TrainedModelSection
from assay.training.device import all_to_device, available_device, compile_network, missing_compiler, resolve_device
from assay.training.distributed import ALONE, worker_group
from assay.training.engine import forward
from tests.helpers.training_tasks import network

WITHOUT_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


def section(**params):
    return TrainedModelSection.model_validate({"train_params": params})


@WITHOUT_GPU
def test_without_a_gpu_auto_is_the_processor():
    params = resolve_device(section(precision="fp32")).train_params
    assert (params.device, params.precision) == ("cpu", "fp32")


@WITHOUT_GPU
def test_a_gpu_that_is_not_there_is_an_error_that_says_so():
    with pytest.raises(TrainingError, match=r"finds 0 GPUs\. Set train_params\.device: auto"):
        available_device("cuda")


@pytest.mark.parametrize(("fast", "precision"), [(True, "bf16"), (False, "fp32")])
def test_auto_precision_is_bf16_where_that_is_fast(fast, precision):
    assert resolve_device(section(precision="auto"), lambda device: fast).train_params.precision == precision


@pytest.mark.system
def test_inputs_go_where_the_weights_are():
    outputs = forward(network().eval().to("meta"), torch.zeros(4, 6))
    assert (outputs.device.type, outputs.shape) == ("meta", (4, 1))


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_data_that_would_fill_half_of_a_gpu_stay_where_they_are(device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (199, 1000))
    data = [torch.zeros(60, dtype=torch.uint8), torch.zeros(40, dtype=torch.uint8)]
    assert [each.device.type for each in all_to_device(data, device)] == ["cpu", "cpu"]


def test_without_a_compiler_a_network_is_left_as_it_is_with_a_sentence(monkeypatch, caplog):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    model = network()
    with caplog.at_level(logging.WARNING):
        compile_network(model)
    assert "there is no C++ compiler" in caplog.text
    assert model._compiled_call_impl is None


@pytest.mark.system
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the compiler's own imports
@pytest.mark.skipif(bool(missing_compiler("cpu")), reason="there is no C++ compiler")
def test_a_compiled_network_gives_the_same_outputs_with_the_same_weight_names():
    plain, compiled, inputs = (
        network().eval(),
        network().eval(),
        torch.randn(4, 6, generator=torch.Generator().manual_seed(0)),
    )
    compile_network(compiled)
    with torch.no_grad():
        assert torch.allclose(plain(inputs), compiled(inputs), atol=1e-6)
    assert list(plain.state_dict()) == list(compiled.state_dict())


def test_alone_nothing_is_exchanged():
    assert worker_group() == ALONE
    assert ALONE.is_leader
    assert ALONE.sum(0.5) == 0.5
    assert ALONE.broadcast_values({"a": 1}) == {"a": 1}
