"""Every public function that changes or reads a model, crossed with networks in other people's style.

Each pair ends in one of two ways: the result equals the simulated or the float network, or ValueError or TypeError says
what cannot be done and where. Which of the two is written down in ``matrix.txt``; ``pytest -rP`` prints the table. To
renew the file after a change: ``python tests/contract/test_contract.py``.
"""

import copy
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

import pytest
import torch
from contract_functions import FUNCTIONS, Refused, affine, check_quantize, matrices, near
from contract_networks import NETWORKS, make
from torch import Tensor, nn

import fewbits
from fewbits.compensation import FP8Quantizer, MXQuantizer, NVFP4Quantizer
from fewbits.core.graph import read
from fewbits.low_bitwidth import AP2Quantizer, LinearQuantizer
from fewbits.uniform import UniformQuantizer

MATRIX = Path(__file__).with_name("matrix.txt")
CELLS = [(function, network) for function in FUNCTIONS for network in NETWORKS]
# What a message may say where no single place is at fault: the network has nothing that the function is for.
NOTHING = re.compile(r"model has no |model calls no |skip leaves no layer|the weights of \[")


def cell(function: str, network: str) -> tuple[str, str]:
    """("equal", "") or ("refused", the message)."""
    try:
        FUNCTIONS[function](network)
    except Refused as error:
        return "refused", str(error)
    return "equal", ""


def table(results: dict[tuple[str, str], str]) -> str:
    """Functions × networks, with a key to the networks."""
    lines = [f"{index:>2}  {name}" for index, name in enumerate(NETWORKS, 1)]
    lines += ["", " " * 24 + " ".join(f"{index:>7}" for index in range(1, len(NETWORKS) + 1))]
    for function in FUNCTIONS:
        lines.append(f"{function:<24}" + " ".join(f"{results[function, network]:>7}" for network in NETWORKS))
    return "\n".join(lines) + "\n"


def names_a_place(message: str, network: str) -> bool:
    """Whether a message names a module, a parameter or a function of the network, or says that it has none."""
    model, _ = make(network)
    words = {name for name, _ in [*model.named_modules(), *model.named_parameters()] if name}
    words |= {type(module).__name__ for module in model.modules()}
    if network != "branches on numbers":
        words |= {each.name for each in read(model).calls if each.name}
    found = {word.rstrip(".") for word in re.findall(r"[\w.]+", message)}
    inside = {word[: match.start()] for word in found for match in re.finditer(r"\.", word)}
    return bool(NOTHING.search(message) or words & (found | inside))


RESULTS: dict[tuple[str, str], str] = {}


@pytest.mark.parametrize(("function", "network"), CELLS)
def test_equal_or_refused_by_name(function, network):
    result, message = cell(function, network)
    RESULTS[function, network] = result
    if result == "refused":
        assert names_a_place(message, network), message


def test_the_matrix_is_the_stored_one():
    """Runs after the cells, or runs them; a cell that was equal and is now refused is a loss that somebody must see."""
    for function, network in CELLS:
        if (function, network) not in RESULTS:
            RESULTS[function, network] = cell(function, network)[0]
    print(table(RESULTS))
    assert table(RESULTS) == MATRIX.read_text(encoding="utf-8")


def test_the_oracle_sees_a_wrong_number(monkeypatch):
    """A quantizer that computes something else than what it stores, and a function that changes nothing."""

    class Wrong(UniformQuantizer):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * 1.0001

    with pytest.raises(AssertionError, match="off by"):
        check_quantize("functional", partial(Wrong, 4))
    monkeypatch.setattr(UniformQuantizer, "forward", lambda self, x: x)
    with pytest.raises(AssertionError):
        check_quantize("functional")


# --- Every quantizer, and what people do with a model afterwards ------------------------------------------------------

QUANTIZERS: dict[str, Callable] = {
    "uniform, per tensor": partial(UniformQuantizer, 4),
    "uniform, affine": partial(UniformQuantizer, 4, symmetric=False, channel_axis=0),
    "LSQ": partial(fewbits.LSQ, 3),
    "BinaryConnect": fewbits.BinaryConnect,
    "XNOR": fewbits.XnorWeights,
    "TWN": fewbits.TWN,
    "TTQ": fewbits.TTQ,
    "exact ternary": fewbits.ExactTernary,
    "DoReFa": partial(fewbits.DoReFaWeights, 3),
    "QNN": partial(LinearQuantizer, 4, None),
    "AP2": partial(AP2Quantizer, 4, None),
    "logarithmic": partial(fewbits.LogQuantizer, 4),
    "INQ": fewbits.InqQuantizer,
    "learned bits": partial(fewbits.LearnedBits, 0),
    "distribution": partial(fewbits.DistributionQuantizer, 0.5),
    "shared": partial(fewbits.SharedWeights, k=4),
    "FP8": partial(FP8Quantizer, "E4M3"),
    "MXFP4": MXQuantizer,
    "NVFP4": NVFP4Quantizer,
}
SOME = ("shared ReLU, residual", "one object, two places", "tied weights", "attention", "own settings of BN")


