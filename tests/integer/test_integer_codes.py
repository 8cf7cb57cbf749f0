"""Integer-only networks from codes: those of INQ and of other tables keep their numbers; the rest is refused."""

import pytest
import torch
from torch import nn

from fewbits.binary import BinaryConnect
from fewbits.core.codes import Codes
from fewbits.core.filter_codes import FilterCodes
from fewbits.core.quantizer import attach_codes, encode_weights, quantize_weights
from fewbits.inq import Inq
from fewbits.integer import IntegerNetwork, prepare, to_integers
from fewbits.integer.conversion import decoded
from fewbits.integer.reading import weight_integers
from fewbits.ternary import TWN


def small_net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    features = [nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=2), nn.ReLU()]
    return nn.Sequential(*features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).double().eval()


def with_inq_codes(model: nn.Module, bits: int) -> nn.Module:
    inq = Inq(model, bits)
    inq.step(1.0)
    codes = inq.encode()
    return attach_codes(inq.finish(), codes)


@pytest.mark.parametrize(
    "quantize",
    [
        lambda model: with_inq_codes(model, 5),
        lambda model: with_inq_codes(model, 4),
        lambda model: quantize_weights(model, TWN, skip=()),
        lambda model: quantize_weights(model, BinaryConnect, skip=()),
    ],
    ids=["inq 5", "inq 4", "ternary", "binary"],
)
def test_integers_are_those_of_the_codes(quantize, tmp_path):
    model = quantize(small_net())
    images = torch.randn(16, 2, 6, 6, dtype=torch.float64)
    model = prepare(model, images)
    network = to_integers(model, images[:1], rounding="even")
    for name, codes in encode_weights(model).items():
        step = network.layers()[name]
        integers = codes.values.long() if codes.levels is None else codes.levels.long()[codes.values.long()]
        assert torch.equal(step.weight.long(), integers)
        assert torch.equal(network.weight_scales[name], codes.scale.double().flatten().expand(len(step.weight)))
    twin = decoded(model, network)
    with torch.no_grad():
        assert torch.equal(network.predict(images), twin(images).argmax(1))
    network.save(tmp_path / "net.safetensors")
    again = IntegerNetwork.load(tmp_path / "net.safetensors")
    inputs = network.grids["input"].encode(images)
    assert torch.equal(again(inputs), network(inputs))


def test_the_largest_power_of_inq_takes_nine_bits():
    """±2^7 in units of 2^n2: one more than int8 holds."""
    model = nn.Sequential(nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, -0.25]]))
    values, bits, _ = weight_integers(with_inq_codes(model, 5)[0])
    assert values.tolist() == [[128, -32]]
    assert (values.dtype, bits) == (torch.int16, 9)


@pytest.mark.parametrize("make", [FilterCodes, Codes])
def test_scales_along_another_axis_are_refused(make):
    """As many scales as outputs, but one for each input: they do not come out of the sum."""
    values, scale = torch.tensor([[1, 0], [0, 1]]), torch.tensor([[0.5, 2.0]])
    codes = Codes(values, 2, scale) if make is Codes else FilterCodes(values, torch.tensor([2, 2]), scale, 1)
    layer = attach_codes(nn.Sequential(nn.Linear(2, 2, bias=False)), {"0.weight": codes})[0]
    with pytest.raises(ValueError, match="one scale per output or per layer"):
        weight_integers(layer)
