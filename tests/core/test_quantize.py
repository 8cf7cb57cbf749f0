"""One call quantizes other people's networks, each call of an activation by itself; a report says what they take."""

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fewbits.core import container
from fewbits.core.quantize import quantize
from fewbits.core.quantizer import stored_bits, stored_state
from fewbits.core.size import size_report
from fewbits.inq import Inq
from fewbits.learned_step import LSQ
from fewbits.ternary import TWN
from fewbits.uniform import UniformQuantizer
from fewbits.vector import SharedWeights

EIGHT_BITS = partial(UniformQuantizer, 8, signed=False)
FOUR_BITS = partial(UniformQuantizer, 4, channel_axis=0)


class Residual(nn.Module):
    """As torchvision writes it: one ReLU for two calls, a sum in place, a mean, functions and a method."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.first, self.second = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.bn = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.classifier = nn.Linear(4, 3)

    def forward(self, x):
        x = F.relu(self.stem(x))
        y = self.second(self.relu(3 * self.first(x)))
        y += x
        y = self.relu(self.bn(y)).relu()
        return self.classifier(torch.flatten(y.mean((2, 3)), 1))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Residual().eval()


@pytest.fixture
def images():
    return torch.rand(16, 1, 6, 6, generator=torch.Generator().manual_seed(1))


def activation_quantizers(model):
    return {name: each for name, each in model.named_modules() if name.startswith("quantize_")}


def test_each_call_has_a_range_of_its_own(model, images):
    seen = []  # what each of the four calls gives, by running the network by hand
    with torch.no_grad():
        seen.append(F.relu(model.stem(images)))
        seen.append(F.relu(3 * model.first(seen[0])))
        seen.append(F.relu(model.bn(model.second(seen[1]) + seen[0])))
    quantized = quantize(model, activations=EIGHT_BITS, calibrate=images)
    ranges = [float(quantizer.high) for quantizer in activation_quantizers(quantized).values()]
    assert ranges == pytest.approx([float(x.max()) for x in (*seen, seen[-1])])
    assert len(set(ranges[:3])) == 3
    assert (quantized(images) - model(images)).abs().max() < 0.02


def test_eight_bits_come_close_and_two_do_not(model, images):
    def off(bits):
        weights = partial(UniformQuantizer, bits, channel_axis=0)
        activations = partial(UniformQuantizer, bits, signed=False)
        with torch.no_grad():
            return float((quantize(model, weights, activations, images)(images) - model(images)).abs().max())

    assert off(8) < 0.02 < off(2)


def test_the_model_itself_stays(model, images):
    before, expected = copy.deepcopy(model.state_dict()), model(images)
    quantize(model, FOUR_BITS, EIGHT_BITS, images)
    assert torch.equal(model(images), expected)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("training", [False, True])
def test_the_copy_is_in_the_mode_of_the_model_and_learns(model, images, training):
    model.train(training)
    quantized = quantize(model, partial(LSQ, 3), partial(LSQ, 3, signed=False), images)
    assert all(module.training is training for module in quantized.modules())
    quantized(images).sum().backward()
    assert quantized.first.parametrizations.weight.original.grad.abs().sum() > 0


def test_a_quantizer_that_belongs_to_a_tensor_is_given_the_tensor(model, images):
    quantized = quantize(model, partial(SharedWeights, k=4), keep=("first", "last"))
    assert len(quantized.first.weight.unique()) == 4
    assert torch.equal(quantized.stem.weight, model.stem.weight)
    assert torch.equal(quantized.classifier.weight, model.classifier.weight)


def test_tied_weights_share_a_quantizer():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    quantized = quantize(model, partial(LSQ, 3))
    assert quantized[0].parametrizations.weight[0] is quantized[2].parametrizations.weight[0]
    assert torch.equal(quantized[0].weight, quantized[2].weight)
    with pytest.raises(ValueError, match="2 holds the weight of 0, which keep names"):
        quantize(model, partial(LSQ, 3), keep=["0"])


def test_users_names_do_not_collide():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.quantize_relu, self.input = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x):
            return self.input(F.relu(self.quantize_relu(x)))

    model, x = Named().eval(), torch.rand(5, 3)
    quantized = quantize(model, activations=EIGHT_BITS, calibrate=x)
    assert (quantized(x) - model(x)).abs().max() < 0.01
    assert isinstance(quantized.quantize_relu_, UniformQuantizer)


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x):
        return F.relu(self.layer(x)) if x.sum() > 0 else x


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (Residual, {}, "weights, activations or both"),
        (Residual, {"weights": TWN, "keep": ("middle",)}, r"keep names \['middle'\]"),
        (lambda: nn.Sequential(nn.Linear(2, 2)), {"weights": TWN, "keep": ("first",)}, "keep names all layers"),
        (lambda: nn.Sequential(nn.ReLU()), {"weights": TWN}, "no linear or convolution layer"),
        (lambda: nn.Sequential(nn.Linear(2, 2)), {"activations": EIGHT_BITS}, "calls no activation function"),
        (Residual, {"activations": EIGHT_BITS}, "calibrate is needed"),
        (Branching, {"activations": EIGHT_BITS}, "Branching: the forward pass cannot be read"),
        (lambda: quantize(Residual(), TWN), {"weights": TWN}, "parametrized already"),
        (Residual, {"weights": lambda a, b: TWN()}, r"but it needs \['a', 'b'\]"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        quantize(make(), **arguments)


def test_activations_are_quantized_once(model, images):
    once = quantize(model, activations=EIGHT_BITS, calibrate=images)
    with pytest.raises(ValueError, match="quantized already"):
        quantize(once, activations=EIGHT_BITS, calibrate=images)


# --- Sizes ------------------------------------------------------------------------------------------------------------


def test_a_report_by_hand():
    quantized = quantize(nn.Sequential(nn.Linear(3, 2)), FOUR_BITS)
    report = size_report(quantized)
    rows = {row.name: (row.method, row.count, row.bits) for row in report.rows}
    settings = quantized[0].parametrizations.weight[0].extra_repr()
    assert rows == {
        "0.weight": (f"UniformQuantizer({settings})", 6, 6 * 4 + 2 * 32),
        "0.bias": ("float32", 2, 64),
    }
    assert (report.bits, report.float_bits) == (88 + 64, 8 * 32)
    assert "19.0 bytes, float32 takes 1.68 times as many" in str(report)


def test_the_report_agrees_with_the_file_and_with_stored_bits(model, images, tmp_path):
    quantized = quantize(model, FOUR_BITS, EIGHT_BITS, images)
    report = size_report(quantized)
    assert report.file_bytes == container.save(tmp_path / "net.fewbits", stored_state(quantized), "plain")
    buffers = [
        buffer
        for name, buffer in quantized.named_buffers()
        if buffer.is_floating_point() and "parametrizations" not in name
    ]
    assert report.bits == stored_bits(quantized) + 32 * sum(buffer.numel() for buffer in buffers)
    assert size_report(model).bits == size_report(model).float_bits > 3 * report.bits


def test_inq_and_shared_tensors_are_counted_once():
    model = nn.Sequential(nn.Linear(8, 8, bias=False), nn.ReLU(), nn.Linear(8, 8, bias=False))
    inq = Inq(copy.deepcopy(model))
    inq.step(1.0)
    assert size_report(inq.model).bits == 2 * (5 * 64 + 32)
    model[2].weight = model[0].weight
    assert size_report(model).bits == 32 * 64
    assert size_report(quantize(model, TWN)).bits == 2 * 64 + 32
