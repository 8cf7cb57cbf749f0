"""What layers read: windows against the convolutions themselves, second moments against their definition."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fewbits.compensation import output_error, second_moments, windows
from fewbits.core.quantizer import LinearOrConv


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


LAYERS: dict[str, tuple[LinearOrConv, tuple[int, ...]]] = {
    "linear": (nn.Linear(5, 4), (7, 5)),
    "linear, sequence": (nn.Linear(5, 4), (2, 7, 5)),
    "linear, one vector": (nn.Linear(5, 4), (5,)),
    "convolution": (nn.Conv2d(3, 4, 3, padding=1), (2, 3, 6, 5)),
    "stride, dilation, two sides": (nn.Conv2d(3, 4, (3, 2), stride=2, dilation=2, padding=(2, 1)), (2, 3, 9, 8)),
    "same": (nn.Conv2d(3, 4, 4, padding="same"), (2, 3, 6, 5)),
    "reflected": (nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), (2, 3, 6, 5)),
    "circular": (nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"), (2, 3, 6, 5)),
    "depthwise": (nn.Conv2d(4, 4, 3, padding=1, groups=4), (2, 4, 6, 5)),
    "two groups": (nn.Conv2d(4, 6, 3, groups=2), (2, 4, 6, 5)),
    "one image": (nn.Conv2d(3, 4, 3), (3, 6, 5)),
    "one axis": (nn.Conv1d(3, 4, 3, stride=2, padding=1), (2, 3, 9)),
    "one axis, grouped": (nn.Conv1d(4, 4, 2, dilation=2, groups=2), (2, 4, 9)),
    "one axis, no batch": (nn.Conv1d(3, 4, 3), (3, 9)),
}
EACH = pytest.mark.parametrize("name", LAYERS)


def by_windows(layer: LinearOrConv, x: torch.Tensor) -> torch.Tensor:
    """(M, n): the layer's outputs without bias, as products of weights and windows."""
    seen = windows(layer, x)
    return (layer.weight.reshape(len(seen), -1, seen.shape[1]) @ seen).flatten(0, 1)


def outputs(layer: LinearOrConv, x: torch.Tensor) -> torch.Tensor:
    """(M, n): the same from the layer's own forward pass."""
    y = layer(x)
    if isinstance(layer, nn.Linear):
        y = y.reshape(-1, y.shape[-1]).T
    else:
        y = (y if y.dim() == layer.weight.dim() else y[None]).movedim(1, 0).flatten(1)
    return y - layer.bias[:, None]


@EACH
def test_windows_give_what_the_layer_gives(name):
    layer, shape = LAYERS[name]
    layer.double()
    x = randn(*shape)
    torch.testing.assert_close(by_windows(layer, x), outputs(layer, x), rtol=1e-12, atol=1e-12)


@EACH
def test_the_error_is_the_mean_square_of_the_change(name):
    """Over all images and positions, from the second moments alone."""
    layer, shape = LAYERS[name]
    layer.double()
    x, rounded = randn(*shape), layer.weight.detach().round(decimals=1)
    before = outputs(layer, x)
    model = nn.Sequential(layer)
    moments = second_moments(model, x if len(shape) == layer.weight.dim() else x[None])["0"]
    expected = output_error(layer.weight.detach(), rounded, moments)
    changed = F.linear if isinstance(layer, nn.Linear) else layer._conv_forward
    after = changed(x, rounded, None)
    if isinstance(layer, nn.Linear):
        after = after.reshape(-1, after.shape[-1]).T
    else:
        after = (after if after.dim() == layer.weight.dim() else after[None]).movedim(1, 0).flatten(1)
    torch.testing.assert_close(expected, (after - before).square().mean(1), rtol=1e-9, atol=1e-12)


def test_moments_by_hand():
    """(1, 2) and (3, 0): mean of x xᵀ is [[5, 1], [1, 2]]."""
    found = second_moments(nn.Sequential(nn.Linear(2, 1)), torch.tensor([[1.0, 2.0], [3.0, 0.0]]), batch_size=1)
    assert found["0"].tolist() == [[[5.0, 1.0], [1.0, 2.0]]]


def test_a_layer_that_is_called_twice_reads_both():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x):
            return self.layer(x) + self.layer(3 * x)

    x = torch.tensor([[1.0, 2.0]])
    assert torch.equal(second_moments(Twice(), x)["layer"], 5 * torch.tensor([[[1.0, 2.0], [2.0, 4.0]]]).double())


def test_the_modes_of_the_parts_are_kept_and_evaluation_is_used():
    model = nn.Sequential(nn.BatchNorm1d(2, momentum=1.0), nn.Linear(2, 2), nn.Dropout(0.9), nn.Linear(2, 2))
    model[2].eval()
    second_moments(model, torch.randn(9, 2))
    assert [part.training for part in model] == [True, True, False, True]
    assert model[0].running_mean.tolist() == [0, 0]


def test_what_cannot_be_watched_is_named():
    class ByName(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(2, 2)

        def forward(self, x):
            return self.inner(input=x)

    class Functional(ByName):
        def forward(self, x):
            return F.linear(x, self.inner.weight)

    x = torch.ones(1, 2)
    with pytest.raises(ValueError, match="inner is called with its input by name"):
        second_moments(ByName(), x)
    with pytest.raises(ValueError, match="inner is not called as a module"):
        second_moments(Functional(), x)
    with pytest.raises(ValueError, match=r"names has \['outer'\]"):
        second_moments(ByName(), x, ["outer"])
    with pytest.raises(ValueError, match="images are empty"):
        second_moments(ByName(), x[:0])


@pytest.mark.parametrize("shape", [(2, 2), (0, 3, 3), (1, 3, 2), (1, 4, 4), (2, 3, 3)])
def test_moments_that_do_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match="do not fit weights of shape"):
        output_error(torch.ones(3, 3), torch.ones(3, 3), torch.ones(shape))


def test_half_precision_neither_overflows_nor_rounds_the_sum():
    """300 products of 400 and 400 exceed the largest number of float16, 65504, by far."""
    model = nn.Sequential(nn.Linear(2, 2)).half()
    found = second_moments(model, torch.full((300, 2), 400.0).half(), batch_size=300)["0"]
    assert found.tolist() == [[[160000.0, 160000.0], [160000.0, 160000.0]]]


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_moments_that_are_not_finite_are_refused(value):
    moments = torch.eye(3)[None].clone()
    moments[0, 1, 1] = value
    with pytest.raises(ValueError, match="moments holds NaN or Inf"):
        output_error(torch.ones(3, 3), torch.ones(3, 3), moments)
