"""MobileNet-V1 and MobileOne: the paper's size, exact reparameterization, and merged training against the branches."""

import copy

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fewbits import plots
from fewbits.binary.shift_based import use_shift_batch_norm
from fewbits.bn_folding import fold_model
from fewbits.core.quantizer import weight_layers
from fewbits.mobileone import (
    ConvBranches,
    MobileNetV1,
    MobileOne,
    depthwise_moments,
    moments,
    patch_moments,
    reparameterize,
)
from fewbits.nets import count_parameters
from fewbits.plots import mobileone as figures

# Arguments of ConvBranches: all that the networks use, and some that they do not.
PLACES = {
    "stem": {"inputs": 3, "outputs": 8, "kernel": 3},
    "stem, same width": {"inputs": 4, "outputs": 4, "kernel": 3},
    "depthwise": {"inputs": 6, "outputs": 6, "kernel": 3, "groups": 6},
    "depthwise, stride 2": {"inputs": 6, "outputs": 6, "kernel": 3, "stride": 2, "groups": 6},
    "pointwise": {"inputs": 4, "outputs": 6, "kernel": 1},
    "pointwise, same width": {"inputs": 5, "outputs": 5, "kernel": 1},
    "pointwise, stride 2": {"inputs": 5, "outputs": 5, "kernel": 1, "stride": 2},
    "5×5, two groups, stride 2": {"inputs": 4, "outputs": 8, "kernel": 5, "stride": 2, "groups": 2},
}


def scatter(model: nn.Module, seed: int = 0) -> nn.Module:
    """Scales, offsets and statistics as after a training; some scales are negative. In float64."""
    generator = torch.Generator().manual_seed(seed)
    model.double()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean):
                tensor.copy_(torch.randn(tensor.shape, generator=generator))
            module.running_var.copy_(0.1 + torch.rand(module.running_var.shape, generator=generator))
    return model


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return ((a - b).abs().max() / b.abs().max()).item()


def images(*shape: int, seed: int = 1) -> torch.Tensor:
    return 1 + torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- Size and shape --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "build", [MobileNetV1, MobileOne, lambda: MobileOne(branches=1), lambda: MobileOne(branches=2)]
)
def test_the_network_at_inference_has_the_paper_s_parameters(build):
    model = reparameterize(build().eval())
    assert count_parameters(model) == 159_236
    assert 32 * count_parameters(model) == 5_095_552
    assert 5 * count_parameters(model) == 796_180
    layers = weight_layers(model)
    assert all(layer.bias is not None for layer in layers.values())
    assert len(layers) == 1 + 2 * (1 + 4 + 5 + 1) + 1
    assert len(list(model.buffers())) == 0
    assert sum(p.numel() for layer in layers.values() for p in layer.parameters()) == 159_236


def test_shapes_and_strides():
    model = MobileNetV1(1, 10, widths=(8, 12, 16), depths=(1, 2, 1)).eval()
    sizes = []
    for layer in weight_layers(model).values():
        layer.register_forward_hook(lambda module, inputs, output: sizes.append(tuple(output.shape[1:])))
    assert model(torch.zeros(2, 1, 15, 10)).shape == (2, 10)
    expected = [(8, 15, 10), (8, 15, 10), (8, 15, 10), (8, 8, 5), (12, 8, 5), (12, 8, 5), (12, 8, 5)]
    assert sizes == [*expected, (12, 4, 3), (16, 4, 3), (10,)]


def test_branches_are_where_shapes_allow():
    model = MobileOne(branches=3)
    kinds = {"scale": 0, "identity": 0}
    for module in model.modules():
        if isinstance(module, ConvBranches):
            sizes = [convolution.kernel_size[0] for convolution in module.convolutions]
            large = module.shape["kernel_size"] == 3
            assert sizes == ([3, 3, 3, 1] if large else [1, 1, 1])
            kinds["scale"] += large
            same = module.shape["in_channels"] == module.shape["out_channels"] and module.shape["stride"] == 1
            assert (module.identity is not None) == same
            kinds["identity"] += same
    # 3×3: the stem and 11 depthwise. Identity: 8 depthwise of stride 1, and 1 + 3 + 4 + 0 pointwise of equal widths.
    assert kinds == {"scale": 12, "identity": 16}
    assert not any(
        len(m.convolutions) > 1 or m.identity for m in MobileNetV1().modules() if isinstance(m, ConvBranches)
    )


