"""Deep Compression: which weights go, that they stay away, what the file holds, and that the network comes back."""

import pytest
import torch
from strategies import same_bits
from torch import nn

from fewbits.core import container
from fewbits.nets import LeNet5
from fewbits.training import fit
from fewbits.vector import DeepCompression, load_network, plain_state


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(12, 40), nn.ReLU(), nn.Linear(40, 3))


def train(model, after_step=None, decay=0.1):
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(64, 12, generator=generator)
    labels = (images[:, 0] > 0).long() + (images[:, 1] > 1).long()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, 0.01, weight_decay=decay)
    fit(model, images, labels, epochs=3, optimizer=optimizer, batch_size=16, after_step=after_step)


def test_the_largest_survive_in_each_layer():
    model = network()
    before = [model[i].weight.detach().clone() for i in (0, 2)]
    DeepCompression(model).prune({"0": 0.1, "2": 0.25})
    for layer, old, kept in ((model[0], before[0], 48), (model[2], before[1], 30)):
        new = layer.weight
        assert int((new != 0).sum()) == kept
        assert torch.equal(new[new != 0], old[new != 0])
        assert new.abs()[new != 0].min() >= old.abs()[new == 0].max()
        assert same_bits(new[new == 0].detach(), torch.zeros(new.numel() - kept))  # no -0.0, which a file would keep


def test_what_is_pruned_stays_pruned_through_training_and_later_steps():
    model = network()
    compression = DeepCompression(model)
    compression.prune(0.5)
    first = model[0].weight == 0
    train(model, compression.keep_pruned)
    assert (model[0].weight[first] == 0).all()
    compression.prune(0.2)
    assert (model[0].weight[first] == 0).all()
    assert int((model[0].weight != 0).sum()) == 96


def test_a_later_call_that_keeps_more_brings_nothing_back():
    """Neither at once, where they are 0, nor when they are trained again."""
    model = network()
    compression = DeepCompression(model)
    compression.prune(0.5)
    first = model[0].weight == 0
    compression.prune(0.8)
    train(model, compression.keep_pruned)
    assert torch.equal(model[0].weight == 0, first)


def test_pruned_weights_that_have_grown_take_no_place_of_others():
    model = network()
    compression = DeepCompression(model)
    compression.prune(0.5)
    first = model[0].weight == 0
    with torch.no_grad():
        model[0].weight[first] = 100.0  # as an optimizer may do that nobody tells what is pruned
    compression.prune(0.2)
    assert (model[0].weight[first] == 0).all()
    assert int((model[0].weight != 0).sum()) == 96


def test_without_keep_pruned_they_would_come_back():
    model = network()
    DeepCompression(model).prune(0.5)
    gone = model[0].weight == 0
    train(model)
    assert (model[0].weight[gone] != 0).any()


def test_ties_are_broken_so_that_the_share_is_met():
    model = nn.Sequential(nn.Linear(10, 10))
    nn.init.ones_(model[0].weight)
    DeepCompression(model).prune(0.3)
    assert int(model[0].weight.sum()) == 30


@pytest.mark.parametrize("coding", container.CODINGS)
def test_every_stage_comes_back_bit_for_bit(coding, tmp_path):
    model, images = network(), torch.randn(20, 12)
    compression = DeepCompression(model)
    sizes = []
    for stage in range(3):
        if stage == 1:
            compression.prune(0.2)
            train(model, compression.keep_pruned)
        if stage == 2:
            compression.share(8)
            train(model)
        path = tmp_path / "net.fewbits"
        sizes.append(compression.save(path, coding))
        back = load_network(network(1), path)
        assert not back.training
        for name, tensor in plain_state(model).items():
            assert same_bits(back.state_dict()[name], tensor)
        assert torch.equal(back(images), model(images))
    assert (sizes[0] > sizes[1] > sizes[2]) == (coding in ("shared", "huffman", "arithmetic"))


def test_sharing_keeps_zeros_and_leaves_few_values():
    model = LeNet5()
    compression = DeepCompression(model)
    compression.prune({"0": 0.66, "2": 0.12, "5": 0.08, "7": 0.19})
    zeros = {name: layer.weight == 0 for name, layer in model.named_children() if hasattr(layer, "weight")}
    compression.share({"0": 16, "2": 32, "5": 4, "7": 8}, "density")
    state = plain_state(model)
    assert set(state) == set(LeNet5().state_dict())
    for (name, mask), k in zip(zeros.items(), (16, 32, 4, 8), strict=True):
        weight = state[f"{name}.weight"]
        assert torch.equal(weight == 0, mask)
        assert len(weight.unique()) == k


def test_a_file_of_another_network_is_refused(tmp_path):
    path = tmp_path / "net.fewbits"
    DeepCompression(network()).save(path)
    with pytest.raises(ValueError, match=r"net\.fewbits does not fit the model: .*0\.weight is \(40, 12\)"):
        load_network(nn.Sequential(nn.Linear(12, 41), nn.ReLU(), nn.Linear(41, 3)), path)


def test_bad_arguments_are_named():
    compression = DeepCompression(network())
    for keep in (0, 1.1, -0.5, {"0": 0.5, "2": 0.0}):
        with pytest.raises(ValueError, match=r"keep must lie in \(0, 1\]"):
            compression.prune(keep)
    with pytest.raises(ValueError, match=r"keep must name the layers \['0', '2'\], got \['0'\]"):
        compression.prune({"0": 0.5})
    with pytest.raises(ValueError, match=r"k must name the layers"):
        compression.share({"1": 4})
    with pytest.raises(ValueError, match="k must be at least 2"):
        compression.share(1)


def test_stages_in_the_wrong_order_are_refused():
    compression = DeepCompression(network())
    compression.share(4)
    with pytest.raises(ValueError, match="shared already"):
        compression.prune(0.5)
    with pytest.raises(ValueError, match="shared already"):
        compression.share(4)
