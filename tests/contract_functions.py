"""What each public function promises about any network, and an independent way to compute it.

A check gets the name of a network, makes it as often as it needs it, and calls public functions through :func:`call`.
It returns if the result is the simulated or the float network; it fails with an AssertionError if a number is wrong;
and :class:`Refused` comes out of it if a function has said that it cannot do this network.
"""

import copy
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from contract_networks import make
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

import fewbits
from fewbits.binary import (
    binarize_inputs,
    clip_latent,
    glorot_groups,
    latent_weights,
    use_shift_batch_norm,
)
from fewbits.bitwise.network import pack_network
from fewbits.bn_folding import equalize, fold_in_training, fold_model, merge_folded
from fewbits.compensation import compensate
from fewbits.core.codes import StoredForm
from fewbits.core.macs import layer_work
from fewbits.core.powers import ap2
from fewbits.core.quantizer import (
    calibrate,
    encode_weights,
    quantize_activations,
    quantize_weights,
    stored_bits,
)
from fewbits.fpga.network import ShiftAdderNet
from fewbits.inq import encode_frozen
from fewbits.integer import run, session
from fewbits.learned_step import keep_positive
from fewbits.low_bitwidth import quantize_gradient, quantize_gradients
from fewbits.mixed_precision import filter_bits, learn_weight_bits, mac_bits
from fewbits.mixed_precision.post_training import layer_sensitivity
from fewbits.mobileone import ConvBranches, align_scales, fold_constant_channels, reparameterize
from fewbits.uniform import UniformQuantizer, quantize_model
from fewbits.vector import DeepCompression, SharedWeights, SoftSharing, load_network, share_weights

EXACT = 1e-9  # of float64 numbers near 1


class Refused(Exception):
    """A public function has raised ValueError or TypeError."""


def call(function: Callable, *args: Any, **options: Any) -> Any:
    try:
        return function(*args, **options)
    except (ValueError, TypeError) as error:
        raise Refused(str(error)) from error


def near(found: Tensor, right: Tensor, bound: float = EXACT) -> None:
    assert found.shape == right.shape, f"shape {tuple(found.shape)}, right {tuple(right.shape)}"
    assert found.isfinite().all(), "not finite"
    off = float((found.double() - right.double()).detach().abs().max()) / max(float(right.detach().abs().max()), 1.0)
    assert off <= bound, f"off by {off:.3g}, bound {bound:.3g}"


def matrices(model: nn.Module) -> dict[str, nn.Parameter]:
    """Weights of linear and convolution layers by name, each tensor once; found without the package."""
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d)
    found = {f"{name}.weight".lstrip("."): m.weight for name, m in model.named_modules() if isinstance(m, kinds)}
    return {name: found[name] for name, parameter in model.named_parameters() if name in found}


def with_codes(name: str, codes: Mapping[str, StoredForm]) -> Tensor:
    """The outputs of a fresh network in which the decoded codes have taken the places of the parameters."""
    model, images = make(name)
    decoded = first_names(model, codes)
    same = [key for key, weight in matrices(model).items() if key in decoded and torch.equal(decoded[key], weight)]
    assert not same, f"{same} are what they were"
    return functional_call(model, decoded, (images,))


def first_names(model: nn.Module, codes: Mapping[str, StoredForm]) -> dict[str, Tensor]:
    """Decoded codes, those of a parameter with several names once."""
    names = dict(model.named_parameters())
    return {name: form.decode().double() for name, form in codes.items() if name in names}


def codes_of_all(name: str, model: nn.Module) -> dict[str, StoredForm]:
    """The codes of a quantized network, which must be those of all weights."""
    codes = {f"{layer}.weight".lstrip("."): form for layer, form in call(encode_weights, model).items()}
    missing = matrices(make(name)[0]).keys() - codes.keys()
    assert not missing, f"no codes of {missing}"
    return codes


class Rewriting(TorchFunctionMode):
    """Gives the result of each call of a torch function, as the network makes it, to ``rule``."""

    def __init__(self, rule: Callable[[Callable, tuple, dict, Any], Any]):
        super().__init__()
        self.rule = rule

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        return self.rule(function, args, kwargs, function(*args, **kwargs))