def test_every_use_gets_a_fresh_activation():
    made = []

    def activation():
        made.append(nn.Hardtanh())
        return made[-1]

    model = MobileOne(1, 2, widths=(2, 2), depths=(1, 1), activation=activation)
    used = [module for module in model.modules() if isinstance(module, nn.Hardtanh)]
    assert len(made) == 5
    assert {id(module) for module in used} == {id(module) for module in made}


def test_what_makes_no_network_is_refused():
    with pytest.raises(ValueError, match="branches must be at least 1, got 0"):
        MobileOne(branches=0)
    for widths, depths in (((8,), (1, 1)), ((8, 0), (1, 1)), ((8, 8), (1, 0))):
        with pytest.raises(ValueError, match="widths and depths must be as many positive numbers"):
            MobileNetV1(widths=widths, depths=depths)


# --- Reparameterization ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("branches", [1, 3])
@pytest.mark.parametrize("shortcuts", [False, True])
def test_one_convolution_does_what_the_branches_do(place, branches, shortcuts):
    module = scatter(ConvBranches(**PLACES[place], branches=branches, shortcuts=shortcuts)).eval()
    x = images(2, PLACES[place]["inputs"], 7, 8)
    assert relative(module.reparameterize()(x), module(x)) < 1e-12


@pytest.mark.parametrize("build", [MobileNetV1, MobileOne])
def test_a_network_is_reparameterized_exactly(build):
    torch.manual_seed(0)
    model = scatter(build()).eval()
    x = images(3, 3, 16, 16)
    small = reparameterize(model)
    assert relative(small(x), model(x)) < 1e-12
    assert not any(isinstance(module, (ConvBranches, nn.BatchNorm2d)) for module in small.modules())
    assert any(isinstance(module, ConvBranches) for module in model.modules())  # the old one is left alone


def test_mobilenet_agrees_with_general_folding():
    torch.manual_seed(0)
    model = scatter(MobileNetV1()).eval()
    ours, folded = weight_layers(reparameterize(model)), weight_layers(fold_model(model))
    for a, b in zip(ours.values(), folded.values(), strict=True):
        torch.testing.assert_close(a.weight, b.weight, rtol=1e-12, atol=0)
        torch.testing.assert_close(a.bias, b.bias, rtol=1e-12, atol=1e-14)


def test_a_changed_statistic_would_be_noticed():
    model = scatter(ConvBranches(**PLACES["stem, same width"], branches=2, shortcuts=True)).eval()
    x = images(2, 4, 6, 6)
    convolution = model.reparameterize()
    model.identity.running_mean[0] += 1e-9
    assert relative(convolution(x), model(x)) > 1e-12


def test_train_mode_is_refused():
    model = MobileOne(1, 2, widths=(2,), depths=(1,))
    with pytest.raises(ValueError, match=r"train mode.*call \.eval\(\)"):
        reparameterize(model)
    model.eval()
    model.features[2].norms[1].train()  # one of many is enough
    with pytest.raises(ValueError, match="train mode"):
        reparameterize(model)
    model.eval()
    with pytest.raises(ValueError, match="no ConvBranches"):
        reparameterize(reparameterize(model))


@pytest.mark.parametrize("merged", [False, True])
def test_branches_with_another_normalization_are_not_merged(merged):
    # AP2 in its scale: as a batch normalization it would be folded to wrong numbers.
    branches = use_shift_batch_norm(ConvBranches(3, 3, 3, branches=2, merged=merged))
    with pytest.raises(TypeError, match=r"must be nn\.Conv2d and nn\.BatchNorm2d, got Conv2d and ShiftBatchNorm"):
        branches.eval().reparameterize()
    if merged:
        with pytest.raises(TypeError, match="got Conv2d and ShiftBatchNorm"):
            branches.train()(torch.randn(2, 3, 4, 4))


# --- Merged training -------------------------------------------------------------------------------------------------