@pytest.mark.parametrize("network", [*SOME, "one layer", "two layers", "padding, dilation, ceil"])
@pytest.mark.parametrize("method", QUANTIZERS)
def test_every_quantizer_stores_what_it_computes(method, network):
    check_quantize(network, QUANTIZERS[method])


def small(network: str, method: str) -> tuple[nn.Module, nn.Module, Tensor]:
    model, images = make(network)
    return model, fewbits.quantize(model, QUANTIZERS[method], affine, calibrate=images), images


@pytest.mark.parametrize("network", SOME)
@pytest.mark.parametrize("method", QUANTIZERS)
def test_half_precision_after_and_before(network, method):
    """Moved to bfloat16, a network computes what the same numbers do in bfloat16; quantized there, too."""
    _, quantized, images = small(network, method)
    with torch.no_grad():
        right = quantized(images)
        moved = copy.deepcopy(quantized).to(torch.bfloat16)
        found = moved(images.bfloat16())
        assert found.dtype == torch.bfloat16
        for name, form in fewbits.stored_state(moved).items():
            if not isinstance(form, Tensor):
                layer, _, kind = name.rpartition(".")
                assert torch.equal(getattr(moved.get_submodule(layer), kind), form.decode().bfloat16())
        assert float((found.double() - right).abs().mean()) <= 0.3 * float(right.abs().max()) + 0.05
        single = copy.deepcopy(quantized).float()(images.float())
        assert single.dtype == torch.float32
        before = fewbits.quantize(
            make(network)[0].to(torch.bfloat16), QUANTIZERS[method], affine, calibrate=images.bfloat16()
        )
        assert before(images.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("network", SOME)
@pytest.mark.parametrize("method", QUANTIZERS)
def test_copies_and_states(network, method):
    """Copies compute the same and are independent; a state goes into another network of the same make."""
    model, quantized, images = small(network, method)
    right = quantized(images)
    twin = copy.deepcopy(quantized)
    near(twin(images), right, 0)
    again = fewbits.quantize(copy.deepcopy(model), QUANTIZERS[method], affine, calibrate=images)
    near(again(images), right, 0)
    other, _ = make(network)
    for parameter in other.parameters():
        parameter.data.mul_(1.5)
    other = fewbits.quantize(other, QUANTIZERS[method], affine, calibrate=2 * images)
    other.load_state_dict(quantized.state_dict())
    near(other(images), right, 0)
    for parameter in twin.parameters():
        parameter.data.add_(1)
    near(quantized(images), right, 0)


@pytest.mark.parametrize("method", ["uniform, per tensor"])  # a second or more each
def test_compiled_networks_compute_the_same(method):
    _, quantized, images = small("shared ReLU, residual", method)
    torch._dynamo.reset()
    with torch.no_grad():
        near(torch.compile(quantized, backend="eager")(images), quantized(images), 0)


def test_modes_are_kept():
    """A normalization that somebody has frozen stays frozen in what is made from the network in training."""
    model, images = make("own settings of BN")
    model.train()
    model.bn1.eval()
    made = fewbits.quantize(model, partial(UniformQuantizer, 4), affine, calibrate=images)
    modes = {name: module.training for name, module in model.named_modules()}
    assert all(made.get_submodule(name).training is modes[name] for name in modes)
    assert all(module.training for name, module in made.named_modules() if name not in modes)
    with torch.no_grad():
        model(images), made(images)
    assert torch.equal(made.bn1.running_mean, model.bn1.running_mean)


def test_the_networks_have_weights_without_codes_by_chance():
    """No network's weights are on a grid from the start, which would make "equal" mean nothing."""
    for name in NETWORKS:
        if name != "binary":
            assert all(len(weight.unique()) == weight.numel() for weight in matrices(make(name)[0]).values())


if __name__ == "__main__":
    MATRIX.write_text(table({(f, n): cell(f, n)[0] for f, n in CELLS}), encoding="utf-8")