ACTIVATIONS = {"relu", "relu_", "relu6", "silu", "gelu", "softplus", "sigmoid"}


def activations_by_hand(name: str, images: Tensor, each: Callable[[Callable], bool], bits: int = 8) -> Tensor:
    """The float network with every activation rounded to the affine grid of the range it has for ``images``."""
    model, _ = make(name)
    seen: list[Tensor] = []

    def note(function, args, kwargs, result):
        if each(function):
            seen.append(result.clone())
        return result

    with Rewriting(note):
        model(images)
    places = iter(seen)

    def rounded(function, args, kwargs, result):
        if not each(function):
            return result
        whole = next(places)
        low, high = whole.min().clamp(max=0), whole.max().clamp(min=0)
        scale = (high - low) / (2**bits - 1)
        zero = (-low / scale).round()
        grid = (((result / scale).round() + zero).clamp(0, 2**bits - 1) - zero) * scale
        return result.copy_(grid) if result is args[0] else grid

    with torch.no_grad(), Rewriting(rounded):
        return model(images)


def is_activation(function: Callable) -> bool:
    return getattr(function, "__name__", "") in ACTIVATIONS


# --- Weights ---------------------------------------------------------------------------------------------------------


def four_bits() -> UniformQuantizer:
    return UniformQuantizer(4, channel_axis=0)


def check_quantize(name: str, make_quantizer: Callable = four_bits) -> None:
    model, images = make(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    small = call(fewbits.quantize, model, make_quantizer)
    near(small(images), with_codes(name, codes_of_all(name, small)))
    after = model.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items()), "the model given has changed"
    with torch.no_grad():  # where torch has faster kernels of its own for some modules
        near(small(images), with_codes(name, codes_of_all(name, small)))


def check_compensate(name: str) -> None:
    """The network of the attached codes; the model given stays as it was."""
    model, images = make(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    small = call(compensate, model, four_bits, images)
    near(small(images), with_codes(name, codes_of_all(name, small)))
    after = model.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items()), "the model given has changed"


def check_quantize_weights(name: str) -> None:
    model, images = make(name)
    inner = list(matrices(model))
    call(quantize_weights, model, fewbits.TWN)
    codes = {f"{layer}.weight".lstrip("."): form for layer, form in encode_weights(model).items()}
    assert codes, "nothing is quantized"
    assert len(codes.keys() - inner) + len(inner) >= 2
    near(model(images), with_codes(name, codes))


def check_learned_step(name: str) -> None:
    """A step of training moves the steps; what is stored afterwards is what is computed."""
    model, images = make(name)
    small = call(fewbits.quantize, model, partial(fewbits.LSQ, 3))
    small(images).square().sum().backward()
    for parameter in small.parameters():
        if parameter.grad is not None:
            parameter.data -= 0.01 * parameter.grad.clamp(-1, 1)
    keep_positive(small)
    codes = codes_of_all(name, small)
    reference, _ = make(name)
    state = {key: value for key, value in small.named_parameters() if "parametrizations" not in key}
    decoded = first_names(reference, codes)
    near(small(images), functional_call(reference, state | decoded, (images,)))


def check_share_weights(name: str) -> None:
    model, images = make(name)
    call(share_weights, model, lambda _, weight: SharedWeights(weight, 4))
    near(model(images), with_codes(name, codes_of_all(name, model)))


def check_learned_bits(name: str) -> None:
    model, images = make(name)
    call(learn_weight_bits, model, 3)
    near(model(images), with_codes(name, codes_of_all(name, model)))


def check_binary_connect(name: str) -> None:
    """Latent weights are clipped and used; every parameter is in one group."""
    model, images = make(name)
    for weight in matrices(model).values():
        weight.data.mul_(3)
    clipped = {key: weight.detach().clamp(-1, 1) for key, weight in matrices(model).items()}
    right = functional_call(copy.deepcopy(model), clipped, (images,))
    call(quantize_weights, model, fewbits.BinaryConnect, skip=())
    call(clip_latent, model)
    with latent_weights(model):
        near(model(images), right)
    groups = call(glorot_groups, model, 0.1)
    listed = [id(p) for group in groups for p in group["params"]]
    assert sorted(listed) == sorted(id(p) for p in model.parameters()), "a parameter is in no group or in two"


