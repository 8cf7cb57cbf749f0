"""A whole network on shift-adders: against the plain loop, and against convolutions of exact integers in float64."""

import numpy as np
import pytest
import strategies  # noqa: F401  (loads the profile)
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from quantized_networks import quantized
from shift_maps import maps
from torch import nn

from fewbits.experiments.common import codes_path
from fewbits.experiments.inq.networks import small_data, small_net
from fewbits.fpga.fixed_point import Q16_16, QFormat
from fewbits.fpga.network import ShiftAdderNet
from fewbits.mobileone import MobileNetV1, MobileOne, reparameterize
from fewbits.training import correct, load_model


def random_net(seed: int, bits: int = 5) -> nn.Module:
    torch.manual_seed(seed)
    net = MobileNetV1(2, 3, widths=(4, 6), depths=(1, 2)).eval()
    return quantized(reparameterize(net), bits)


def float64_logits(model: nn.Module, images: np.ndarray, form: QFormat) -> np.ndarray:
    """The same integers by another way: weights grouped by exponent, exact convolutions with 0 and ±1 in float64.

    Every product is ``floor(x · 2^k)``, and all sums stay far below 2^53. Sums wrap after each layer.
    """
    x = torch.from_numpy(images).double()

    def grouped(x, weight, operation):
        exponents = torch.frexp(weight).exponent[weight != 0].unique().tolist()
        return sum(
            operation((x * 2.0 ** (e - 1)).floor(), weight.sign() * (weight.abs() == 2.0 ** (e - 1))) for e in exponents
        )

    def wrapped(x, bias):
        constants = bias.sign() * (bias.abs() * 2.0**form.fraction_bits).floor()
        total = x + constants.view(1, -1, *[1] * (x.dim() - 2))
        half = 2.0 ** (form.width - 1)
        return torch.remainder(total + half, 2 * half) - half

    for module in [*model.features, *model.pool, model.classifier]:
        if isinstance(module, nn.Conv2d):
            shape = {"stride": module.stride, "padding": module.padding, "groups": module.groups}
            weight = module.weight.detach().double()
            x = wrapped(
                grouped(x, weight, lambda x, w, shape=shape: F.conv2d(x, w, **shape)), module.bias.detach().double()
            )
        elif isinstance(module, nn.Linear):
            x = wrapped(grouped(x, module.weight.detach().double(), F.linear), module.bias.detach().double())
        elif isinstance(module, nn.AdaptiveAvgPool2d):
            x = x.mean((2, 3), keepdim=True).floor()
        else:
            x = module(x)
    return x.long().numpy()


# --- Equality ---------------------------------------------------------------------------------------------------------


@settings(max_examples=12)
@given(
    st.integers(0, 1000),
    st.sampled_from([QFormat(16, 16), QFormat(8, 8), QFormat(3, 6), QFormat(2, 12)]),
    st.sampled_from(["wrap", "saturate"]),
    st.sampled_from([5, 3]),
)
def test_network_is_the_plain_loop(seed, form, overflow, bits):
    net = ShiftAdderNet(random_net(seed, bits), form, overflow, bits)
    images = net.encode(3 * torch.randn(2, 2, 4, 8, generator=torch.Generator().manual_seed(seed)))
    logits = net.run(images)
    assert logits.tolist() == [net.run_plain(image) for image in images]
    assert net.count_overflows(images)[0].tolist() == logits.tolist()


@settings(max_examples=12)
@given(st.integers(0, 1000), st.sampled_from([Q16_16, QFormat(6, 16), QFormat(4, 4)]), st.integers(1, 70))
def test_network_is_exact_convolutions_of_exponents(seed, form, count):
    model = random_net(seed)
    net = ShiftAdderNet(model, form)
    images = net.encode(3 * torch.randn(count, 2, 8, 8, generator=torch.Generator().manual_seed(seed)))
    assert net.run(images).tolist() == float64_logits(model, images, form).tolist()


def test_weights_that_shift_to_the_left():
    model = random_net(0)
    with torch.no_grad():
        model.classifier.weight.mul_(2.0**10)  # still on its codebook, with another n1
        model.features[0].weight.mul_(2.0**-20)
    net = ShiftAdderNet(model, QFormat(20, 12))
    images = net.encode(30 * torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(1)))
    assert max(layer.n1 for layer in net.layers) >= 8
    assert min(layer.n1 for layer in net.layers) <= -18
    assert net.run(images).tolist() == [net.run_plain(image) for image in images]
    assert net.run(images).tolist() == float64_logits(model, images, net.form).tolist()


def test_layers_of_other_shapes():
    torch.manual_seed(3)
    features = [
        nn.Conv2d(2, 4, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1, bias=False),
        nn.Conv2d(4, 6, 2, groups=2),
    ]
    model = quantized(nn.Sequential(*features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)))
    net = ShiftAdderNet(model)
    images = net.encode(torch.randn(33, 2, 5, 9))  # the average is over 4 × 8 pixels
    assert net.run(images)[-1].tolist() == net.run_plain(images[-1])
    with torch.no_grad():
        difference = net.form.decode(net.run(images)) - model(torch.from_numpy(net.form.decode(images)).float()).numpy()
    assert np.abs(difference).max() < 0.01