def twins(module: nn.Module) -> tuple[nn.Module, nn.Module]:
    """The same network in train mode, branch by branch and merged."""
    merged = copy.deepcopy(module)
    for part in merged.modules():
        if isinstance(part, ConvBranches):
            part.merged = True
    return module.train(), merged.train()


def assert_same_step(plain: nn.Module, merged: nn.Module, x: torch.Tensor, tolerance: float = 1e-9) -> None:
    """Outputs, gradients of all parameters and of the input, and running statistics agree."""
    results = []
    for model in (plain, merged):
        model.zero_grad()
        inputs = x.clone().requires_grad_()
        output = model(inputs)
        output.sin().sum().backward()
        results.append([output, inputs.grad, *(p.grad for p in model.parameters()), *model.buffers()])
    for a, b in zip(*results, strict=True):
        # Some gradients are zero (a constant that BN takes away), so relative to the largest number of all.
        assert (a - b).abs().max() <= tolerance * max(1.0, a.abs().max().item())


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("shortcuts", [False, True])
def test_merged_training_is_training(place, shortcuts):
    plain, merged = twins(scatter(ConvBranches(**PLACES[place], branches=3, shortcuts=shortcuts)))
    for seed in range(3):  # running statistics add up
        assert_same_step(plain, merged, images(4, PLACES[place]["inputs"], 7, 8, seed=seed))
    assert merged.norms[0].num_batches_tracked == 3


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_whole_network_trains_the_same_way(memory_format):
    torch.manual_seed(0)
    plain, merged = twins(MobileOne(widths=(8, 16), depths=(1, 2), branches=4).double())
    x = images(4, 3, 12, 12).contiguous(memory_format=memory_format)
    optimizers = [torch.optim.SGD(model.parameters(), 0.05, momentum=0.9) for model in (plain, merged)]
    for _ in range(3):
        assert_same_step(plain, merged, x)
        for optimizer in optimizers:
            optimizer.step()
    for a, b in zip(plain.parameters(), merged.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    assert torch.allclose(plain.eval()(x), merged.eval()(x), rtol=1e-9)
    assert plain.state_dict().keys() == merged.state_dict().keys()


def _scale(model):
    model.norms[1].weight.data[0] += 1e-6


def _kernel(model):
    model.convolutions[0].weight.data[0, 0] += 1e-6


def _statistics(model):
    model.norms[0].running_var[0] += 1e-6


def _epsilon(model):
    for norm in model.norms:
        norm.eps = 1.1e-5


def _not_counted(model):
    model.norms[0].num_batches_tracked -= 1


@pytest.mark.parametrize("damage", [_scale, _kernel, _statistics, _epsilon, _not_counted])
def test_the_comparison_notices_a_small_difference(damage):
    plain, merged = twins(scatter(ConvBranches(**PLACES["pointwise"], branches=2)))
    damage(merged)
    with pytest.raises(AssertionError):
        assert_same_step(plain, merged, images(4, 4, 5, 5))


def test_merged_runs_no_branch(monkeypatch):
    """Otherwise the comparisons above would compare the branches with themselves."""
    module = ConvBranches(**PLACES["stem"], branches=3, shortcuts=True, merged=True).train()
    calls = []
    for convolution in module.convolutions:
        convolution.register_forward_hook(lambda *_: calls.append(1))
    x = images(2, 3, 6, 6).float()
    module(x)
    assert calls == []
    module.eval()(x)
    assert len(calls) == 4
    module.train().merged = False
    module(x)
    assert len(calls) == 8


def test_merged_runs_one_convolution_in_evaluation(monkeypatch):
    plain, merged = twins(MobileOne(widths=(8, 16), depths=(1, 2), branches=3).double())
    x = images(4, 3, 8, 8)
    plain(x), merged(x)  # statistics that differ from the initial ones
    plain.eval(), merged.eval()
    expected = plain(x)
    with torch.no_grad():
        monkeypatch.setattr(nn.BatchNorm2d, "forward", None)
        assert torch.allclose(merged(x), expected, rtol=1e-9)
        with pytest.raises(TypeError):
            plain(x)


def test_half_precision_has_statistics_of_full_precision():
    torch.manual_seed(0)
    model = ConvBranches(**PLACES["pointwise, same width"], branches=2, shortcuts=True, merged=True)
    x = images(8, 5, 8, 8).float() * 0.01 + 3  # mean 300 times the deviation: hopeless in bfloat16
    full = copy.deepcopy(model)
    full(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = model(x)
    assert y.dtype == torch.bfloat16
    for a, b in zip(model.norms, full.norms, strict=True):
        assert torch.equal(a.running_var, b.running_var)


def test_one_value_per_channel_has_no_statistics():
    for merged in (False, True):
        module = ConvBranches(**PLACES["pointwise"], merged=merged)
        with pytest.raises(ValueError, match=r"more than (one|1) value per channel"):
            module(torch.zeros(1, 4, 1, 1))


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (1, 2), (3, 1), (3, 2), (5, 2)])
def test_patch_moments_are_those_of_the_patches(kernel, stride):
    x = images(3, 2, 6, 5)
    patches = F.unfold(x, kernel, padding=kernel // 2, stride=stride).transpose(0, 1).flatten(1)
    mean, covariance = patch_moments(x, kernel, stride)
    torch.testing.assert_close(mean, patches.mean(1))
    torch.testing.assert_close(covariance, torch.cov(patches, correction=0))


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 2)])
def test_gradients_of_the_moments(kernel, stride):
    """The mean in the covariance has none by design; finite differences see that none is missing."""
    x = images(2, 2, 3, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: patch_moments(x, kernel, stride), x)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 4), (2, 2), (3, 2), (5, 3), (6, 7)])