def check_soft_sharing(name: str) -> None:
    model, images = make(name)
    sharing = call(SoftSharing, model, tau=0.1, samples=100, components=12, pi_zero=0.5)
    distinct = sum(weight.numel() for weight in matrices(model).values())
    assert len(sharing.weights()) == distinct, "a weight counts twice"
    call(sharing.quantize)
    near(model(images), with_codes(name, call(sharing.encode)))


def check_inq(name: str) -> None:
    model, images = make(name)
    inq = call(fewbits.Inq, model)
    call(inq.step, 0.5)
    call(inq.step, 1.0)
    during, codes = model(images), call(inq.encode)
    assert codes.keys() == matrices(make(name)[0]).keys()
    near(during, with_codes(name, codes), 0)
    plain = call(inq.finish)
    near(plain(images), during, 0)
    near(call(fewbits.attach_codes, plain, codes)(images), during, 0)
    near(plain(images), during, 0)


# --- Stored forms ----------------------------------------------------------------------------------------------------


def check_sizes(name: str) -> None:
    """Bits of distinct parameters: 4 for a weight and 32 for its one scale, 32 for everything else."""
    model, _ = make(name)
    weights = {id(parameter): parameter for parameter in matrices(model).values()}
    rest = sum(p.numel() for p in model.parameters() if id(p) not in weights)
    floats = {b.data_ptr(): b.numel() for b in model.buffers() if b.is_floating_point()}
    right = sum(4 * w.numel() + 32 for w in weights.values()) + 32 * rest
    small = call(fewbits.quantize, model.float(), partial(UniformQuantizer, 4))
    assert call(stored_bits, small) == right
    report = call(fewbits.size_report, small)
    assert report.bits == right + 32 * sum(floats.values())
    assert report.float_bits == 32 * (sum(w.numel() for w in weights.values()) + rest + sum(floats.values()))
    with tempfile.TemporaryDirectory() as folder:
        written = call(fewbits.save, Path(folder) / "n.fewbits", call(fewbits.stored_state, small), "plain")
    assert written == report.file_bytes


def check_file(name: str) -> None:
    """From a file to a fresh network, by codes and by floats."""
    model, images = make(name)
    images = images.float()
    small = call(fewbits.quantize, model.float(), partial(UniformQuantizer, 4, channel_axis=0))
    right = small(images)
    with tempfile.TemporaryDirectory() as folder:
        call(fewbits.save, Path(folder) / "n.fewbits", call(fewbits.stored_state, small))
        content = call(fewbits.load, Path(folder) / "n.fewbits")
    codes = {key: item for key, item in content.items() if not isinstance(item, Tensor)}
    assert codes, "no codes in the file"
    fresh, _ = make(name)
    for parameter in fresh.parameters():
        parameter.data.zero_()
    decoded = {key: item if isinstance(item, Tensor) else item.decode() for key, item in content.items()}
    plain = copy.deepcopy(fresh).float()
    plain.load_state_dict(decoded)
    near(plain(images), right, 0)
    for key in codes:
        decoded[key] = torch.zeros_like(decoded[key])
    fresh.float().load_state_dict(decoded)
    near(call(fewbits.attach_codes, fresh, codes)(images), right, 0)
    assert call(stored_bits, fresh) == stored_bits(small)


