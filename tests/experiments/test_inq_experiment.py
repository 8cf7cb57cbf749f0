"""INQ of ResNet-18 by the schedules of its paper: the runner on 20 images, its rows and its claims."""

import pandas as pd
import pytest
import torch
from torch import nn

from fewbits import evidence
from fewbits.data import Dataset
from fewbits.experiments import __main__ as cli
from fewbits.experiments.inq import claims, resnet
from fewbits.inq import RESNET18, halving


def small_resnet() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(900, 100))


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """20 random images in place of CIFAR-100, and a small network; all that is written goes to ``tmp_path``."""
    images, labels = torch.randn(20, 3, 32, 32), torch.arange(20)
    data = Dataset("test", images, labels, images, labels, tuple(map(str, range(100))))
    monkeypatch.setenv("FEWBITS_RESULTS", str(tmp_path))
    monkeypatch.setattr("fewbits.evidence.records.code_version", lambda: "unknown")  # the tree may have changes
    monkeypatch.setattr(resnet, "run_folder", lambda name: tmp_path / "data" / "runs" / name)
    monkeypatch.setattr(resnet, "cifar100", lambda device: data)
    monkeypatch.setattr(resnet, "resnet", small_resnet)


RUN = ["inq", "--network", "resnet18", "--epochs", "2", "--inq-epochs", "1", "--bits", "5", "3"]


def test_every_bit_width_has_its_own_schedule(tmp_path, tiny):
    cli.main(RUN)
    rows = evidence.rows("inq_resnet").set_index("bits")
    assert rows.epochs.to_dict() == {32: 2, 5: 3, 3: 7}
    assert (rows.changed[[5, 3]] == 0).all()
    stages = evidence.rows("inq_resnet_stages")
    for bits in (5, 3):
        assert stages[stages.bits == bits].fraction.tolist() == list(RESNET18[bits])
    before = evidence.rows("inq_resnet")
    with pytest.raises(SystemExit, match=r"data/runs/inq-resnet18-0 holds the state .* --resume"):
        cli.main(RUN)
    cli.main([*RUN, "--resume"])  # everything is there
    pd.testing.assert_frame_equal(evidence.rows("inq_resnet"), before)
    by_id = {claim["id"]: claim for claim in evidence.load("inq")}
    assert list(by_id) == ["inq/resnet-3-bit", "inq/resnet-5-bit"]
    assert by_id["inq/resnet-5-bit"]["parts"][0]["values"] == [round(rows.accuracy[5] - rows.accuracy[32], 4)]


def test_an_interrupted_run_goes_on(tmp_path, tiny, capsys):
    cli.main([*RUN, "--minutes", "0"])
    assert "The minutes are over in 'float'" in capsys.readouterr().out
    assert not (tmp_path / "inq_resnet.csv").exists()
    cli.main([*RUN, "--resume"])
    assert len(evidence.rows("inq_resnet")) == 3


def test_claims_by_hand():
    columns = {"seed": [0, 1, 2] * 2, "bits": [32] * 3 + [5] * 3, "accuracy": [70.0, 70.0, 70.0, 70.7, 70.8, 70.9]}
    table = pd.DataFrame(columns)
    (claim,) = claims.resnet_claims(table)
    evidence.validate(claim | {"parts": [{k: v for k, v in part.items() if k != "origins"} for part in claim["parts"]]})
    assert claim["parts"][0]["values"] == [0.7, 0.8, 0.9]
    assert evidence.word(claim) == "carries over"
    table.loc[table.bits == 5, "accuracy"] -= 2
    assert evidence.word(claims.resnet_claims(table)[0]) == "does not carry over"
    assert claims.resnet_claims(table[table.bits == 32]) == []


def test_the_schedules_are_those_of_the_paper():
    assert RESNET18[5] == halving(4)
    assert [len(RESNET18[bits]) for bits in (5, 4, 3, 2)] == [4, 6, 8, 10]
    for fractions in RESNET18.values():
        assert list(fractions) == sorted(set(fractions))
        assert fractions[-1] == 1.0
