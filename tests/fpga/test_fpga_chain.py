"""The last links of the chain: a trained layer as the network computes it is what the synthesized gates compute."""

import numpy as np
import pytest
import torch
from shift_vectors import signed32

from fewbits.experiments.common import codes_path
from fewbits.experiments.inq.networks import small_data, small_net
from fewbits.fpga.netlist import Netlist
from fewbits.fpga.network import ShiftAdderNet
from fewbits.fpga.synthesis import element, synthesize
from fewbits.mobileone import reparameterize
from fewbits.training import load_model

CHANNELS, FIRST = 16, 4  # features.4: the first pointwise layer of the network of chapter inq


@pytest.fixture(scope="module")
def trained():
    """The layer alone, what the network feeds into it for two images, (pixels, 16), and what it makes of that."""
    model = reparameterize(small_net(0).eval())
    load_model(model, codes_path("inq-small-5-bit"))
    with torch.no_grad():
        seen = model.features[:FIRST](small_data().test_images[:2])
    layer = ShiftAdderNet(model.features[FIRST : FIRST + 2])
    x = layer.encode(seen).transpose(0, 2, 3, 1).reshape(-1, CHANNELS)
    return layer.layers[0], x, layer.run(x[..., None, None])


def test_trained_layer_runs_on_the_gates(trained):
    """One PE computes each output: the bias times 1 comes first, then a channel a cycle."""
    layer, x, expected = trained
    codes = layer.codes.reshape(CHANNELS, CHANNELS).astype(int)
    assert layer.n1 == 0  # so e = 8 is 1 in the tensor and in the element
    shape = (1 + CHANNELS + 3, len(x), CHANNELS)
    stimulus = {name: np.zeros(shape, np.int64) for name in ("start", "x", "code")}
    stimulus["start"][0] = 1
    stimulus["x"][0], stimulus["code"][0] = layer.bias, 8
    stimulus["x"][1 : 1 + CHANNELS] = x.T[:, :, None]
    stimulus["code"][1 : 1 + CHANNELS] = codes.T[:, None]
    flat = {name: values.reshape(shape[0], -1) for name, values in stimulus.items()}
    sums = signed32(Netlist(synthesize("shift_pe", element(layer.n1))).run(flat)["sum"][-1]).reshape(len(x), CHANNELS)
    assert (np.maximum(sums, 0) == expected).all()
    assert 0.2 < (expected > 0).mean() < 0.9  # the ReLU has not hidden everything


def test_trained_layer_in_parallel_runs_on_the_gates(trained):
    """All 16 products of an output at once, with the circuit that the layer's resources are counted of."""
    layer, x, expected = trained
    circuit = Netlist(synthesize("pointwise", {"CHANNELS": CHANNELS}))
    latency, output = 7, 3
    held = {"weights": layer.codes[output].reshape(-1).astype(int), "bias": np.array([layer.bias[output]])}
    shape = (len(x) // 8, 8)
    stimulus = {name: np.broadcast_to(v, (shape[0] + latency, 8, v.size)) for name, v in held.items()}
    stimulus["x"] = np.concatenate([x.reshape(*shape, CHANNELS), np.zeros((latency, 8, CHANNELS), np.int64)])
    found = circuit.run(stimulus)["y"][latency:].ravel()
    assert (signed32(found) == expected[:, output]).all()
    wrong = dict(stimulus, weights=stimulus["weights"] ^ (np.arange(CHANNELS) == 5))
    assert (signed32(circuit.run(wrong)["y"][latency:].ravel()) != expected[:, output]).any()
