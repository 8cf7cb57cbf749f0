"""What rounding a single layer costs: the allocations that are measured, and the rounding of chosen layers alone."""

import torch
from torch import nn

from fewbits.core.macs import LayerWork, layer_work
from fewbits.experiments.mixed_precision import single_layers
from fewbits.uniform import UniformQuantizer


def small_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4)).eval()


def test_the_largest_layers_come_first_until_they_hold_half():
    assert single_layers.heaviest([1, 5, 3, 1]) == [False, True, False, False]
    assert single_layers.heaviest([2, 2, 2, 2]) == [True, True, False, False]
    assert single_layers.heaviest([4, 5, 3]) == [True, True, False]


def test_only_the_chosen_layers_are_rounded_and_the_model_stays():
    model = small_net()
    before = [model[0].weight.clone(), model[3].weight.clone()]
    rounded = single_layers.rounded(model, [32, 3])
    assert torch.equal(rounded[0].weight, before[0])
    assert torch.equal(rounded[3].weight, UniformQuantizer(3, channel_axis=0)(before[1]))
    assert [torch.equal(model[0].weight, before[0]), torch.equal(model[3].weight, before[1])] == [True, True]


def test_a_single_layer_is_counted_as_in_the_whole_network():
    model, images = small_net(), torch.randn(50, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    labels = model(images).argmax(1)
    rows = list(single_layers.single_layers(model, images, labels))
    assert [row["bits"] for row in rows[:2]] == ["2 32", "3 32"]
    assert rows[-1]["bits"] == "32 8"
    for row in rows:
        whole = single_layers.rounded(model, [int(count) for count in row["bits"].split()])
        assert row["correct"] == int((whole(images).argmax(1) == labels).sum())
    assert rows[0]["correct"] < 50


def test_whole_allocations_give_each_layer_bits():
    works: list[LayerWork] = layer_work(small_net(), (1, 4, 4))
    found = list(single_layers.allocations(works))
    assert [kind for kind, _ in found].count("random") == single_layers.RANDOM
    assert all(len(bits) == 2 and set(bits) <= set(range(2, 9)) for _, bits in found)
    kinds = dict(found)
    assert kinds["weights"] == [8, 4]
    assert kinds["MACs"] == [4, 8]
