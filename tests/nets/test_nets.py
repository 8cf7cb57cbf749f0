import pytest
import torch
from torch import nn

from fewbits.nets import MLP, LeNet32x64, ResNet20, VGGSmall, count_parameters


def test_mlp_is_the_formula_written_out():
    torch.manual_seed(0)
    model = MLP((6, 5, 4, 3))
    first, second, last = (layer for layer in model if isinstance(layer, nn.Linear))
    x = torch.randn(7, 1, 2, 3)
    hidden = (x.reshape(7, 6) @ first.weight.T + first.bias).clamp(min=0)
    hidden = (hidden @ second.weight.T + second.bias).clamp(min=0)
    torch.testing.assert_close(model(x), hidden @ last.weight.T + last.bias)


def test_mlp_with_batch_norm_has_no_bias_before_it():
    model = MLP((6, 5, 3), batch_norm=True)
    assert [type(layer) for layer in model] == [nn.Flatten, nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    assert model[1].bias is None
    assert model[4].bias is not None
    assert count_parameters(model) == 6 * 5 + 2 * 5 + 5 * 3 + 3


def test_mlp_without_hidden_layers_is_linear():
    assert [type(layer) for layer in MLP((4, 2))] == [nn.Flatten, nn.Linear]


@pytest.mark.parametrize("sizes", [(), (4,), (4, 0, 2)])
def test_mlp_refuses_bad_sizes(sizes):
    with pytest.raises(ValueError, match="sizes must be"):
        MLP(sizes)


@pytest.mark.parametrize(("channels", "size", "left"), [(1, 28, 3), (3, 32, 4), (1, 8, 1)])
def test_vgg_shapes_on_all_data_sets(channels, size, left):
    model = VGGSmall(channels, size, 10, widths=(4, 4, 6, 6, 8, 8))
    assert model(torch.rand(2, channels, size, size)).shape == (2, 10)
    assert model.features(torch.rand(2, channels, size, size)).shape == (2, 8, left, left)


def test_vgg_layers_are_in_the_papers_order():
    model = VGGSmall(3, 32, 10, widths=(4, 4, 6, 6, 8, 8))
    pair = [nn.Conv2d, nn.BatchNorm2d, nn.ReLU] * 2 + [nn.MaxPool2d]
    assert [type(layer) for layer in model.features] == 3 * pair
    plain = VGGSmall(3, 32, 10, widths=(4, 4, 6, 6, 8, 8), batch_norm=False)
    assert [type(layer) for layer in plain.features] == 3 * ([nn.Conv2d, nn.ReLU] * 2 + [nn.MaxPool2d])
    assert all(layer.bias is not None for layer in plain.features if isinstance(layer, nn.Conv2d))


def test_vgg_parameter_count_by_hand():
    widths = (128, 128, 256, 256, 512, 512)
    convolutions = 9 * (3 * 128 + 128 * 128 + 128 * 256 + 256 * 256 + 256 * 512 + 512 * 512)
    assert count_parameters(VGGSmall(3, 32, 10)) == convolutions + 2 * sum(widths) + 8192 * 10 + 10
    with_hidden = convolutions + 2 * sum(widths) + 8192 * 1024 + 2 * 1024 + 1024 * 10 + 10
    assert count_parameters(VGGSmall(3, 32, 10, fc=(1024,))) == with_hidden


def test_vgg_refuses_what_three_pools_cannot_take():
    with pytest.raises(ValueError, match="image_size"):
        VGGSmall(1, 7, 10)
    with pytest.raises(ValueError, match="six"):
        VGGSmall(1, 28, 10, widths=(8, 8))


@pytest.mark.parametrize(
    ("build", "count"),
    [(lambda a: MLP((8, 8, 8, 2), a), 2), (lambda a: VGGSmall(1, 8, 2, (2,) * 6, a, fc=(4,)), 7)],
)
def test_every_use_gets_a_fresh_activation(build, count):
    made = []

    def activation():
        made.append(nn.Hardtanh())
        return made[-1]

    model = build(activation)
    used = [layer for layer in model.modules() if isinstance(layer, nn.Hardtanh)]
    assert len(made) == len(used) == count
    assert {id(layer) for layer in used} == {id(layer) for layer in made}


def test_count_parameters_counts_shared_once_and_no_buffers():
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.BatchNorm1d(3))
    tied[1].weight = tied[0].weight
    tied[0].weight.requires_grad_(False)
    assert count_parameters(tied) == 9 + 3 + 3 + 6


