"""Quantizers in networks: which layers they reach, what is stored, and that nothing else is touched."""

import copy

import pytest
import torch
import torch.nn.functional as F
from strategies import same_bits
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from fewbits.core.codes import Codes
from fewbits.core.quantizer import (
    Quantizer,
    calibrate,
    encode_weights,
    put_quantizer,
    quantize_activations,
    quantize_weights,
    stored_bits,
    weight_layers,
    weight_quantizers,
)
from fewbits.uniform import UniformQuantizer


class Halves(Quantizer):
    """A toy with a learned scale: rounds to multiples of ``step``, and stores 4 bits."""

    def __init__(self):
        super().__init__()
        self.step = nn.Parameter(torch.tensor(0.5))

    def forward(self, x):
        return x + (torch.round(x / self.step) * self.step - x).detach()

    def encode(self, x):
        return Codes(torch.round(x / self.step).clamp(-8, 7).int(), 4, self.step.detach())


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24, 8),
        nn.ReLU(),
        nn.Linear(8, 3),
    )


IMAGES = torch.linspace(-1, 1, 5 * 36).reshape(5, 1, 6, 6)


def quantized_names(model):
    return [name for name, _, _ in weight_quantizers(model)]


def test_the_base_class_computes_nothing():
    for method in (Quantizer().forward, Quantizer().encode):
        with pytest.raises(NotImplementedError):
            method(torch.ones(1))


def test_layers_are_found_in_order_and_by_kind():
    assert list(weight_layers(network())) == ["0", "3", "6", "8"]
    kinds = nn.ModuleDict({"a": nn.Conv1d(1, 1, 1), "b": nn.Linear(1, 1), "c": nn.Bilinear(1, 1, 1)})
    assert list(weight_layers(kinds)) == ["a", "b"]
    assert list(weight_layers(nn.Linear(2, 2))) == [""]
    assert weight_layers(nn.ReLU()) == {}


@pytest.mark.parametrize(
    ("skip", "chosen"),
    [
        (("first", "last"), ["3", "6"]),
        (("first",), ["3", "6", "8"]),
        (["last"], ["0", "3", "6"]),
        ((), ["0", "3", "6", "8"]),
        ({"3"}, ["0", "6", "8"]),
        (("first", "6", "8"), ["3"]),
        (("first", "0", "last", "8"), ["3", "6"]),
    ],
)
def test_skip_keeps_what_it_names(skip, chosen):
    model, before = network(), network().state_dict()
    assert quantize_weights(model, lambda: UniformQuantizer(4), skip) is model
    assert quantized_names(model) == chosen
    for name, layer in weight_layers(model).items():
        assert same_bits(layer.bias, before[f"{name}.bias"])
        if name in chosen:
            assert same_bits(layer.parametrizations.weight.original, before[f"{name}.weight"])
            assert same_bits(layer.weight, UniformQuantizer(4)(before[f"{name}.weight"]))
            assert not torch.equal(layer.weight, before[f"{name}.weight"])
        else:
            assert same_bits(layer.weight, before[f"{name}.weight"])


def test_first_and_last_are_skipped_by_default():
    assert quantized_names(quantize_weights(network(), Halves)) == ["3", "6"]


def test_two_layers_are_first_and_last():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    for skip in (("first", "last"), ("0", "1")):
        with pytest.raises(ValueError, match=r"^skip leaves no layer to quantize; the layers are \['0', '1'\]$"):
            quantize_weights(model, Halves, skip)
    assert quantized_names(model) == []


def test_the_weight_of_a_layer_that_is_skipped_is_refused():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    with pytest.raises(ValueError, match=r"^1 holds the weight of 0, which is skipped$"):
        quantize_weights(model, Halves)
    assert quantized_names(model) == []


@pytest.mark.parametrize("training", [True, False])
def test_new_modules_have_the_mode_of_what_they_are_put_to(training):
    model = network().train(training)
    quantize_activations(quantize_weights(model, Halves), Halves)
    assert {module.training for module in model.modules()} == {training}


def test_a_model_that_is_a_layer():
    layer = quantize_weights(nn.Linear(4, 3), lambda: UniformQuantizer(3), skip=())
    assert quantized_names(layer) == [""]
    assert layer.weight.unique().numel() <= 7