def test_threads_and_blocks_do_not_matter():
    net = ShiftAdderNet(random_net(5))
    images = net.encode(torch.randn(100, 2, 8, 8))
    expected, census = net.count_overflows(images, threads=1)
    for threads in (1, 2, 3):
        assert np.array_equal(net.run(images, threads), expected)
        assert net.count_overflows(images, threads)[1] == census
    assert np.array_equal(net.run(images[32:65]), expected[32:65])
    assert net.run(images[:0]).shape == (0, 3)


def test_images_of_another_size_find_clean_borders():
    """A border of zeros around 2 × 2 pixels has the shape of 4 × 4 pixels without one."""
    torch.manual_seed(4)
    features = [nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1)]
    net = ShiftAdderNet(quantized(nn.Sequential(*features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))))
    for size in (4, 2, 4):
        images = net.encode(torch.randn(1, 2, size, size))
        assert net.run(images, threads=1).tolist() == [net.run_plain(images[0])]


def test_trained_network_answers_as_in_float():
    model = load_model(reparameterize(small_net(0).eval()), codes_path("inq-small-5-bit"))
    data = small_data()
    net = ShiftAdderNet(model)
    classes = net.classify(data.test_images)
    assert int((classes == data.test_labels).sum()) == correct(model, data.test_images, data.test_labels) == 961
    images = net.encode(data.test_images[:100])
    assert np.array_equal(net.run(images), float64_logits(model, images, net.form))


def test_the_networks_of_the_paper_fit():
    for network in (MobileNetV1(), MobileOne(branches=1)):
        net = ShiftAdderNet(quantized(reparameterize(network.eval())))
        assert sum(layer.codes.size + layer.bias.size for layer in net.layers) == 159_236
        assert net.run(np.zeros((1, 3, 32, 32), np.int64)).shape == (1, 100)


# --- Census -----------------------------------------------------------------------------------------------------------


def test_census_of_a_layer_by_hand():
    model = nn.Sequential(nn.Conv2d(2, 1, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, -1.0]).view(1, 2, 1, 1))
        model[3].weight.fill_(0.0)
        model[3].bias.fill_(0.0)
    form = QFormat(4, 0)  # -8 … 7
    pixels = torch.tensor([[7, -8], [3, 1], [-8, -8], [0, -8]]).T.reshape(1, 2, 2, 2).numpy()
    # Sums: 7 + 8 = 15 is out; 2; -8 + 8 = 0, of which the product 8 is out but no sum; 8 is out.
    _, census = ShiftAdderNet(model, form).count_overflows(pixels)
    assert census["0"] == {
        "additions": 8,
        "products": 3,
        "outputs": 4,
        "partial_sums": 2,
        "sums": 2,
        "integer_bits": 5,
    }
    assert ShiftAdderNet(model, form).run(pixels).tolist() == [[0]]
    _, saturated = ShiftAdderNet(model, form, "saturate").count_overflows(pixels)
    assert (saturated["0"]["partial_sums"], saturated["0"]["sums"]) == (2, 0)


def test_sums_that_come_back():
    # 7 + 7 - 7 leaves the range and returns: harmless if sums wrap, wrong if they saturate.
    model = nn.Sequential(nn.Conv2d(3, 1, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, 1.0, -1.0]).view(1, 3, 1, 1))
        model[3].weight.fill_(1.0)
        model[3].bias.fill_(0.0)
    pixels = np.full((1, 3, 1, 1), 7)
    for overflow, answer, left in (("wrap", 7, 1), ("saturate", 0, 1)):
        logits, census = ShiftAdderNet(model, QFormat(4, 0), overflow).count_overflows(pixels)
        assert (logits.item(), census["0"]["partial_sums"], census["0"]["sums"]) == (answer, left, 0)


# --- Refusals ---------------------------------------------------------------------------------------------------------


def test_a_weight_off_its_codebook_is_refused():
    model = random_net(0)
    with torch.no_grad():
        model.features[2].weight[0, 0, 0, 0] = 0.3
    with pytest.raises(ValueError, match=r"features\.2\.weight is not on its codebook of 5 bits"):
        ShiftAdderNet(model)


@pytest.mark.parametrize(
    "module", [nn.Sigmoid(), nn.AdaptiveAvgPool2d(2), nn.Conv2d(2, 2, (1, 3)), nn.Conv2d(2, 2, 3, dilation=2)]
)
def test_unknown_modules_are_refused(module):
    with pytest.raises(
        ValueError, match=f"model has '1', an? {type(module).__name__} that the circuit does not support"
    ):
        ShiftAdderNet(quantized(nn.Sequential(nn.Conv2d(2, 2, 1), module)))