def kinds(layers) -> list[str]:
    return [type(layer).__name__ for layer in layers]


def test_an_mlp_ends_in_batch_normalization_where_the_papers_do():
    model = MLP((6, 5, 3), batch_norm=True, output_norm=True)
    assert kinds(model) == ["Flatten", "Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d"]
    assert model[4].bias is None


def test_xnor_nets_order_of_an_mlp():
    model = MLP((6, 5, 4, 3, 2), nn.Identity, batch_norm=True, norm_first=True)
    block = ["BatchNorm1d", "Identity", "Linear"]
    edge = ["Linear", "BatchNorm1d", "ReLU"]
    assert kinds(model) == ["Flatten", *edge, *block, *block, "BatchNorm1d", "ReLU", "Linear"]
    assert model(torch.rand(7, 6)).shape == (7, 2)
    with pytest.raises(ValueError, match="norm_first needs batch_norm"):
        MLP((6, 5, 3), norm_first=True)


def test_orders_of_a_vgg_stage():
    widths = (4, 4, 6, 6, 8, 8)
    pool_first = VGGSmall(3, 32, 10, widths, order="conv-pool-norm-activation")
    pair = ["Conv2d", "BatchNorm2d", "ReLU", "Conv2d", "MaxPool2d", "BatchNorm2d", "ReLU"]
    assert kinds(pool_first.features) == 3 * pair
    xnor = VGGSmall(3, 32, 10, widths, nn.Identity, order="norm-activation-conv-pool")
    block, edge = ["BatchNorm2d", "Identity", "Conv2d"], ["BatchNorm2d", "ReLU"]
    assert kinds(xnor.features) == [
        *["Conv2d", *edge, *block, "MaxPool2d"],
        *[*block, *block, "MaxPool2d"],
        *[*block, *block, "MaxPool2d", *edge],
    ]
    for model in (pool_first, xnor):
        assert model(torch.rand(2, 3, 32, 32)).shape == (2, 10)
    assert kinds(VGGSmall(3, 32, 10, widths, output_norm=True).classifier)[-1] == "BatchNorm1d"
    for options in ({"order": "pool"}, {"order": "norm-activation-conv-pool", "batch_norm": False}):
        with pytest.raises(ValueError, match="order must be one of"):
            VGGSmall(3, 32, 10, widths, **options)


def test_the_network_of_li2016_has_its_weights():
    model = LeNet32x64()
    assert model(torch.rand(2, 1, 28, 28)).shape == (2, 10)
    weights = 25 * 32 + 25 * 32 * 64 + 1024 * 512 + 512 * 10
    assert count_parameters(model) == weights + 2 * (32 + 64 + 512) + 10


def test_resnet20_has_its_parameters_and_a_shortcut_without_any():
    model = ResNet20().eval()
    assert model(torch.rand(2, 3, 32, 32)).shape == (2, 10)
    convolutions = 9 * (3 * 16 + 6 * 16 * 16 + 16 * 32 + 5 * 32 * 32 + 32 * 64 + 5 * 64 * 64)
    norms = 2 * (7 * 16 + 6 * 32 + 6 * 64)
    assert count_parameters(model) == convolutions + norms + 650 == 269_722
    block = model.blocks[3]  # 16 to 32 channels: with nothing from the convolutions, the input with zeros around it
    nn.init.zeros_(block.bn2.weight)
    x = torch.rand(1, 16, 8, 8)
    expected = torch.zeros(1, 32, 4, 4)
    expected[:, 8:24] = x[:, :, ::2, ::2]
    assert torch.equal(block(x), expected)