def check_deep_compression(name: str) -> None:
    model, images = make(name)
    images = images.float()
    compression = call(DeepCompression, model.float())
    call(compression.prune, 0.5)
    for weight in matrices(model).values():
        assert int((weight != 0).sum()) == round(0.5 * weight.numel())
        weight.data[weight == 0] = 0.1
    call(compression.keep_pruned, model)
    assert all(int((weight != 0).sum()) == round(0.5 * weight.numel()) for weight in matrices(model).values())
    call(compression.share, 4)
    right = model(images)
    for form in codes_of_all(name, model).values():
        assert len(form.decode().unique()) <= 4
    with tempfile.TemporaryDirectory() as folder:
        call(compression.save, Path(folder) / "n.fewbits")
        fresh, _ = make(name)
        near(call(load_network, fresh.float(), Path(folder) / "n.fewbits")(images), right, 0)


# --- Activations -----------------------------------------------------------------------------------------------------


def affine(bits: int = 8) -> UniformQuantizer:
    return UniformQuantizer(bits, signed=False, symmetric=False)


def check_quantize_both(name: str) -> None:
    model, images = make(name)
    small = call(fewbits.quantize, model, None, affine, calibrate=images)
    right = activations_by_hand(name, images, is_activation)
    with torch.no_grad():
        near(small(images), right, 1e-6)  # ranges are kept in float32
    with torch.no_grad():
        assert float((right - make(name)[0](images)).abs().max()) > 0, "nothing is quantized"


def check_quantize_activations(name: str) -> None:
    model, images = make(name)
    call(quantize_activations, model, affine)
    call(calibrate, model, images)
    right = activations_by_hand(
        name, images, lambda function: getattr(function, "__name__", "") in {"relu", "relu_", "softplus"}
    )
    with torch.no_grad():
        near(model(images), right, 1e-6)


def check_quantize_model(name: str) -> None:
    """Weights in 16 bits: near the float network; activations as by hand."""
    model, images = make(name)
    small = call(quantize_model, model, 16, 16, images)
    with torch.no_grad():
        near(small(images), model(images), 3e-3)


# --- Networks that compute the same -----------------------------------------------------------------------------------


def check_fold_model(name: str) -> None:
    model, images = make(name)
    near(call(fold_model, model)(images), model(images))


def check_fold_in_training(name: str) -> None:
    """In both modes the outputs of the network with its normalizations; what is merged computes what is folded."""
    model, images = make(name)
    folded = call(fold_in_training, model, partial(UniformQuantizer, 16, channel_axis=0))
    near(folded(images), model(images), 1e-2)
    near(call(merge_folded, folded)(images), folded(images))
    frozen = next((module for module in model.modules() if isinstance(module, nn.BatchNorm2d)), None)
    place = [key for key, module in model.named_modules() if module is frozen]
    for each in (model, folded):
        each.train()
    if frozen is not None:  # one normalization in a mode of its own, in both
        frozen.eval()
        copied = folded.get_submodule(place[0])
        for module in folded.modules():
            if isinstance(module, nn.BatchNorm2d) and torch.equal(module.running_mean, frozen.running_mean):
                module.eval()
        copied.eval()
    for module in [*model.modules(), *folded.modules()]:
        if isinstance(module, nn.Dropout):
            module.eval()
    near(folded(images), model(images), 2e-2)
    state = {key: value for key, value in model.named_buffers() if "running" in key}
    found = {value for _, value in folded.named_buffers()}
    for value in state.values():
        assert any(other.shape == value.shape and torch.allclose(other, value, 1e-2, 1e-3) for other in found), (
            "statistics differ"
        )


def spread(model: nn.Module) -> nn.Module:
    """Channels of very different sizes, which equalization would move."""
    for index, weight in enumerate(matrices(model).values()):
        weight.data[0] *= 20 + index
    return model


def check_equalize(name: str) -> None:
    model, images = make(name)
    near(call(equalize, spread(model))(images), model(images))


def check_align_scales(name: str) -> None:
    model, images = make(name)
    near(call(align_scales, spread(model), images, 8)(images), model(images))


def check_constant_channels(name: str) -> None:
    model, images = make(name)
    for key, weight in matrices(model).items():  # a dead channel and one that is constant
        bias = dict(model.named_parameters()).get(key.replace("weight", "bias"))
        weight.data[0] = 0
        if bias is not None:
            bias.data[0] = 0.7
    near(call(fold_constant_channels, model, images)(images), model(images))


