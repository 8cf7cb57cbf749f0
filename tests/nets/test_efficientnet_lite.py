"""EfficientNet-Lite0 against its state dict, and against what its convolutions do in TensorFlow."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fewbits.core.graph import read
from fewbits.nets import count_parameters
from fewbits.nets.efficientnet_lite import EfficientNetLite0, efficientnet_lite0, weights_file


def test_the_file_has_exactly_the_names_and_shapes_of_the_network():
    state = torch.load(weights_file(), map_location="cpu", weights_only=True)
    expected = {name: value.shape for name, value in EfficientNetLite0().state_dict().items()}
    assert {name.lstrip("_").replace("._", "."): value.shape for name, value in state.items()} == expected
    model = efficientnet_lite0()
    assert torch.equal(model.blocks[3].depthwise_conv.weight, state["_blocks.3._depthwise_conv.weight"])
    assert not model.training
    assert count_parameters(model) == 4_652_008
    assert sum(value.numel() for value in model.state_dict().values() if value.is_floating_point()) == 4_694_024


def test_a_network_of_other_blocks_does_not_load(monkeypatch):
    monkeypatch.setattr("fewbits.nets.efficientnet_lite.STAGES", ((1, 3, 1, 1, 16), (1, 3, 2, 6, 320)))
    with pytest.raises(RuntimeError, match="Unexpected key"):
        efficientnet_lite0()


@pytest.mark.parametrize("size", [32, 64])
@torch.no_grad()
def test_padding_is_that_of_tensorflow(size):
    """TensorFlow: as many zeros as ceil(size / stride) windows need, the odd one at the end."""
    model = EfficientNetLite0(classes=3).eval()
    network = read(model)
    shapes = network.shapes(torch.zeros(1, 3, size, size))
    checked = 0
    for call in network.calls:
        if call.op != "pad":
            continue
        (source,), (layer_call,) = call.inputs, call.users
        layer, side = layer_call.layer, shapes[source][-1]
        assert isinstance(layer, nn.Conv2d)
        kernel, stride = layer.kernel_size[0], layer.stride[0]
        total = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
        assert call.settings["padding"] == (total // 2, total - total // 2) * 2
        assert shapes[layer_call][-1] == math.ceil(side / stride)
        checked += 1
    assert checked == 17


@torch.no_grad()
def test_the_forward_pass_is_that_of_a_second_description():
    """The same weights, read by their names in the file and put through functions alone."""
    state = {name.lstrip("_"): value for name, value in torch.load(weights_file(), weights_only=True).items()}

    def norm(x, name):
        mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        return F.batch_norm(x, mean, variance, state[f"{name}.weight"], state[f"{name}.bias"], False, 0.0, 1e-3)

    def convolution(x, name, stride=1):
        weight = state[f"{name}.weight"]
        side, kernel = x.shape[-1], weight.shape[-1]
        total = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
        x = F.pad(x, (total // 2, total - total // 2) * 2)
        return F.conv2d(x, weight, stride=stride, groups=x.shape[1] // weight.shape[1])

    torch.manual_seed(0)
    image = torch.randn(2, 3, 64, 64)
    x = norm(convolution(image, "conv_stem", 2), "bn0").clamp(0, 6)
    for index in range(16):
        name, y = f"blocks.{index}", x
        if index:
            y = norm(convolution(y, f"{name}._expand_conv"), f"{name}._bn0").clamp(0, 6)
        stride = 2 if index in (1, 3, 5, 11) else 1
        y = norm(convolution(y, f"{name}._depthwise_conv", stride), f"{name}._bn1").clamp(0, 6)
        y = norm(convolution(y, f"{name}._project_conv"), f"{name}._bn2")
        x = x + y if x.shape == y.shape else y
    x = norm(convolution(x, "conv_head"), "bn1").clamp(0, 6).mean((2, 3))
    expected = F.linear(x, state["fc.weight"], state["fc.bias"])
    assert torch.allclose(efficientnet_lite0()(image), expected, atol=1e-4)
    assert expected.abs().max() > 1