def test_every_layer_has_a_quantizer_of_its_own():
    model = quantize_weights(network(), Halves, skip=())
    assert len({id(quantizer) for _, quantizer, _ in weight_quantizers(model)}) == 4


@pytest.mark.parametrize("skip", [("conv1",), ("first", "9"), "first", ("",)])
def test_unknown_names_are_refused_and_nothing_is_changed(skip):
    model = network()
    with pytest.raises(ValueError, match=r"^skip names .* which are no layers; the layers are"):
        quantize_weights(model, Halves, skip)
    assert quantized_names(model) == []


def test_a_second_quantizer_is_refused_and_nothing_is_changed():
    model = quantize_weights(network(), Halves)
    with pytest.raises(ValueError, match=r"^the weights of \['3', '6'\] are quantized already$"):
        quantize_weights(model, Halves, skip=())
    assert quantized_names(model) == ["3", "6"]
    quantize_weights(model, Halves, skip=("3", "6"))
    assert quantized_names(model) == ["0", "3", "6", "8"]


@pytest.mark.parametrize("skip", [(), ("first", "last")])
def test_a_model_without_layers_is_refused(skip):
    with pytest.raises(ValueError, match=r"^model has no linear or convolution layer to quantize$"):
        quantize_weights(nn.Sequential(nn.ReLU()), Halves, skip)


def test_a_shared_layer_counts_once():
    shared = nn.Linear(3, 3)
    model = quantize_weights(nn.Sequential(shared, nn.ReLU(), shared, nn.Linear(3, 2)), Halves, skip=())
    assert quantized_names(model) == ["0", "3"]


def test_gradients_reach_latent_weights():
    model = quantize_weights(network(), lambda: UniformQuantizer(4, channel_axis=0))
    model(IMAGES).square().sum().backward()
    for _, _, latent in weight_quantizers(model):
        assert latent.grad is not None
        assert latent.grad.abs().sum() > 0


# ---- activations


def test_a_quantizer_stands_behind_every_relu():
    model = network()
    assert quantize_activations(model, lambda: UniformQuantizer(4, signed=False)) is model
    assert [type(module) for module in model[2]] == [nn.ReLU, UniformQuantizer]
    places = [name for name, module in model.named_modules() if isinstance(module, UniformQuantizer)]
    assert places == ["2.1", "4.1", "7.1"]
    assert len({id(model.get_submodule(name)) for name in places}) == 3
    assert model[2](IMAGES).unique().numel() <= 16


def test_other_activations_and_nested_modules():
    model = nn.ModuleDict({"block": nn.Sequential(nn.Linear(2, 2), nn.Tanh()), "out": nn.Tanh()})
    quantize_activations(model, Halves, after=nn.Tanh)
    assert [name for name, module in model.named_modules() if isinstance(module, Halves)] == ["block.1.1", "out.1"]


def test_an_activation_used_at_two_places_gets_two_quantizers():
    relu = nn.ReLU()
    model = nn.Sequential(nn.Linear(2, 2), relu, nn.Linear(2, 2), relu)
    quantize_activations(model, Halves)
    assert [name for name, module in model.named_modules() if isinstance(module, Halves)] == ["1.1", "3.1"]


def test_what_would_share_a_range_or_have_none_is_refused_and_nothing_is_changed():
    class Functional(nn.Sequential):
        def forward(self, x):
            return F.relu(super().forward(x))

    block = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    recurrent = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.RNN(2, 2))
    for model, message in (
        (nn.Sequential(block, block), r"^0\.1 \(ReLU\) is called more than once"),
        (Functional(nn.Linear(2, 2), nn.ReLU()), r"^relu \(relu\) is a function"),
        (recurrent, r"^2 \(RNN\) has activations inside"),
    ):
        before = str(model)
        with pytest.raises(ValueError, match=message):
            quantize_activations(model, Halves)
        assert str(model) == before


def test_a_model_without_the_activation_is_refused():
    with pytest.raises(ValueError, match=r"^model has no Tanh to put a quantizer after$"):
        quantize_activations(network(), Halves, after=nn.Tanh)