def check_reparameterize(name: str) -> None:
    model, images = make(name)
    merged = call(reparameterize, model)
    assert not any(isinstance(module, ConvBranches) for module in merged.modules()), "a block is left"
    near(merged(images), model(images))


# --- Other modules ---------------------------------------------------------------------------------------------------


def inner_weights(model: nn.Module) -> set[int]:
    return {id(weight) for weight in list(matrices(model).values())[1:-1]}


def check_binarize_inputs(name: str) -> None:
    model, images = make(name)
    reference = copy.deepcopy(model)
    inner = inner_weights(reference)

    def signs(function, args, kwargs, result):
        if len(args) < 2 or id(args[1]) not in inner:
            return result
        x, weight, bias = args[0], args[1], args[2] if len(args) > 2 else kwargs.get("bias")
        sign = torch.where(x >= 0, 1.0, -1.0).double()
        if function is F.linear:
            y = F.linear(sign, weight) * x.abs().mean(-1, keepdim=True)
            return y if bias is None else y + bias
        y = function(sign, weight, None, *args[3:])
        ones = torch.ones_like(weight[:1]) / weight[0].numel()
        return y * function(x.abs(), ones, None, *args[3:]) + (0 if bias is None else bias.reshape(-1, 1, 1))

    found = call(binarize_inputs, model)(images)
    with Rewriting(signs):
        near(found, reference(images))


def check_shift_batch_norm(name: str) -> None:
    """Fresh normalizations: in evaluation mode the power of two nearest 1/√(1 + eps); the mode is what it was."""
    model, images = make(name)
    reference = copy.deepcopy(model)

    def shifted(function, args, kwargs, result):
        if getattr(function, "__name__", "") != "batch_norm":
            return result
        eps = kwargs["eps"] if "eps" in kwargs else args[7]
        factor = float(ap2(torch.tensor((1 + eps) ** -0.5)))
        return args[0] * factor

    changed = call(use_shift_batch_norm, model)
    assert not any(module.training for module in changed.modules()), "a new module is in training mode"
    with Rewriting(shifted):
        near(changed(images), reference(images))


def check_quantize_gradients(name: str) -> None:
    model, images = make(name)
    reference = copy.deepcopy(model)
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d)
    for layer in [module for module in reference.modules() if isinstance(module, kinds)][1:-1]:
        layer.register_full_backward_pre_hook(lambda layer, grad: (quantize_gradient(grad[0], 3, noise=False),))
    right = reference(images)
    right.square().sum().backward()
    call(quantize_gradients, model, 3, noise=False)
    found = model(images)
    near(found, right, 0)
    found.square().sum().backward()
    for (key, one), (_, other) in zip(model.named_parameters(), reference.named_parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None), key
        if one.grad is not None and other.grad is not None:
            near(one.grad, other.grad)


# --- Integers and circuits -------------------------------------------------------------------------------------------


def check_prepare(name: str) -> None:
    """Within the rounding of 8 bits of the float network, folded where it can be."""
    model, images = make(name)
    simulated = call(fewbits.prepare, call(fold_model, model), images)
    right = model(images)
    near(simulated(images), right, 0.12)


def check_to_integers(name: str) -> None:
    """At most one step from the simulation, whose biases are not on a grid; and bit for bit the ONNX model."""
    model, images = make(name)
    simulated = call(fewbits.prepare, call(fold_model, model), images)
    network = call(fewbits.to_integers, simulated, images[:1], rounding="even", bias_fraction=0)
    codes = network.grids["input"].encode(images)
    found = network(codes)
    off = (network.output_grid.decode(found) - simulated(images)).abs().max().item() / network.output_grid.scale
    assert off <= 1.5, f"off by {off:.2f} steps"
    for form in ("qdq", "qoperator"):
        assert torch.equal(run(session(call(fewbits.to_onnx, network, form)), codes), found) or _one_off(
            run(session(fewbits.to_onnx(network, form)), codes), found
        )