def test_depthwise_moments_are_those_of_the_windows(height, width, memory_format):
    x = images(3, 4, height, width).contiguous(memory_format=memory_format).requires_grad_()
    windows = F.unfold(x, 3, padding=1).unflatten(1, (4, 9)).movedim(0, 2).flatten(2)  # (C, 9, all windows)
    mean, covariance = depthwise_moments(x)
    torch.testing.assert_close(mean, windows.mean(2))
    torch.testing.assert_close(covariance, torch.stack([torch.cov(rows, correction=0) for rows in windows]))
    assert torch.autograd.gradcheck(depthwise_moments, x)


@pytest.mark.parametrize("stride", [2, 3])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 4), (2, 2), (5, 3), (6, 7)])
def test_depthwise_moments_with_a_stride(height, width, stride):
    x = images(3, 4, height, width).requires_grad_()
    windows = F.unfold(x, 3, padding=1, stride=stride).unflatten(1, (4, 9)).movedim(0, 2).flatten(2)
    mean, covariance = depthwise_moments(x, stride)
    torch.testing.assert_close(mean, windows.mean(2))
    torch.testing.assert_close(covariance, torch.stack([torch.cov(rows, correction=0) for rows in windows]))
    assert torch.autograd.gradcheck(lambda x: depthwise_moments(x, stride), x)


@pytest.mark.parametrize("stride", [1, 2])
def test_window_sums_are_those_of_other_devices(stride):
    """On the CPU the sums are compiled code, in blocks of images; elsewhere and in bfloat16 PyTorch adds up."""
    x = images(37, 8, 6, 7).float().contiguous(memory_format=torch.channels_last)
    ours, expected = [], []
    for results, sums in ((ours, moments._window_sums), (expected, moments._unfolded_sums)):
        leaf = x.clone().requires_grad_()
        first, second = sums(leaf, stride)
        (first.square().sum() + (second * second.detach().cos()).sum()).backward()
        results += [first.float(), second.float(), leaf.grad]
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-3)
    half = depthwise_moments(x.bfloat16(), stride)
    for a, b in zip(depthwise_moments(x, stride), half, strict=True):
        torch.testing.assert_close(a, b.float(), rtol=0.1, atol=0.1)


def test_window_sums_do_not_depend_on_the_number_of_threads():
    x = images(50, 8, 6, 7).float()
    threads, results = torch.get_num_threads(), []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        try:
            results.append(depthwise_moments(x, 2))
        finally:
            torch.set_num_threads(threads)
    for mean, covariance in results[1:]:
        assert torch.equal(mean, results[0][0])
        assert torch.equal(covariance, results[0][1])


