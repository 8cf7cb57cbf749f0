"""ResNet-18: counts that the literature reports, and an independent forward pass."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fewbits.core.macs import layer_work
from fewbits.nets import ResNet18, count_parameters
from fewbits.training import seed_everything


def test_imagenet_network_has_the_reported_parameters_and_macs():
    model = ResNet18()
    assert count_parameters(model) == 11_689_512
    works = layer_work(model, (3, 224, 224))
    assert round(sum(work.macs for work in works) / 1e9, 3) == 1.814
    assert len(works) == 21  # 17 convolutions on the way, 3 beside it, and the classifier


def test_cifar_network_has_the_reported_parameters_and_macs():
    """11.17 million parameters and 0.56 GMAC at 32 × 32, as commonly reported for this stem."""
    model = ResNet18(classes=10, stem="cifar")
    assert count_parameters(model) == 11_173_962
    assert round(sum(work.macs for work in layer_work(model, (3, 32, 32))) / 1e9, 2) == 0.56


def forward_from_state(state: dict, x: torch.Tensor, large: bool) -> torch.Tensor:
    """ResNet-18 written out with functions, from the weights alone."""

    def conv_bn(x, conv, bn, stride):
        weight = state[f"{conv}.weight"]
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        statistics = [state[f"{bn}.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *statistics)

    x = F.relu(conv_bn(x, "conv1", "bn1", 2 if large else 1))
    x = F.max_pool2d(x, 3, stride=2, padding=1) if large else x
    for stage in (1, 2, 3, 4):
        for block in (0, 1):
            at = f"layer{stage}.{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            y = F.relu(conv_bn(x, f"{at}.conv1", f"{at}.bn1", stride))
            y = conv_bn(y, f"{at}.conv2", f"{at}.bn2", 1)
            if stride == 2:
                x = conv_bn(x, f"{at}.downsample.0", f"{at}.downsample.1", 2)
            x = F.relu(x + y)
    return x.mean((2, 3)) @ state["fc.weight"].T + state["fc.bias"]


@pytest.mark.parametrize(("stem", "size"), [("imagenet", 64), ("cifar", 16)])
def test_forward_pass_agrees_with_one_written_out(stem, size):
    seed_everything(0)
    model = ResNet18(classes=7, stem=stem).double()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
    x = torch.randn(2, 3, size, size, dtype=torch.float64)
    with torch.no_grad():
        expected = forward_from_state(model.state_dict(), x, stem == "imagenet")
        torch.testing.assert_close(model.eval()(x), expected)


def test_activations_are_fresh_modules():
    model = ResNet18(classes=2, stem="cifar", activation=nn.Tanh)
    activations = [module for module in model.modules() if isinstance(module, nn.Tanh)]
    assert len(set(activations)) == 17
    assert not any(isinstance(module, nn.ReLU) for module in model.modules())


def test_unknown_stem_is_refused():
    with pytest.raises(ValueError, match="stem must be 'imagenet' or 'cifar', got 'large'"):
        ResNet18(stem="large")
