"""Integer networks in ONNX Runtime: element by element, both forms, and what separates its arithmetic from ours."""

from collections import OrderedDict
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from test_integer_codes import with_inq_codes
from torch import nn

from fewbits.bn_folding import fold_model
from fewbits.integer import IntegerNetwork, onnx_export
from fewbits.integer.conversion import to_integers
from fewbits.integer.onnx_export import products_saturate, run, session, to_onnx
from fewbits.integer.preparation import prepare
from fewbits.integer.requantization import fixed_point
from fewbits.integer.steps import Grid, Layer, Requantizer
from fewbits.mobileone import MobileNetV1, reparameterize
from fewbits.nets import MLP, LeNet5, ResNet18, VGGSmall
from fewbits.uniform import UniformQuantizer

FORMS = ("qoperator", "qdq")
NETWORKS = {
    "MLP": (lambda: MLP((49, 32, 10), batch_norm=True), (1, 7, 7)),
    "VGG-small": (lambda: VGGSmall(1, 16, 10, (8, 8, 8, 8, 8, 8)), (1, 16, 16)),
    "LeNet-5": (LeNet5, (1, 28, 28)),
    "MobileNet": (lambda: reparameterize(MobileNetV1(widths=(8, 16), depths=(1, 2)).eval()), (3, 16, 16)),
    "ResNet-18": (lambda: ResNet18(3, 10, "imagenet"), (3, 32, 32)),
}


def converted(name: str, bits: int = 8, count: int = 24):
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    images = torch.rand(count, *shape) - 0.3
    network = to_integers(prepare(fold_model(make().eval()), images, bits, bits), images[:1], "even")
    return network, network.grids["input"].encode(images)


def differences(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    assert ours.dtype == theirs.dtype
    return (ours.int() - theirs.int()).abs()


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["MLP", "VGG-small", "LeNet-5", "MobileNet"])
def test_the_output_is_within_one_unit(name, form, bits):
    network, codes = converted(name, bits)
    ours, theirs = network(codes), run(session(to_onnx(network, form)), codes)
    assert differences(ours, theirs).max() <= 1
    assert differences(ours, theirs).float().mean() < 0.01
    assert ours.unique().numel() > 15


def test_resnet_has_few_differences():
    """18 layers deep, a difference of one early on is a larger one at the end; few there are all the same."""
    network, codes = converted("ResNet-18", count=4)
    for form in FORMS:
        off = differences(network(codes), run(session(to_onnx(network, form)), codes))
        assert off.max() <= 4
        assert off.float().mean() < 0.3


@pytest.mark.parametrize("form", FORMS)
def test_a_layer_on_ten_thousand_inputs(form):
    """Random codes through one layer: never more than one unit apart, and hardly ever one."""
    torch.manual_seed(0)
    images = torch.randn(500, 32)
    prepared = prepare(nn.Sequential(nn.Linear(32, 16)), images)
    network = to_integers(prepared, images[:1], "even")
    codes = torch.randint(0, 256, (10_000, 32), dtype=torch.uint8)
    off = differences(network(codes), run(session(to_onnx(network, form)), codes))
    assert off.max() <= 1
    assert off.float().mean() < 1e-3


def test_the_comparison_notices_a_shifted_multiplier():
    network, codes = converted("MLP")
    theirs = run(session(to_onnx(network, "qoperator")), codes)
    list(network.steps.values())[-1].output.multiplier.sub_(2**25)  # 1 to 3 parts in a hundred
    assert differences(network(codes), theirs).max() > 1