def _one_off(found: Tensor, right: Tensor) -> bool:
    """ONNX Runtime computes scales in float32, so that ties may go the other way: one step in few places."""
    off = (found.int() - right.int()).abs()
    return int(off.max()) <= 1 and float((off > 0).double().mean()) <= 0.1


def check_shift_adders(name: str) -> None:
    """INQ, then fixed point: within the rounding of Q16.16 of the float network with the same codes."""
    model, images = make(name)
    folded = call(fold_model, model)
    inq = call(fewbits.Inq, folded, biases=True)
    call(inq.step, 1.0)
    codes = call(inq.encode)
    plain = call(inq.finish)
    right = plain(images)
    for net in (call(ShiftAdderNet, plain), call(ShiftAdderNet.from_codes, plain, codes)):
        logits = torch.from_numpy(net.run(net.encode(images), threads=1)) / 2**16
        near(logits, right, 2e-3)
    assert call(encode_frozen, plain).keys() == codes.keys()


def check_pack_network(name: str) -> None:
    model, images = make(name)
    pixels = ((images + 1) * 128).round().clamp(0, 255)
    packed = call(pack_network, model, 1 / 128, -1.0)
    near(torch.from_numpy(packed(pixels.flatten(1).to(torch.uint8).numpy())), model(pixels / 128 - 1), 1e-5)


# --- Counting --------------------------------------------------------------------------------------------------------


def check_layer_work(name: str) -> None:
    """Half of the operations that torch counts in products."""
    model, images = make(name)
    works = call(layer_work, model, images.shape[1:])
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(images[:1])
    assert 2 * sum(work.macs for work in works) == counter.get_total_flops()


def check_mac_bits(name: str) -> None:
    model, images = make(name)
    works = call(layer_work, model, images.shape[1:])
    call(learn_weight_bits, model, 3, min_bits=3, max_bits=3)
    assert float(call(mac_bits, model, works).detach()) == 3 * sum(work.macs for work in works)
    assert all(bits == 3 for row in call(filter_bits, model).values() for bits in row)


def check_layer_sensitivity(name: str) -> None:
    """The loss with one weight quantized, each by hand; the model is as it was."""
    model, images = make(name)

    def score(network: nn.Module) -> float:
        return float(network(images).square().sum())

    found = call(layer_sensitivity, model, fewbits.TWN, score)
    for key in matrices(model):
        reference, _ = make(name)
        weight = matrices(reference)[key]
        parameters = {key: fewbits.TWN()(weight.detach())}
        right = float(functional_call(reference, parameters, (images,)).square().sum())
        layer = key.rpartition(".")[0]
        assert abs(found[layer] - right) <= EXACT * max(abs(right), 1), layer
    near(model(images), make(name)[0](images), 0)


FUNCTIONS: dict[str, Callable[[str], None]] = {
    "quantize weights": check_quantize,
    "quantize_weights": check_quantize_weights,
    "compensate": check_compensate,
    "LSQ, keep_positive": check_learned_step,
    "share_weights": check_share_weights,
    "learn_weight_bits": check_learned_bits,
    "BinaryConnect": check_binary_connect,
    "SoftSharing": check_soft_sharing,
    "Inq": check_inq,
    "sizes": check_sizes,
    "save, load, attach": check_file,
    "DeepCompression": check_deep_compression,
    "quantize activations": check_quantize_both,
    "quantize_activations": check_quantize_activations,
    "quantize_model": check_quantize_model,
    "fold_model": check_fold_model,
    "fold_in_training": check_fold_in_training,
    "equalize": check_equalize,
    "align_scales": check_align_scales,
    "fold_constant_channels": check_constant_channels,
    "reparameterize": check_reparameterize,
    "binarize_inputs": check_binarize_inputs,
    "use_shift_batch_norm": check_shift_batch_norm,
    "quantize_gradients": check_quantize_gradients,
    "prepare": check_prepare,
    "to_integers, ONNX": check_to_integers,
    "ShiftAdderNet": check_shift_adders,
    "pack_network": check_pack_network,
    "layer_work": check_layer_work,
    "mac_bits": check_mac_bits,
    "layer_sensitivity": check_layer_sensitivity,
}