def test_a_second_quantizer_after_an_activation_is_refused_and_nothing_is_changed():
    model = quantize_activations(network(), Halves)
    before = str(model)
    with pytest.raises(ValueError, match=r"^there is a quantizer after a ReLU of model already$"):
        quantize_activations(model, Halves)
    assert str(model) == before


def test_a_quantizer_at_the_end_of_a_sequence_is_no_obstacle():
    model = quantize_activations(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2), Halves()), Halves)
    assert [type(module) for module in model[1]] == [nn.ReLU, Halves]


# ---- what is stored


def test_stored_weights_decode_to_the_simulated_ones():
    model = quantize_weights(network(), lambda: UniformQuantizer(4, channel_axis=0), skip=("first",))
    codes = encode_weights(model)
    assert list(codes) == ["3", "6", "8"]
    for name, layer in weight_layers(model).items():
        if name in codes:
            assert same_bits(codes[name].decode(), layer.weight)
            assert not codes[name].scale.requires_grad


def test_stored_bits_by_hand():
    model = network()
    everything = 32 * sum(p.numel() for p in model.parameters())
    assert stored_bits(model) == everything
    quantize_weights(model, lambda: UniformQuantizer(5, channel_axis=0))
    saved = (32 - 5) * (6 * 4 * 9 + 8 * 24) - 32 * (6 + 8)  # two layers, one scale for each output channel
    assert stored_bits(model) == everything - saved
    quantize_activations(model, lambda: UniformQuantizer(4))
    assert stored_bits(model) == everything - saved


def test_a_learned_scale_is_counted_once():
    model = quantize_weights(nn.Linear(10, 10), Halves, skip=())
    assert stored_bits(model) == 4 * 100 + 32 + 32 * 10


def test_other_parametrizations_are_left_alone():
    model = network()
    parametrizations.weight_norm(model[0])
    quantize_weights(model, lambda: UniformQuantizer(4))
    assert quantized_names(model) == ["3", "6"]
    assert list(encode_weights(model)) == ["3", "6"]
    plain = 32 * sum(p.numel() for p in model.parameters())
    assert stored_bits(model) == plain - (32 - 4) * (6 * 4 * 9 + 8 * 24) + 32 * 2
    with pytest.raises(ValueError, match="quantized already"):
        quantize_weights(model, Halves, skip=("3", "6"))


def test_parametrizations_can_be_removed_and_leave_weights_on_the_grid():
    model = quantize_weights(network(), lambda: UniformQuantizer(2), skip=())
    expected = model(IMAGES)
    for layer in weight_layers(model).values():
        parametrize.remove_parametrizations(layer, "weight")
    assert quantized_names(model) == []
    assert all(layer.weight.unique().numel() <= 3 for layer in weight_layers(model).values())
    torch.testing.assert_close(model(IMAGES), expected)


def test_a_copy_shares_nothing():
    model = quantize_weights(network(), Halves)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for p in other.parameters():
            p.add_(1)
    assert all(not torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    assert encode_weights(model)["3"].scale.item() == 0.5


def test_eval_and_double_go_through():
    model = quantize_activations(quantize_weights(network(), lambda: UniformQuantizer(8)), lambda: UniformQuantizer(8))
    calibrate(model, IMAGES)
    assert model.eval()(IMAGES).dtype == torch.float32
    assert model.double()(IMAGES.double()).dtype == torch.float64
    assert encode_weights(model)["3"].scale.dtype == torch.float64


def test_weights_that_are_not_finite_are_refused():
    model = network()
    with torch.no_grad():
        model[3].weight[0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"^x holds NaN or Inf$"):
        quantize_weights(model, lambda: UniformQuantizer(4))


def test_a_second_quantizer_on_a_copy_leaves_the_first_alone():
    """Deep copies of a parametrized layer share its class, where torch puts one property for each parameter."""
    first = quantize_weights(nn.Sequential(nn.Linear(3, 2)), Halves, skip=())
    second = copy.deepcopy(first)
    put_quantizer(second[0], Halves(), "bias")
    x = torch.ones(1, 3)
    assert first(x).shape == second(x).shape
    assert isinstance(first[0].bias, nn.Parameter)
    first[0].bias = nn.Parameter(torch.ones(2))
    assert first[0].bias.tolist() == [1, 1]
