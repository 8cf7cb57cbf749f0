"""The experiment on EfficientNet-Lite0: its table of photographs, its methods, and claims without and with numbers."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from fewbits import evidence
from fewbits.core import container
from fewbits.core.quantizer import encode_parameters, plain_state, stored_state
from fewbits.data import Photographs
from fewbits.experiments.real_network import run as experiment
from fewbits.experiments.real_network.claims import change, make_claims, marks, measured, packed
from fewbits.experiments.real_network.methods import METHODS, built, mean_bits_ratio, with_relu
from fewbits.mixed_precision import DistributionQuantizer


def empty() -> tuple[pd.DataFrame, pd.DataFrame]:
    return pd.DataFrame(columns=experiment.ACCURACY_COLUMNS), pd.DataFrame(columns=experiment.MEASURES_COLUMNS)


def table(**right) -> pd.DataFrame:
    rows = [
        {"method": name, "group": group, "of": len(bits), "right": packed(np.array(bits, dtype=bool))}
        for name, groups in right.items()
        for group, bits in enumerate(groups, start=1)
    ]
    return pd.DataFrame(rows)


def test_marks_are_what_was_packed():
    for count in (1, 7, 8, 200):
        bits = np.random.default_rng(count).random(count) < 0.5
        row = pd.Series({"right": packed(bits), "of": count})
        assert (marks(row) == bits).all()


def test_a_change_counts_photographs_that_both_have_seen():
    rows = table(a=[[1, 1, 0, 0], [1, 1, 1, 1]], b=[[1, 0, 1, 0]])
    found = change(rows, "a", "b", low=-1)
    assert found["images"] == {"gained": 1, "lost": 1, "of": 4}
    assert found["values"] == [0.0]
    found = change(
        rows.assign(right=[packed(np.ones(4, bool)), packed(np.ones(4, bool)), packed(np.zeros(4, bool))]),
        "a",
        "b",
        low=-1,
    )
    assert found["values"] == [-100.0]
    assert change(rows, "a", "missing", low=-1)["values"] == []


def test_claims_without_runs_are_bands_and_with_a_run_a_word(monkeypatch):
    claims = make_claims(*empty())
    assert len({claim["id"] for claim in claims}) == len(claims) == 18
    assert all(not part["values"] for claim in claims for part in claim["parts"])
    for claim in claims:
        evidence.validate(claim)
    _, measures = empty()
    measures.loc[0] = ["integer-differences", "all", 3.0, "cpu"]
    assert measured(measures, "integer-differences", type="count", high=0)["values"] == [3]


def test_groups_and_those_held_out_share_no_photograph():
    labels = torch.arange(1000)
    photographs = Photographs(torch.zeros(1000, 1, 1, 1, dtype=torch.uint8), labels)
    groups = [experiment.group(photographs, number).labels for number in experiment.GROUPS]
    assert len(experiment.held_out(photographs)) == 200
    seen = torch.cat([*groups, labels[labels % 5 == 0]])
    assert torch.equal(seen.sort().values, labels)


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.bn, self.relu = nn.Conv2d(3, 32, 3, bias=False), nn.BatchNorm2d(32), nn.ReLU6()
        self.pool, self.fc = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), nn.Linear(32, 4)

    def forward(self, x):
        return self.fc(self.pool(self.relu(self.bn(self.conv(x)))))


@pytest.mark.parametrize("name", METHODS)
@torch.no_grad()
def test_every_method_gives_a_network_near_the_float_one(name):
    torch.manual_seed(0)
    model = Small()
    images = torch.randn(64, 3, 6, 6)
    model(images)
    expected = model.eval()(images)
    found = built(name, model, images)(images)
    assert not found.requires_grad
    assert ((found - expected).norm() / expected.norm()) < (0.05 if "8 bits" in name or name == "float" else 0.6)
    if name not in ("float", "ReLU in place of ReLU6"):
        assert not torch.equal(found, expected)


def test_mean_bits_are_what_was_asked_for():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.Linear(32, 16))
    ratio = mean_bits_ratio(model, 5.0)
    bits = [DistributionQuantizer(ratio).steps_and_bits(layer.weight.detach())[1] for layer in model]
    mean = (bits[0].sum() * 64 + bits[1].sum() * 32) / (64 * 32 + 32 * 16)
    assert 4.7 < mean <= 5.0


def test_relu_takes_the_place_of_relu6_in_a_copy():
    model = Small()
    changed = with_relu(model)
    assert type(changed.relu) is nn.ReLU
    assert type(model.relu) is nn.ReLU6


@torch.no_grad()
def test_logits_do_not_depend_on_batches():
    torch.manual_seed(0)
    model, images = Small().eval(), torch.randint(0, 256, (7, 3, 6, 6), dtype=torch.uint8)
    together = model((images.float() - 127) / 128)
    assert torch.allclose(experiment.logits(model, images), together, atol=1e-5)


def test_huffman_coded_bytes_are_fewer_than_those_of_indices_of_full_width():
    torch.manual_seed(0)
    model = Small().eval()
    with torch.no_grad():
        model.conv.weight.copy_(model.conv.weight**3)  # most weights near 0, so that a few values are frequent
    shared = built("k-means, 4 bits", model, torch.empty(0))
    codes = container.to_bytes({"weight": encode_parameters(shared)["conv.weight"]})
    decoded = container.to_bytes({"weight": plain_state(shared)["conv.weight"]})
    assert len(decoded) < len(codes)
    found = experiment.huffman_measures(shared, "k-means")
    assert found["huffman-bytes, k-means"] < len(container.to_bytes(stored_state(shared)))