def test_a_product_in_float32_is_the_whole_difference():
    """What ONNX Runtime computes, redone in numpy: the sum as float32, times a float32 factor, rounded to even."""
    torch.manual_seed(0)
    images = torch.randn(500, 32)
    network = to_integers(prepare(nn.Sequential(nn.Linear(32, 16)), images), images[:1], "even")
    codes = torch.randint(0, 256, (10_000, 32), dtype=torch.uint8)
    theirs = run(session(to_onnx(network, "qoperator")), codes).numpy()
    (name, step), grid = next(iter(network.layers().items())), network.output_grid
    scale = np.float32(network.grids["input"].scale) * network.weight_scales[name].float().numpy()
    product = step.accumulate(codes).numpy().astype(np.float32) * (scale / np.float32(grid.scale))
    expected = np.clip(np.rint(product) + grid.zero_point, 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(theirs, expected)


class Quant(OpRun):
    """The node of QONNX from its definition: y = (round(clip(x / scale + zero point)) - zero point) * scale."""

    op_domain = "qonnx.custom_op.general"

    def _run(self, x, scale, zero_point, bits, signed=None, narrow=None, rounding_mode=None):
        assert rounding_mode == "ROUND"
        span = 2 ** int(bits)
        low, high = (-span // 2 + narrow, span // 2 - 1) if signed else (0, span - 1 - narrow)
        return ((np.rint(np.clip(x / scale + zero_point, low, high)) - zero_point) * scale,)


def through_qonnx(network, codes):
    evaluator = ReferenceEvaluator(to_onnx(network, "qonnx"), new_ops=[Quant])
    return torch.from_numpy(evaluator.run(None, {"input": network.grids["input"].decode(codes).float().numpy()})[0])


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("name", ["MLP", "LeNet-5", "MobileNet"])
def test_qonnx_is_the_network_in_real_numbers(name, bits):
    """Between the nodes all is float32, which is exact enough here for every code."""
    network, codes = converted(name, bits, count=4)
    theirs = through_qonnx(network, codes)
    grid = network.output_grid
    assert differences(network(codes), grid.encode(theirs.double())).max() == 0
    torch.testing.assert_close(theirs.double(), grid.decode(network(codes)), rtol=0, atol=1e-4 * grid.scale)


def test_qonnx_has_the_bits_of_every_weight_and_activation():
    network, _ = converted("LeNet-5", 4, count=4)
    model = to_onnx(network, "qonnx")
    onnx.checker.check_model(model)
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type == "Quant"]
    bits = {node.output[0]: float(constants[node.input[3]]) for node in nodes}
    layers = list(network.layers())
    assert {bits[f"{name}..weight"] for name in layers} == {4}
    assert bits["input..quantized"] == bits[layers[-1]] == 8  # the borders
    assert {bits[name] for name in layers[:-1]} == {4}
    assert len(nodes) == 2 * len(layers) + 1


def test_qonnx_takes_fine_biases_and_weights_of_nine_bits():
    torch.manual_seed(0)
    images = torch.rand(8, 4)
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    network = to_integers(prepare(with_inq_codes(model.double(), 5), images.double()), images[:1].double(), "even", 8)
    assert {layer.weight_bits for layer in network.layers().values()} == {9}
    codes = torch.randint(0, 256, (500, 4), dtype=torch.uint8)
    off = differences(network(codes), network.output_grid.encode(through_qonnx(network, codes).double()))
    assert off.max() <= 1
    assert off.float().mean() < 1e-2
    with pytest.raises(ValueError, match="bias_fraction=0"):
        to_onnx(network, "qdq")


def test_qonnx_takes_signed_codes():
    """Symmetric quantizers have no code -128, which is the setting "narrow"."""
    torch.manual_seed(0)
    images = torch.randn(8, 4)
    layers = [
        UniformQuantizer(8),
        nn.Linear(4, 6),
        nn.ReLU(),
        UniformQuantizer(5),
        nn.Linear(6, 3),
        UniformQuantizer(6),
    ]
    network = to_integers(prepare(nn.Sequential(*layers), images), images[:1], "even")
    codes = torch.randint(-127, 128, (500, 4), dtype=torch.int8)
    off = differences(network(codes), network.output_grid.encode(through_qonnx(network, codes).double()))
    assert off.max() <= 1
    assert off.float().mean() < 1e-2
    assert network(codes).unique().numel() > 30


def test_qonnx_refuses_a_grid_of_no_whole_bits_by_name():
    network, _ = converted("MLP")
    network.grids["input"] = replace(network.grids["input"], q_max=200)
    with pytest.raises(ValueError, match="input: QONNX has no grid from 0 to 200"):
        to_onnx(network, "qonnx")


def test_fine_biases_are_refused():
    images = torch.rand(8, 4)
    network = to_integers(prepare(nn.Sequential(nn.Linear(4, 2)), images), images[:1], bias_fraction=4)
    with pytest.raises(ValueError, match="bias_fraction=0"):
        to_onnx(network, "qdq")


def test_forms_and_operators():
    network, _ = converted("ResNet-18", count=2)
    kinds = {form: [node.op_type for node in to_onnx(network, form).graph.node] for form in FORMS}
    assert kinds["qoperator"].count("QLinearConv") == 20
    assert kinds["qoperator"].count("QLinearAdd") == 8
    assert {"QGemm", "QLinearGlobalAveragePool", "MaxPool"} <= set(kinds["qoperator"])
    assert "DequantizeLinear" not in kinds["qoperator"]
    assert kinds["qdq"].count("Conv") == 20
    for form in FORMS:
        onnx.checker.check_model(to_onnx(network, form))
    with pytest.raises(ValueError, match="form must be one of"):
        to_onnx(network, "half")


def test_the_float_form_is_the_network_without_quantizers():
    network, codes = converted("VGG-small")
    real = network.grids["input"].decode(codes).float()
    result = run(session(to_onnx(network, "float")), real)
    off = (result - network.output_grid.decode(network(codes))).abs().max() / network.output_grid.scale
    assert 0.5 < off < 12  # in steps of the output: near, and not rounded


def test_qdq_unfused_is_the_simulation():
    network, codes = converted("LeNet-5")
    fused, simulated = (run(session(to_onnx(network, "qdq"), fuse), codes) for fuse in (True, False))
    assert differences(fused, simulated).max() <= 1


def test_qdq_means_the_same_to_another_runtime():
    """The reference evaluator of ONNX, in numpy and float32, on the network without ONNX Runtime's own operators."""
    network, codes = converted("MobileNet", count=4)
    evaluator = ReferenceEvaluator(to_onnx(network, "qdq"))
    (theirs,) = evaluator.run(None, {"input": codes.numpy()})
    assert differences(network(codes), torch.from_numpy(theirs)).max() <= 1


def test_int8_activations_and_a_narrow_range():
    torch.manual_seed(0)
    model = nn.Sequential(UniformQuantizer(8), nn.Linear(8, 8), UniformQuantizer(6), nn.Linear(8, 4))
    images = torch.randn(64, 8)
    network = to_integers(prepare(model, images), images[:1], "even")
    codes = network.grids["input"].encode(2 * images)
    assert codes.dtype == torch.int8
    assert network.trace(codes)["1"].abs().max() == 31
    assert differences(network(codes), run(session(to_onnx(network, "qdq")), codes)).max() <= 1
    with pytest.raises(ValueError, match="uint8 codes throughout"):
        to_onnx(network, "qoperator")


def test_sixteen_bits_are_too_few_for_two_products():
    """2 · 255 · 127 exceeds 2**15. With ``exact`` the runtime avoids such sums on any CPU; without it, on some it clips
    (no VNNI), on others it does not: so only the exact mode is asserted."""
    images = torch.ones(4, 64)
    model = nn.Sequential(nn.Linear(64, 2))
    nn.init.constant_(model[0].weight, 1.0)
    network = to_integers(prepare(model, images), images[:1], "even")
    codes = network.grids["input"].encode(images)
    assert codes.unique().tolist() == [255]
    assert network.steps["0"].weight.unique().tolist() == [127]
    assert torch.equal(run(session(to_onnx(network, "qoperator")), codes), network(codes))


@pytest.mark.parametrize("size", [7, 8, 9, 10])
@pytest.mark.parametrize("geometry", [(2, 4, 1), (2, 2, 0), (3, 2, 1), (2, 3, 1), (3, 3, 1)])
def test_ceil_mode_of_a_pool(geometry, size):
    """PyTorch drops a window that begins in the padding."""
    torch.manual_seed(0)
    kernel, stride, padding = geometry
    pool = nn.MaxPool2d(kernel, stride, padding, ceil_mode=True)
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), pool).eval()
    images = torch.rand(4, 1, size, size)
    network = to_integers(prepare(model, images), images[:1])
    codes = network.grids["input"].encode(images)
    ours, theirs = network(codes), run(session(to_onnx(network, "qdq")), codes)
    assert ours.shape == theirs.shape
    assert differences(ours, theirs).max() <= 1


