"""The reader of networks: one word for one operation however it is written, and everything that is shared is seen."""

import operator

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fewbits.binary import XnorLinear
from fewbits.core.graph import is_plain, read, replace_module
from fewbits.core.quantizer import quantize_weights
from fewbits.uniform import UniformQuantizer


class Computes(nn.Module):
    """``forward`` is what it is given, of itself and x."""

    def __init__(self, forward, **parts):
        super().__init__()
        self.compute = forward
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x):
        return self.compute(self, x)


def words(forward, **parts) -> list[str]:
    return [call.op for call in read(Computes(forward, **parts).eval()).calls[1:-1]]


SPELLINGS = {
    "relu": [lambda _, x: F.relu(x), lambda _, x: torch.relu(x), lambda _, x: x.relu(), lambda _, x: x.relu_()],
    "flatten": [
        lambda _, x: torch.flatten(x, 1),
        lambda _, x: x.flatten(1),
        lambda _, x: x.view(x.size(0), -1),
        lambda _, x: x.reshape(x.shape[0], -1),
        lambda _, x: torch.reshape(x, (x.size()[0], -1)),
    ],
    "add": [lambda _, x: x + x, lambda _, x: torch.add(x, x), lambda _, x: x.add(x), lambda _, x: operator.iadd(x, x)],
    "global_average": [
        lambda _, x: F.adaptive_avg_pool2d(x, 1),
        lambda _, x: x.mean((2, 3), keepdim=True),
        lambda _, x: torch.mean(x, dim=[-1, -2], keepdim=True),
    ],
    "max_pool2d": [lambda _, x: F.max_pool2d(x, 2), lambda _, x: torch.max_pool2d(x, (2, 2))],
    "relu6": [lambda _, x: F.relu6(x), lambda _, x: F.relu6(x, inplace=True)],
    "pad": [lambda _, x: F.pad(x, (0, 1, 0, 1)), lambda _, x: F.pad(x, pad=[1, 1, -1, 0], mode="constant", value=0)],
    "identity": [lambda self, x: F.dropout(x, training=self.training)],
    "dropout": [lambda _, x: F.dropout(x)],
    "other": [
        lambda _, x: F.adaptive_avg_pool2d(x, 2),
        lambda _, x: x.sigmoid(),
        lambda _, x: x.mean(1),
        lambda _, x: F.pad(x, (1, 1)),
        lambda _, x: F.pad(x, (1, 1, 1, 1), value=1.0),
        lambda _, x: F.pad(x, (1, 1, 1, 1), "reflect"),
        lambda _, x: F.pad(x, (0, 0, 0, 0, 1, 1)),
    ],
}
MODULES = {
    "relu": nn.ReLU(),
    "relu6": nn.ReLU6(),
    "pad": nn.ZeroPad2d((0, 1, 0, 1)),
    "flatten": nn.Flatten(),
    "global_average": nn.AdaptiveAvgPool2d((1, 1)),
    "max_pool2d": nn.MaxPool2d(2),
    "identity": nn.Dropout(),
    "conv2d": nn.Conv2d(1, 1, 1),
    "quantizer": UniformQuantizer(8),
    "other": XnorLinear(2, 2),
}


@pytest.mark.parametrize("op", SPELLINGS)
def test_one_word_for_all_spellings(op):
    assert [words(forward) for forward in SPELLINGS[op]] == [[op]] * len(SPELLINGS[op])


@pytest.mark.parametrize("op", MODULES)
def test_modules_have_the_same_words(op):
    assert words(lambda self, x: self.part(x), part=MODULES[op]) == [op]


def test_settings_are_those_of_the_function_or_module():
    def settings(forward, **parts):
        return read(Computes(forward, **parts)).calls[1].settings

    pool = {"kernel_size": 3, "stride": 3, "padding": 0, "dilation": 1, "ceil_mode": True}
    assert settings(lambda _, x: F.max_pool2d(x, 3, ceil_mode=True)) == pool
    assert settings(lambda self, x: self.pool(x), pool=nn.MaxPool2d(3, ceil_mode=True)) == pool
    assert settings(lambda _, x: torch.add(x, x, alpha=2)) == {"alpha": 2}
    assert settings(lambda _, x: x.flatten()) == {"start_dim": 0, "end_dim": -1}
    assert settings(lambda _, x: x.view(-1, 12)) == {"shape": (-1, 12)}


def test_a_constant_is_no_input_and_a_tensor_added_to_itself_is_two():
    network = read(Computes(lambda _, x: (x + x) + 1))
    first, second = network.calls[1:3]
    assert (len(first.inputs), len(second.inputs)) == (2, 1)
    assert network.calls[0].only_user is None
    assert first.only_user is second


