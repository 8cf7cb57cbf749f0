"""From the file of a 5-bit network to gates without a float weight on the way; the guard shows what it would catch."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from shift_vectors import signed32
from torch import nn

from fewbits.core import container
from fewbits.core.codes import Codes, StoredForm
from fewbits.core.filter_codes import FilterCodes
from fewbits.core.quantizer import weight_layers
from fewbits.core.vector_codes import VectorCodes
from fewbits.experiments.common import codes_path
from fewbits.experiments.inq.networks import small_data, small_net
from fewbits.fpga.fixed_point import QFormat
from fewbits.fpga.netlist import Netlist
from fewbits.fpga.network import ShiftAdderNet
from fewbits.fpga.shift_adder import product
from fewbits.fpga.synthesis import element, hard_wired, synthesize
from fewbits.inq import InqQuantizer, encode_frozen, exponent_of
from fewbits.mobileone import MobileNetV1, reparameterize
from fewbits.training import load_model

PAPER = ("inq-mobilenet-inq", "inq-mobileone-inq")


class FloatWeightError(Exception):
    """A weight has become a float."""


@contextmanager
def no_float_weights() -> Iterator[None]:
    """Whatever would make floats of codes, or codes of floats, raises."""

    def refuse(*_, **__):
        raise FloatWeightError

    with pytest.MonkeyPatch.context() as patch:
        for form in (Codes, FilterCodes, VectorCodes):
            patch.setattr(form, "decode", refuse)
        patch.setattr(InqQuantizer, "encode", refuse)
        patch.setattr(InqQuantizer, "forward", refuse)
        yield


def on_meta(model: nn.Module) -> nn.Module:
    """The structure alone: there is no memory behind its parameters, so no number of them can be read."""
    return model.to("meta")


def test_the_guard_catches_a_decoded_weight(monkeypatch):
    """A reader that goes through floats, as there was one, is noticed."""
    structure = on_meta(reparameterize(small_net(0).eval()))
    path = codes_path("inq-small-5-bit")
    with no_float_weights(), pytest.raises(FloatWeightError):
        ShiftAdderNet(load_model(reparameterize(small_net(0).eval()), path))
    plain = load_model(reparameterize(small_net(0).eval()), path)
    with no_float_weights(), pytest.raises(FloatWeightError):
        ShiftAdderNet(plain)
    through_floats = exponent_of

    def injected(codes: StoredForm, name: str = "codes") -> int:
        return through_floats(InqQuantizer(5).encode(codes.decode()), name)

    monkeypatch.setattr("fewbits.fpga.layers.exponent_of", injected)
    ShiftAdderNet.from_codes(structure, container.load_codes(path))  # works, and would go unnoticed
    with no_float_weights(), pytest.raises(FloatWeightError):
        ShiftAdderNet.from_codes(structure, container.load_codes(path))


@pytest.mark.parametrize("name", PAPER)
def test_the_file_of_a_5_bit_network_is_its_bits_and_a_header(name):
    """159,236 parameters at 5 bits, and less than 40 bytes for each of 48 tensors: name, shape, scale."""
    codes = container.load_codes(codes_path(name))
    structure = reparameterize(MobileNetV1().eval())
    assert {each: form.shape for each, form in codes.items()} == {n: p.shape for n, p in structure.named_parameters()}
    assert {form.bits for form in codes.values()} == {5}
    assert 5 * sum(form.values.numel() for form in codes.values()) == 796_180
    streams = sum(len(form.packed()) for form in codes.values())
    assert streams == 99_523  # 796,180 / 8, with the last byte of each tensor filled up
    assert streams < codes_path(name).stat().st_size < streams + 40 * len(codes)
    assert sum(form.nbits for form in codes.values()) == 796_180 + 32 * len(codes)


@pytest.mark.parametrize("name", PAPER)
def test_the_5_bit_network_reaches_the_shift_adder_without_floats(name):
    with no_float_weights():
        codes = container.load_codes(codes_path(name))
        net = ShiftAdderNet.from_codes(on_meta(reparameterize(MobileNetV1().eval())), codes)
        answer = net.run(np.full((1, 3, 32, 32), 1 << 15, np.int64))
    assert sum(layer.codes.size + layer.bias.size for layer in net.layers) == 159_236
    for layer in net.layers:
        stored = codes[f"{layer.name}.weight"]
        assert layer.codes.ravel().tolist() == stored.values.ravel().tolist()
        assert layer.n1 == exponent_of(stored)
    plain = load_model(reparameterize(MobileNetV1().eval()), codes_path(name))
    assert np.array_equal(answer, ShiftAdderNet(plain).run(np.full((1, 3, 32, 32), 1 << 15, np.int64)))


def test_the_fields_of_the_file_run_on_the_gates():
    """The first pointwise layer of the small network: fields from the file into the element, sums out of it."""
    channels = 16
    with no_float_weights():
        codes = container.load_codes(codes_path("inq-small-5-bit"))
        own = {name: codes[f"features.{name}"] for name in ("4.weight", "4.bias")}
        structure = on_meta(reparameterize(small_net(0).eval()))
        layer = ShiftAdderNet.from_codes(structure.features[4:6], own)
        x = np.random.default_rng(0).integers(-(2**20), 2**20, (24, channels))
        expected = layer.run(x[..., None, None])
        fields = own["4.weight"].values.reshape(channels, channels).numpy()
        n1 = exponent_of(own["4.weight"])
        shape = (channels + 3, len(x), channels)
        stimulus = {name: np.zeros(shape, np.int64) for name in ("start", "x", "code")}
        stimulus["start"][0] = 1
        stimulus["x"][:channels], stimulus["code"][:channels] = x.T[:, :, None], fields.T[:, None]
        flat = {name: values.reshape(shape[0], -1) for name, values in stimulus.items()}
        found = Netlist(synthesize("shift_pe", element(n1))).run(flat)["sum"][-1]
    sums = signed32(found).reshape(len(x), channels) + layer.layers[0].bias
    assert (np.maximum(sums, 0) == expected).all()
    assert 0.2 < (expected > 0).mean() < 0.8


def test_the_fields_of_the_file_are_wired_in():
    with no_float_weights():
        codes = container.load_codes(codes_path("inq-small-5-bit"))["features.12.weight"]
        fields = codes.values.flatten()[:4].tolist()
        assert len(set(fields)) > 1
        circuit = Netlist(synthesize("hard_wired", sources=hard_wired(fields)))
        x = np.random.default_rng(1).integers(-(2**31), 2**31, (50, 4))
        still = np.zeros((4, 50, 4), np.int64)
        found = circuit.run({"x": np.concatenate([x[None], still])})["sum"][4]
        expected = [sum(product(int(a), c, n1=0) for a, c in zip(row, fields, strict=True)) for row in x]
    assert signed32(found).tolist() == signed32(np.array(expected)).tolist()


@pytest.mark.parametrize(("n1", "exponents"), [(0, 8), (-3, 8), (-7, 15), (-9, 15)])
def test_the_element_takes_the_fields_of_a_tensor_as_they_are(n1, exponents):
    """Every field that INQ writes, for tensors of several exponents: no element has a numbering of its own."""
    fields = np.array([0, *range(1, 9), *range(17, 25)])
    x = np.array([1, -1, 255, -256, 2**30, -(2**31), 2**31 - 1, -1234567])
    pairs = [side.ravel() for side in np.meshgrid(x, fields)]
    stimulus = {name: np.vstack([side, np.zeros((3, side.size), int)]) for name, side in zip("xc", pairs, strict=True)}
    held = {"x": stimulus["x"], "code": stimulus["c"], "start": np.ones_like(stimulus["x"])}
    found = signed32(Netlist(synthesize("shift_pe", element(n1, exponents))).run(held)["sum"][3])
    assert found.tolist() == [product(int(a), int(c), n1) for a, c in zip(*pairs, strict=True)]


def test_codes_that_do_not_fit_the_network_are_named():
    structure = on_meta(reparameterize(small_net(0).eval()))
    codes = container.load_codes(codes_path("inq-small-5-bit"))
    name = "features.4.weight"
    without = {each: form for each, form in codes.items() if each != name}
    with pytest.raises(ValueError, match=r"codes have no 'features\.4\.weight'"):
        ShiftAdderNet.from_codes(structure, without)
    with pytest.raises(ValueError, match=r"codes name \['more'\], which are no parameters"):
        ShiftAdderNet.from_codes(structure, codes | {"more": codes[name]})
    with pytest.raises(ValueError, match=r"features\.4\.weight has shape \(16, 16, 1, 1\) in model, its codes \(16,\)"):
        ShiftAdderNet.from_codes(structure, codes | {name: codes["features.4.bias"]})
    uniform = Codes(codes[name].values, 6, codes[name].scale)
    with pytest.raises(ValueError, match=r"features\.4\.weight must be codes of INQ"):
        ShiftAdderNet.from_codes(structure, codes | {name: uniform})


def test_evaluation_in_float_reads_the_same_file():
    path = codes_path("inq-small-5-bit")
    model = load_model(reparameterize(small_net(0).eval()), path)
    codes = container.load_codes(path)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, codes[name].decode())
    found = encode_frozen(model)
    assert all(torch.equal(found[name].values, codes[name].values.to(torch.uint8)) for name in codes)
    images = small_data().test_images[:64]
    net = ShiftAdderNet.from_codes(on_meta(reparameterize(small_net(0).eval())), codes, QFormat(16, 16))
    with torch.no_grad():
        assert torch.equal(net.classify(images), model(images).argmax(1))
    assert len(weight_layers(model)) == len(net.layers)
