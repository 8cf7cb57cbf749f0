"""The one interface of the book: a quantizer simulates in ``forward`` and stores in ``encode``.

``forward`` is what training and simulated inference use: float in, float on the grid out, with a straight-through
gradient. ``encode`` is what hardware keeps: integers, a scale and the number of bits
(:class:`fewbits.core.codes.Codes`). The two must agree bit for bit, ``quantizer.encode(x).decode() == quantizer(x)``;
the tests check it for every method.

The helpers below put quantizers into any network without touching its class: weights through
``torch.nn.utils.parametrize`` (``layer.weight`` is then the quantized weight and
``layer.parametrizations.weight.original`` the latent one), activations behind every module of a chosen type.
"""

from collections.abc import Callable, Collection, Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fewbits.core.codes import Codes
from fewbits.core.hooks import watching
from fewbits.core.modes import evaluating

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d)


class Quantizer(nn.Module):
    """Base of all quantizers. A subclass documents its straight-through rule and its treatment of odd inputs."""

    def forward(self, x: Tensor) -> Tensor:
        """Simulated quantization: floating point in, floating point on the grid out, differentiable."""
        raise NotImplementedError

    def encode(self, x: Tensor) -> Codes:
        """What hardware stores for ``x``; ``encode(x).decode()`` equals ``forward(x)`` bit for bit."""
        raise NotImplementedError


def weight_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The linear and convolution layers of ``model`` by name, in the order in which they are registered."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LAYERS)}


def quantize_weights(
    model: nn.Module, make_quantizer: Callable[[], Quantizer], skip: Collection[str] = ("first", "last")
) -> nn.Module:
    """Quantize the weights of ``model`` in place, each layer with a quantizer of its own.

    Args:
        model: any module; its linear and convolution layers count, biases stay as they are.
        make_quantizer: returns a new quantizer at each call.
        skip: layers that stay in floating point: "first", "last" or layer names. Most papers keep the first and the
            last layer, which hold few weights and suffer most.
    Returns:
        ``model``.
    Raises:
        ValueError: ``model`` has no such layer, ``skip`` names an unknown one, or a layer is quantized already.
    """
    layers = weight_layers(model)
    names = list(layers)
    if not names:
        raise ValueError("model has no linear or convolution layer to quantize")
    unknown = set(skip) - {"first", "last", *names}
    if unknown:
        raise ValueError(f"skip names {sorted(unknown)}, which are no layers; the layers are {names}")
    kept = {{"first": names[0], "last": names[-1]}.get(name, name) for name in skip}
    chosen = [name for name in names if name not in kept]
    quantized = [name for name in chosen if parametrize.is_parametrized(layers[name], "weight")]
    if quantized:
        raise ValueError(f"the weights of {quantized} are quantized already")
    for name in chosen:
        parametrize.register_parametrization(layers[name], "weight", make_quantizer())
    return model


def quantize_activations(
    model: nn.Module, make_quantizer: Callable[[], Quantizer], after: type[nn.Module] = nn.ReLU
) -> nn.Module:
    """Put a new quantizer behind every module of type ``after``, in place.

    Returns:
        ``model``, in which every such module has become ``nn.Sequential(module, quantizer)``.
    Raises:
        ValueError: ``model`` has no module of type ``after``, or a quantizer stands behind one already.
    """
    places = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent._modules.items()  # named_children() would list a module used twice only once
        if isinstance(child, after)
    ]
    if not places:
        raise ValueError(f"model has no {after.__name__} to put a quantizer behind")
    for parent, _, _ in places:
        if isinstance(parent, nn.Sequential) and len(parent) == 2 and isinstance(parent[1], Quantizer):
            raise ValueError(f"a quantizer stands behind a {after.__name__} of model already")
    for parent, name, child in places:
        setattr(parent, name, nn.Sequential(child, make_quantizer()))
    return model


@torch.no_grad()
def observe_activations(
    model: nn.Module, images: Tensor, kind: type[Quantizer], hook: Callable[[Quantizer, tuple, Tensor], Tensor]
) -> None:
    """Run ``model`` in evaluation mode with ``hook`` behind each of its activation quantizers, for calibration.

    Args:
        model: every submodule gets its mode (training or not) back.
        images: (N, ...), one batch.
        kind: type of the activation quantizers; weight quantizers are left alone.
        hook: of (quantizer, inputs, output), returns what the network goes on with, e.g. ``inputs[0]``.
    Raises:
        ValueError: ``images`` reach no such quantizer.
    """
    reached = []

    def counting(quantizer: Quantizer, inputs: tuple, output: Tensor) -> Tensor:
        reached.append(quantizer)
        return hook(quantizer, inputs, output)

    places = [
        module for name, module in model.named_modules() if isinstance(module, kind) and "parametrizations" not in name
    ]
    with watching(places, counting), evaluating(model):
        model(images)
    if not reached:
        raise ValueError("model has no activation quantizer to calibrate")


def weight_quantizers(model: nn.Module) -> Iterator[tuple[str, Quantizer, Tensor]]:
    """Layer name, quantizer and latent weight of every layer that :func:`quantize_weights` has changed."""
    for name, layer in weight_layers(model).items():
        if parametrize.is_parametrized(layer, "weight"):
            parametrization = layer.parametrizations.weight
            if isinstance(parametrization[0], Quantizer):  # weight_norm and its kin are parametrizations too
                yield name, parametrization[0], parametrization.original


def encode_weights(model: nn.Module) -> dict[str, Codes]:
    """The stored form of every quantized weight, by layer name."""
    return {name: quantizer.encode(latent.detach()) for name, quantizer, latent in weight_quantizers(model)}


def stored_bits(model: nn.Module) -> int:
    """Bits that the parameters of ``model`` take: quantized weights as codes and scales, everything else at 32 bits.

    What a weight quantizer learns itself (a step size, levels) is part of its codes and not counted twice.
    """
    coded = {id(p) for _, quantizer, latent in weight_quantizers(model) for p in (latent, *quantizer.parameters())}
    rest = sum(p.numel() for p in model.parameters() if id(p) not in coded)
    return 32 * rest + sum(codes.nbits for codes in encode_weights(model).values())