def test_the_size_of_the_batch_is_no_reader():
    network = read(Computes(lambda self, x: self.relu(x).view(x.size(0), -1), relu=nn.ReLU()))
    assert [str(call) for call in network.calls] == ["x (input)", "relu (ReLU)", "flatten (flatten)", "output (output)"]


def test_the_size_of_the_batch_may_be_that_of_what_came_before():
    assert words(lambda self, x: self.pool(x).view(x.size(0), -1), pool=nn.MaxPool2d(2)) == ["max_pool2d", "flatten"]
    # The batch of the input is not that of its transpose.
    assert words(lambda _, x: x.transpose(0, 1).reshape(x.size(0), -1)) == ["other", "other", "reshape"]


def test_a_module_called_twice_and_one_at_two_places():
    shared = nn.Linear(2, 2)
    network = read(nn.Sequential(shared, nn.ReLU(), shared))
    assert [call.name for call in network.calls_of(shared)] == ["0", "0"]
    assert network.sharing(network.calls[1]) == "0 (Linear) is called more than once"
    assert network.sharing(network.calls[2]) == ""


def test_tied_weights_and_weights_that_a_function_reads():
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    second.weight = first.weight
    network = read(nn.Sequential(first, second))
    assert network.sharing(network.calls[1]) == "0 (Linear) shares a parameter with 1 (Linear)"
    tied = Computes(lambda self, x: F.linear(self.layer(x), self.layer.weight), layer=nn.Linear(2, 2))
    network = read(tied)
    (call,) = network.calls_of(tied.layer)
    assert network.sharing(call) == "layer (Linear) shares a parameter with layer_weight (parameter)"


def test_later_readers_see_a_change_in_place():
    """What runs is the truth: the sum below adds the ReLU to itself, not to what the layer gave."""

    def forward(self, x):
        y = self.layer(x)
        z = self.relu(y)
        return y + z

    for relu in (nn.ReLU(inplace=True), nn.ReLU()):
        model = Computes(forward, layer=nn.Linear(2, 2), relu=relu)
        total = read(model).calls[-2]
        assert [call.name for call in total.inputs] == (["relu", "relu"] if relu.inplace else ["layer", "relu"])

    def assigning(_, x):
        y = x
        x += 1
        return y + x

    assert len(set(read(Computes(assigning)).calls[-2].inputs)) == 1


def test_what_is_plain():
    class Renamed(nn.Conv2d):
        pass

    class Standardized(nn.Conv2d):
        def _conv_forward(self, x, weight, bias):
            return super()._conv_forward(x, weight / weight.std(), bias)

    hooked, patched = nn.Linear(2, 2), nn.Linear(2, 2)
    hooked.register_forward_pre_hook(lambda *_: None)
    patched.forward = lambda x: x
    quantized = quantize_weights(nn.Sequential(nn.Linear(2, 2)), lambda: UniformQuantizer(8), skip=())[0]
    assert [is_plain(each, nn.Linear) for each in (nn.Linear(2, 2), quantized)] == [True, True]
    assert is_plain(Renamed(1, 1, 1), (nn.Linear, nn.Conv2d))
    for each in (Standardized(1, 1, 1), hooked, patched, XnorLinear(2, 2), F.relu, None):
        assert not is_plain(each, (nn.Linear, nn.Conv2d))


def test_the_model_itself_may_be_a_layer():
    network = read(nn.Linear(2, 3))
    assert [call.name for call in network.calls] == ["input_1", "", "output"]
    assert str(network.calls[1]) == "the model (Linear)"
    assert list(network.shapes(torch.zeros(5, 2)).values()) == [(5, 2), (5, 3), (5, 3)]


def test_modules_called_input_and_output():
    network = read(Computes(lambda self, x: self.output(self.input(x)), input=nn.Linear(2, 2), output=nn.Linear(2, 2)))
    assert [(call.name, call.op) for call in network.calls[1:-1]] == [("input", "linear"), ("output", "linear")]


def test_what_cannot_be_looked_into():
    class Branching(nn.Module):
        def forward(self, x):
            return self.relu(x) if x.sum() > 0 else x

    opaque = read(nn.Sequential(nn.Linear(2, 2), Branching()))  # small: one call, whatever it does
    assert [(call.name, call.op) for call in opaque.calls[1:-1]] == [("0", "linear"), ("1", "other")]
    branching = Branching()
    branching.relu = nn.ReLU()
    with pytest.raises(ValueError, match="1: the forward pass cannot be read"):
        read(nn.Sequential(nn.Linear(2, 2), branching))
    assert read(nn.Sequential(branching), leaves=(Branching,)).calls[1].op == "other"


def test_replacing_a_module_at_all_its_places():
    shared, new = nn.Linear(2, 2), nn.Linear(2, 2)
    model = nn.Sequential(shared, nn.Sequential(shared))
    replace_module(model, shared, new)
    assert model[0] is model[1][0] is new