# --- Figures ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("book_theme")
def test_kernels_share_one_map_of_signs_and_readable_numbers():
    weights = torch.tensor([[0.5, -0.3], [0.25, 0.0]])
    panels = figures.kernels({"a": weights, "b": 2 * weights}, 3 * weights).axes
    assert [panel.get_title(loc="left") for panel in panels] == ["a", "b", "merged kernel"]
    assert [text.get_text() for text in panels[2].texts] == ["1.50", "−0.90", "0.75", "0", "="]
    assert {panel.images[0].get_clim() for panel in panels} == {(-1.5, 1.5)}  # the same colours in all panels
    assert all(panel.images[0].get_cmap() == plots.SIGN_MAP for panel in panels)


@pytest.mark.usefixtures("book_theme")
def test_step_times_name_the_machine_and_the_seconds():
    rows = {"form": ["one", "merged"], "ratio": [2.0, 1.0], "low": [1.5, 1.0], "high": [3.0, 1.0]}
    rows |= {"seconds": [0.5, 0.25], "threads": [2, 2], "device": ["Intel(R) Xeon(R)"] * 2}
    axis = figures.step_times(pd.DataFrame(rows)).axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["merged branches", "one"]
    assert [text.get_text() for text in axis.texts] == ["0.25 s", "0.50 s", "time"]
    assert axis.get_title(loc="left") == "Intel Xeon, 2 threads"
    alone = figures.step_times(pd.DataFrame(rows | {"threads": [1, 1]})).axes[0]
    assert alone.get_title(loc="left") == "Intel Xeon, 1 thread"
    assert axis.collections[1].get_segments()[0][:, 0].tolist() == [1.5, 3.0]


@pytest.mark.usefixtures("book_theme")
def test_accuracy_through_inq_begins_at_float_and_ends_with_what_is_lost():
    runs = pd.DataFrame({"network": "mobileone", "seed": [0, 1], "form": "float", "accuracy": [66.0, 65.0]})
    rows = [(0, 1, 0.5, 10.0, 60.0), (0, 2, 1.0, 62.0, None), (1, 1, 0.5, 5.0, 50.0), (1, 2, 1.0, 45.5, None)]
    stages = pd.DataFrame(rows, columns=["seed", "stage", "fraction", "frozen", "trained"]).assign(network="mobileone")
    axis = figures.accuracy_through_inq(runs, stages, {"mobileone": (64.0, 63.0)}).axes[0]
    lines = [line.get_xydata().tolist() for line in axis.lines if len(line.get_xydata()) == 4]
    # A freezing at its tick, the training after it half-way to the next.
    assert lines == [
        [[0, 66.0], [1, 10.0], [1.5, 60.0], [2, 62.0]],
        [[0, 65.0], [1, 5.0], [1.5, 50.0], [2, 45.5]],
    ]
    assert {text.get_text() for text in axis.texts} == {"−4.0", "−19.5", "paper −1.0"}
    assert [label.get_text() for label in axis.get_xticklabels()] == ["float", "50 %", "100 %"]


@pytest.mark.usefixtures("book_theme")
def test_rows_of_merging_and_of_recipes_are_in_order_and_named():
    merging = pd.DataFrame({"form": [*figures.ORDERS] * 2, "accuracy": range(12), "on_grid": 0.15})
    axis = figures.accuracy_by_order(merging).axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == list(figures.ORDERS.values())
    assert [text.get_text() for text in axis.texts] == ["15 %"] * 6 + ["on the grid"]
    lost = [("mobileone", "plain", 4.0), ("mobileone", "plain", 8.0), ("mobilenet", "plain", 2.0)]
    axis = figures.points_lost(pd.DataFrame(lost, columns=["network", "variant", "lost"]), 1.25).axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["MobileNet-V1", "MobileOne"]
    means = [line.get_xdata().tolist() for line in axis.lines if line.get_marker() == plots.MARKERS["inq"]]
    assert means == [[2.0], [6.0]]
    # The interval of 4 and 8 goes on below 0, where a logarithmic axis ends.
    assert [line.get_ydata()[0] for line in axis.lines if line.get_marker() == "<"] == [1]
    assert [text.get_text() for text in axis.texts] == ["paper's MobileOne 1.25"]


