"""No quantizer of activations takes a range from the images that it is tested on: the whole kind, one rule."""

import pytest
import torch
from torch import nn

from fewbits.binary import BinaryConnect, SignActivation, XnorWeights
from fewbits.core.quantizer import calibrate, quantize_activations
from fewbits.inq import InqQuantizer
from fewbits.learned_step import LSQ
from fewbits.logarithmic import LogQuantizer
from fewbits.low_bitwidth import AP2Quantizer, DoReFaActivation, DoReFaWeights, LinearQuantizer
from fewbits.mixed_precision import DistributionQuantizer, LearnedBits
from fewbits.ternary import TTQ, TWN, ExactTernary
from fewbits.uniform import UniformQuantizer

FOR_WEIGHTS = {
    "TWN": TWN,
    "TTQ": TTQ,
    "exact ternary": ExactTernary,
    "XNOR, one scale": lambda: XnorWeights(None),
    "XNOR, a scale a filter": XnorWeights,
    "DoReFa": lambda: DoReFaWeights(4),
    "DoReFa, 1 bit": lambda: DoReFaWeights(1),
    "INQ": lambda: InqQuantizer(5),
    "distribution": lambda: DistributionQuantizer(0.5),
}
TO_CALIBRATE = {
    "uniform": lambda: UniformQuantizer(4, signed=False),
    "uniform, affine": lambda: UniformQuantizer(4, symmetric=False),
    "log": lambda: LogQuantizer(4, signed=False),
    "LSQ": lambda: LSQ(4, signed=False),
}
FIXED = {
    "sign": SignActivation,
    "BinaryConnect": BinaryConnect,
    "DoReFa": lambda: DoReFaActivation(4),
    "QNN": lambda: LinearQuantizer(4),
    "QNN, powers": lambda: AP2Quantizer(4),
    "INQ with n1": lambda: InqQuantizer(5, n1=0),
    "learned bits": lambda: LearnedBits(signed=False),
}


def network(make) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    return quantize_activations(model, make)


def images() -> torch.Tensor:
    """The first one is small, the others are large: a range of the batch would not be its own."""
    x = torch.randn(16, 6, generator=torch.Generator().manual_seed(1))
    return x * torch.tensor([1.0] + [7.0] * 15)[:, None]


def depends_on_the_batch(model: nn.Module) -> bool:
    model.eval()
    return not torch.allclose(model(images())[:1], model(images()[:1]), atol=1e-6)


@pytest.mark.parametrize("make", FOR_WEIGHTS.values(), ids=FOR_WEIGHTS)
def test_a_quantizer_of_weights_is_refused_for_activations(make):
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    with pytest.raises(ValueError, match=rf"{type(make()).__name__} takes its scale from what it quantizes"):
        quantize_activations(model, make)
    assert [type(module) for module in model] == [nn.Linear, nn.ReLU, nn.Linear]  # nothing has changed


@pytest.mark.parametrize("make", TO_CALIBRATE.values(), ids=TO_CALIBRATE)
def test_a_range_is_calibrated_before_it_is_used(make):
    model = network(make).eval()
    with pytest.raises(ValueError, match="not fixed, and it would depend on the test batch"):
        model(images())
    with pytest.raises(ValueError, match="not fixed"):  # and the refused batch has left no range behind
        model(images())
    calibrate(model, images())
    assert not depends_on_the_batch(model)


@pytest.mark.parametrize("make", TO_CALIBRATE.values(), ids=TO_CALIBRATE)
def test_training_may_use_the_batch(make):
    network(make).train()(images())


@pytest.mark.parametrize("make", FIXED.values(), ids=FIXED)
def test_the_others_have_a_range_of_their_own(make):
    assert not depends_on_the_batch(network(make))


def test_learned_grids_of_channels_do_not_start_from_a_test_batch():
    model = network(lambda: LearnedBits(channel_axis=1)).eval()
    with pytest.raises(ValueError, match="not fixed"):
        model(images())


def test_a_batch_range_would_be_noticed():
    assert depends_on_the_batch(nn.Sequential(nn.Linear(6, 3), UniformQuantizer(3)))


def test_two_kinds_are_calibrated_one_after_the_other():
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.Sigmoid(), nn.Linear(8, 3))
    quantize_activations(model, TO_CALIBRATE["uniform"], after=nn.ReLU)
    quantize_activations(model, TO_CALIBRATE["log"], after=nn.Sigmoid)
    calibrate(model, images(), kind=LogQuantizer)
    with pytest.raises(ValueError, match="range of UniformQuantizer"):
        model.eval()(images())
    calibrate(model, images(), kind=UniformQuantizer)
    assert not depends_on_the_batch(model)