class Called(nn.Module):
    """A network whose forward pass is what ``run`` makes of it."""

    def __init__(self, run):
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)
        self.pool, self.last, self.run = nn.AdaptiveAvgPool2d(1), nn.Linear(2, 3), run

    def forward(self, x):
        return self.run(self, x)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda m, x: m.last(m.pool(m.second(x) + m.first(x)).flatten(1)), "is no chain"),
        (lambda m, x: m.last(m.pool(m.first(x) + x).flatten(1)), "is no chain"),
        (lambda m, x: m.last(m.pool(m.first(m.first(x))).flatten(1)), r"first \(Conv2d\) is called more than once"),
        (
            lambda m, x: m.last(m.pool(F.silu(m.second(m.first(x)))).flatten(1)),
            r"model has 'silu', .* does not support",
        ),
        (
            lambda m, x: m.last(m.pool(m.second(m.first(F.relu(x)))).flatten(1)),
            "has 'relu', .* no place for here",
        ),
        (
            lambda m, x: m.last(F.relu(m.pool(m.second(m.first(x)))).flatten(1)),
            "has 'relu', .* no place for here",
        ),
        (lambda m, x: m.last(m.second(m.first(x)).flatten(1)), "model has 'flatten', .* no place for here"),
        (lambda m, x: m.last(m.second(m.first(x))), "model has 'last', a Linear that the circuit has no place for"),
        (lambda m, x: m.pool(m.second(m.first(x))), "which are no parameters of the layers"),
        (lambda m, x: (m.second(m.first(x)), x), "is no chain"),
    ],
)
def test_other_forward_passes_are_refused_by_name(run, message):
    """With the same modules in the same order: a residual add was once dropped in silence."""
    with pytest.raises(ValueError, match=message):
        ShiftAdderNet(quantized(Called(run)))


def test_a_pool_at_the_end_is_refused():
    with pytest.raises(ValueError, match="model ends with a pool"):
        ShiftAdderNet(quantized(nn.Sequential(nn.Conv2d(2, 2, 1), nn.AdaptiveAvgPool2d(1))))


def test_the_order_is_that_of_the_calls():
    """Modules registered in another order, a functional ReLU and flatten: the network is what it computes."""
    torch.manual_seed(0)
    model = quantized(Called(lambda m, x: m.last(m.pool(m.first(F.relu(m.second(x)))).flatten(1))))
    net = ShiftAdderNet(model)
    assert [(layer.name, layer.relu) for layer in net.layers] == [("second", True), ("first", False), ("last", False)]
    images = net.encode(torch.randn(4, 2, 4, 4))
    with torch.no_grad():
        expected = model(torch.from_numpy(net.form.decode(images)).float())
    assert np.abs(net.form.decode(net.run(images)) - expected.numpy()).max() < 0.01


def test_a_network_must_end_with_one_pixel():
    net = ShiftAdderNet(quantized(nn.Sequential(nn.Conv2d(2, 3, 3, bias=False))))
    assert net.run(np.ones((2, 2, 3, 3), np.int64)).shape == (2, 3)
    with pytest.raises(ValueError, match="0 must end with one pixel for its logits, got 2 × 4"):
        net.run(np.ones((2, 2, 4, 6), np.int64))


def test_a_model_without_layers_is_refused():
    with pytest.raises(ValueError, match="model has no layer"):
        ShiftAdderNet(nn.Sequential(nn.ReLU()))


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (np.zeros((1, 3, 8, 8), np.int64), ValueError, r"images must have shape \(N, 2, H, W\), got \(1, 3, 8, 8\)"),
        (np.zeros((2, 8, 8), np.int64), ValueError, "images must have shape"),
        (np.full((1, 2, 8, 8), 2**31), ValueError, r"images must fit Q16\.16"),
        (np.zeros((1, 2, 8, 8)), TypeError, "must be integers, got float64"),
        (np.zeros((1, 2, 6, 6), np.int64), ValueError, "the average over 9 pixels is no shift"),
    ],
)
def test_bad_images(images, error, message):
    net = ShiftAdderNet(random_net(0))
    for compute in (net.run, net.maps):
        with pytest.raises(error, match=message):
            compute(images)


@pytest.mark.parametrize("form", [Q16_16, QFormat(3, 6)])
def test_maps_of_each_layer(form):
    """Against whole arrays, with borders, both strides and a pool; 32 images are a block, and no more are taken."""
    net = ShiftAdderNet(random_net(1), form)
    images = net.encode(3 * torch.randn(32, 2, 4, 8))
    found = net.maps(images)
    assert list(found) == [layer.name for layer in net.layers]
    for name, expected in zip(found, maps(net.layers, images, form), strict=True):
        assert np.array_equal(found[name], expected), name
    assert np.array_equal(found[net.layers[-1].name][:, :, 0, 0], net.run(images))
    with pytest.raises(ValueError, match="images must be at most 32, of a network that wraps, got 33"):
        net.maps(images[[*range(32), 0]])
    with pytest.raises(ValueError, match="of a network that wraps"):
        ShiftAdderNet(random_net(1), form, "saturate").maps(images)


def test_overflow_must_be_known():
    with pytest.raises(ValueError, match="overflow must be 'wrap' or 'saturate'"):
        ShiftAdderNet(random_net(0), overflow="clip")