@pytest.mark.usefixtures("book_theme")
def test_corrections_are_means_over_the_networks():
    frame = pd.DataFrame([(form, 60.0, 2.0, 30.0, 50.0) for form in figures.FORMS] * 2)
    frame.columns = ["form", "float", "all", "means", "corrected"]
    frame.loc[0, "all"] = 4.0  # as trained, of the first network
    both = pd.concat([frame.assign(network=network) for network in figures.NETWORKS])
    panels = figures.accuracy_after_correction(both).axes
    assert [panel.get_title(loc="left") for panel in panels] == ["MobileNet-V1", "MobileOne"]
    for panel in panels:
        marks = {(*line.get_xydata()[0], line.get_marker()) for line in panel.lines if line.get_marker() in "osD"}
        first = {(3.0, 0, "o"), (2.0, 1, "o"), (2.0, 2, "o")}
        assert marks == first | {(30.0, row, "s") for row in range(3)} | {(50.0, row, "D") for row in range(3)}


@pytest.mark.usefixtures("book_theme")
def test_layers_are_shown_by_kind_on_an_axis_of_powers_of_two():
    rows = [("a", "full", 1.0), ("a", "depthwise", 5.0), ("b", "full", 0.5), ("b", "linear", 0.25)]
    frame = pd.DataFrame(rows, columns=["network", "kind", "largest"])
    figure = figures.largest_weights(frame)
    shown = [
        {line.get_marker(): line.get_xydata().tolist() for line in axis.lines if len(line.get_xdata())}
        for axis in figure.axes
    ]
    assert shown == [{"o": [[1, 1.0]], "s": [[2, 5.0]]}, {"o": [[1, 0.5]], "^": [[2, 0.25]]}]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(figures.KINDS)
    assert [[text.get_text() for text in axis.texts] for axis in figure.axes] == [["5"], []]  # the largest of all
    figure.canvas.draw()
    assert {"1/2", "1", "4"} <= {label.get_text() for label in figure.axes[0].get_yticklabels()}


OWN_SETTINGS = {
    "frozen": lambda norm, index: norm.eval(),
    "eps": lambda norm, index: setattr(norm, "eps", 0.1 * (index + 1)),
    "momentum=None": lambda norm, index: setattr(norm, "momentum", None),
}


@pytest.mark.parametrize("name", OWN_SETTINGS)
def test_normalizations_with_settings_of_their_own_run_branch_by_branch(name):
    plain, merged = twins(scatter(ConvBranches(**PLACES["pointwise"], branches=2, shortcuts=True)))
    for module in (plain, merged):
        for index, norm in enumerate(part for part in module.modules() if isinstance(part, nn.BatchNorm2d)):
            OWN_SETTINGS[name](norm, index)
    assert_same_step(plain, merged, images(4, PLACES["pointwise"]["inputs"], 7, 8))


def test_normalizations_without_factors_or_statistics():
    torch.manual_seed(0)
    branches = ConvBranches(3, 4, 3).eval()
    branches.norms[0] = nn.BatchNorm2d(4, affine=False).eval()
    branches.norms[0].running_mean.normal_()
    x = torch.randn(2, 3, 6, 6)
    torch.testing.assert_close(branches.reparameterize()(x), branches(x), rtol=1e-5, atol=1e-5)
    branches.norms[0] = nn.BatchNorm2d(4, track_running_stats=False).eval()
    with pytest.raises(ValueError, match="keeps no running statistics"):
        branches.reparameterize()


def test_a_block_alone_or_at_two_places_is_reparameterized():
    block = ConvBranches(4, 4, 3, branches=2, shortcuts=True).eval()
    x = torch.randn(2, 4, 5, 5)
    alone = reparameterize(block)
    assert type(alone) is nn.Conv2d
    assert torch.allclose(alone(x), block(x), atol=1e-5)
    twice = reparameterize(nn.Sequential(block, nn.ReLU(), block).eval())
    assert twice[0] is twice[2]
    assert type(twice[0]) is nn.Conv2d
