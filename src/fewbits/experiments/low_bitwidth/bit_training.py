"""The CNN of the experiment ``low_bitwidth``, trained to the end on packed bits."""

import time
from functools import partial

import torch
from torch import nn

from fewbits import evidence
from fewbits.data import Dataset, load
from fewbits.evidence import Claim, own_claim, part
from fewbits.experiments.common import checkpoint_path
from fewbits.experiments.low_bitwidth.networks import clip, cnn, train_cnn
from fewbits.low_bitwidth import DoReFaActivation
from fewbits.low_bitwidth.bit_planes import BitPlaneConv2d
from fewbits.training import correct, save_model, seed_everything

BITS: dict = {"weight_bits": 1, "activation_bits": 2, "gradient_bits": 6}


def bit_cnn(on_bits: bool = True) -> nn.Module:
    """The CNN whose three inner convolutions compute forward and backward on bits, or simulate it in floating point."""
    model = cnn(partial(DoReFaActivation, BITS["activation_bits"]), clip)
    assert isinstance(model, nn.Sequential)
    convolutions = [(place, layer) for place, layer in enumerate(model) if isinstance(layer, nn.Conv2d)]
    for place, layer in convolutions[1:]:
        made = BitPlaneConv2d(layer.in_channels, layer.out_channels, **BITS, on_bits=on_bits)
        made.load_state_dict(layer.state_dict())
        model[place] = made
    return model


def train_twins(data: Dataset, epochs: int) -> tuple[nn.Module, int]:
    """A network trained on bits, and how many of its parameters and statistics differ from its simulated twin's."""
    twins = []
    for on_bits in (True, False):
        seed_everything(0)
        model = bit_cnn(on_bits)
        twins.append(train_cnn(model, 0, data, epochs))
    ours, theirs = (model.state_dict() for model in twins)
    return twins[0], sum(int((ours[name] != theirs[name]).sum()) for name in ours)


def bit_claims(differing: int | None = None, right: int | None = None) -> list[Claim]:
    """The claim on training on bits; without a value before it is run."""
    both = "a network with 1-bit weights, 2-bit activations and 6-bit gradients, trained to the end on packed bits"

    def values(value: int | None) -> dict:
        return {"values": [] if value is None else [value], "runs": [] if value is None else ["seed 0"]}

    return [
        own_claim(
            "low_bitwidth/bit-planes",
            f"A training step may run on bits: {both}, has exactly the parameters of its simulated twin, and gets at "
            "least 850 of 1,000 test images",
            part(**values(differing), type="identity", unit="differing numbers", name="differing", high=0),
            part(**values(right), type="count", unit="images", name="correct", low=850),
            scale="notebook",
            paper=("zhou2016dorefa", "abstract", "bit convolutions in the forward and the backward pass"),
        )
    ]


def run_bit_planes(command: str, epochs: int = 8) -> None:
    """Train both twins, keep the network that was trained on bits, record the claim."""
    started = time.perf_counter()
    evidence.code_version()
    torch.set_num_threads(1)
    data = load("mnist5k")
    model, differing = train_twins(data, epochs)
    right = correct(model, data.test_images, data.test_labels)
    print(f"{differing} numbers differ, {right} of {len(data.test_labels)} correct")
    save_model(model, checkpoint_path("low-bitwidth-bit-planes"))
    evidence.record("low_bitwidth", bit_claims(differing, right), command=command, wall_s=time.perf_counter() - started)