@pytest.mark.parametrize(
    "names", [("input", "output"), ("a", "a_sum"), ("constant_0", "constant_1"), ("b", "b_weight")]
)
def test_users_may_name_their_modules_as_they_like(names):
    torch.manual_seed(0)
    model = nn.Sequential(
        OrderedDict(zip((names[0], "relu", names[1]), (nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3)), strict=True))
    )
    images = torch.rand(16, 4)
    network = to_integers(prepare(model.eval(), images), images[:1])
    codes = network.grids["input"].encode(images)
    for form in ("qoperator", "qdq"):
        assert differences(network(codes), run(session(to_onnx(network, form)), codes)).max() <= 1


def test_the_float_form_has_a_relu_where_the_model_has_one_and_nowhere_else():
    """A layer whose outputs calibration saw above 0 only has the grid of a ReLU, and none."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Identity(), nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 2)).eval()
    with torch.no_grad():
        model[0].weight.abs_()
        model[0].bias.abs_()
    images = torch.rand(64, 3)
    network = to_integers(prepare(model, images), images[:1])
    steps = [step.output for step in network.layers().values()]
    assert [step.q_min == step.zero_point for step in steps[:2]] == [True, True]
    assert [step.relu for step in steps] == [False, True, False]
    kinds = [node.op_type for node in to_onnx(network, "float").graph.node]
    assert kinds.count("Relu") == 1


# --- Sums of 16 bits --------------------------------------------------------------------------------------------------


def test_the_probe_finds_what_a_network_without_guard_meets():
    """With the largest products, a layer without the guard is right exactly where nothing saturates."""
    size = 64
    weight = torch.full((size, size), 127, dtype=torch.int8)
    factor = fixed_point(torch.full((size,), 1 / (127.0 * size)))
    output = Requantizer(*factor, zero_point=0, q_min=0, q_max=255, rounding="even", relu=True)
    layer = Layer(weight, torch.zeros(size, dtype=torch.int32), 0, 8, None, 0, 255, output)
    grid = Grid(1.0, 0, 0, 255)
    scales = {"layer": torch.full((size,), 1 / (127.0 * size), dtype=torch.float64)}
    network = IntegerNetwork({"layer": layer}, {"layer": ("input",)}, {"input": grid, "layer": grid}, scales, (size,))
    codes = torch.full((size, size), 255, dtype=torch.uint8)
    bare, guarded = (run(session(to_onnx(network, "qoperator"), guard=guard), codes) for guard in (False, True))
    assert torch.equal(guarded, network(codes))
    assert torch.equal(bare, network(codes)) == (not products_saturate())


@pytest.mark.parametrize("saturates", [False, True])
def test_sessions_are_guarded_where_the_processor_needs_it(saturates, monkeypatch):
    monkeypatch.setattr(onnx_export, "products_saturate", lambda: saturates)
    model = to_onnx(to_integers(prepare(MLP((4, 3, 2)).eval(), torch.rand(8, 4)), torch.rand(1, 4)), "qoperator")
    for guard, expected in ((None, saturates), (True, True), (False, False)):
        options = session(model, guard=guard).get_session_options()
        assert options.get_session_config_entry("session.x64quantprecision") == str(int(expected))
