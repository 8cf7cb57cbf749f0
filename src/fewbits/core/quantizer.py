"""The one interface of the book: a quantizer simulates in ``forward`` and stores in ``encode``.

``forward`` is what training and simulated inference use: float in, float on the grid out, with a straight-through
gradient. ``encode`` is what hardware keeps: integers, a scale and the number of bits
(:class:`fewbits.core.codes.StoredForm`). The two must agree bit for bit,
``quantizer.encode(x).decode() == quantizer(x)``; the tests check it for every method.

The helpers below put quantizers into any network without touching its class: weights through
``torch.nn.utils.parametrize`` (``layer.weight`` is then the quantized weight and
``layer.parametrizations.weight.original`` the latent one), activations after every module of a chosen type.

Quantizers compute half precision in float32. In a network of half precision, what they return is cast to the dtype of
the latent weight or of the activation, so that the network can be moved to it and back: there a weight is
``encode(latent).decode()`` rounded to that dtype.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fewbits.core.codes import StoredForm
from fewbits.core.hooks import watching
from fewbits.core.modes import evaluating

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d)
LinearOrConv = nn.Linear | nn.Conv1d | nn.Conv2d
# Modules of torch with activations inside, which nothing can be put after.
CLOSED = (
    nn.RNNBase,
    nn.RNNCellBase,
    nn.Transformer,
    nn.TransformerEncoder,
    nn.TransformerDecoder,
    nn.TransformerEncoderLayer,
    nn.TransformerDecoderLayer,
)


class Quantizer(nn.Module):
    """Base of all quantizers. A subclass documents its straight-through rule and its treatment of odd inputs."""

    of_activations = False  # it was put after an activation
    observed = False  # while ranges are calibrated: what it returns is then thrown away
    weights_only = False  # it takes its scale or threshold from what it quantizes, whenever it is called

    def for_activations(self) -> None:
        """Called when it is put after an activation: from now on no range comes from a batch in eval mode.

        Raises:
            ValueError: it can only quantize weights, as its result for one image would depend on the other images.
        """
        if self.weights_only:
            raise ValueError(
                f"{type(self).__name__} takes its scale from what it quantizes, so for activations its result would "
                "depend on the other images of the batch: it is for weights"
            )
        self.of_activations = True

    def check_batch(self) -> None:
        """To be called before a range is taken from an input.

        Raises:
            ValueError: of activations in eval mode, where the result would depend on the test batch.
        """
        if self.of_activations and not (self.training or self.observed):
            raise ValueError(
                f"the range of {type(self).__name__} for activations is not fixed, and it would depend on the test "
                "batch: calibrate the network, or fix the range"
            )

    def forward(self, x: Tensor) -> Tensor:
        """Simulated quantization: floating point in, floating point on the grid out, differentiable."""
        raise NotImplementedError

    def encode(self, x: Tensor) -> StoredForm:
        """What hardware stores for ``x``; ``encode(x).decode()`` equals ``forward(x)`` bit for bit."""
        raise NotImplementedError

    def constrain(self) -> None:
        """Bring back what training has taken out of bounds, such as a learned step below 0; by default nothing."""

    @property
    def complete(self) -> bool:
        """Whether there is a stored form already; False while a schedule such as INQ has quantized only a part."""
        return True


def weight_layers(model: nn.Module) -> dict[str, LinearOrConv]:
    """The linear and convolution layers of ``model`` by name, in the order in which they are registered."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LAYERS)}


def layers_to_quantize(model: nn.Module, keep: Collection[str] = ()) -> dict[str, LinearOrConv]:
    """The layers of :func:`weight_layers` without those of ``keep``: "first", "last" or names.

    Raises:
        ValueError: there is no layer, or none is left; a name is unknown; or a weight is parametrized already, or held
            by a layer of ``keep``, too. The message names it.
    """
    layers = weight_layers(model)
    if not layers:
        raise ValueError("model has no linear or convolution layer to quantize")
    names = list(layers)
    if unknown := sorted(set(keep) - {"first", "last", *names}):
        raise ValueError(f"keep names {unknown}, which are no layers; the layers are {names}")
    kept = {{"first": names[0], "last": names[-1]}.get(name, name) for name in keep}
    chosen = {name: layer for name, layer in layers.items() if name not in kept}
    if not chosen:
        raise ValueError(f"keep names all layers: {names}")
    if taken := [name for name, layer in chosen.items() if parametrize.is_parametrized(layer, "weight")]:
        raise ValueError(f"the weights of {taken} are parametrized already")
    held = {name: layers[name].weight for name in kept}  # kept alive, so that no other tensor has one of their ids
    shared = {id(weight): name for name, weight in held.items()}
    for name, layer in chosen.items():
        if id(layer.weight) in shared:
            other = shared[id(layer.weight)]
            raise ValueError(f"{name} holds the weight of {other}, which keep names: keep both or none")
    return chosen


def quantize_weights(
    model: nn.Module, make_quantizer: Callable[[], Quantizer], skip: Collection[str] = ("first", "last")
) -> nn.Module:
    """Quantize the weights of ``model`` in place, each layer with a quantizer of its own.

    Layers that hold the same weight share its quantizer.

    Args:
        model: any module; its linear and convolution layers count, biases stay as they are.
        make_quantizer: returns a new quantizer at each call.
        skip: layers that stay in floating point: "first", "last" or layer names. Most papers keep the first and the
            last layer, which hold few weights and suffer most.
    Returns:
        ``model``.
    Raises:
        ValueError: ``model`` has no such layer, ``skip`` names an unknown one or all of them, a layer is quantized
            already, or it holds the weight of one that is skipped. Nothing has changed then.
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
    if not chosen:
        raise ValueError(f"skip leaves no layer to quantize; the layers are {names}")
    weights = {name: layer.weight for name, layer in layers.items()}  # kept alive, so that no two have one id
    shared = {id(weights[name]): name for name in kept}
    for name in chosen:
        if id(weights[name]) in shared:
            raise ValueError(f"{name} holds the weight of {shared[id(weights[name])]}, which is skipped")
    quantized = [name for name in chosen if parametrize.is_parametrized(layers[name], "weight")]
    if quantized:
        raise ValueError(f"the weights of {quantized} are quantized already")
    made: dict[int, Quantizer] = {}  # layers that hold the same weight share its quantizer, so that it stays the same
    for name in chosen:
        weight = layers[name].weight
        if id(weight) not in made:
            made[id(weight)] = make_quantizer()
        put_quantizer(layers[name], made[id(weight)])
    return model


def put_quantizer(layer: nn.Module, quantizer: Quantizer, kind: str = "weight") -> None:
    """Make ``quantizer`` the parametrization of the parameter ``kind`` of ``layer``, in place.

    The parameter keeps its dtype, in half precision too, though quantizers return float32 there, and ``quantizer`` gets
    the mode (training or not) of ``layer``.
    """
    quantizer.train(layer.training)
    if parametrize.is_parametrized(layer):
        _own_class(layer)  # copies share the class, which would get one more property for all of them
    half = getattr(layer, kind).dtype in (torch.float16, torch.bfloat16)
    # torch compares the dtypes when it registers, before anything can cast the result
    parametrize.register_parametrization(layer, kind, quantizer, unsafe=half)
    parametrization_of(layer, kind).register_forward_hook(_as_the_latent)
    cast(nn.ModuleDict, layer.parametrizations).train(layer.training)


def _as_the_latent(parameter: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
    return output.to(cast(Tensor, parameter.original).dtype)


def as_its_input(quantizer: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
    """Forward hook of activation quantizers: the output in the dtype of the input."""
    return output.to(inputs[0].dtype)


def quantize_activations(
    model: nn.Module,
    make_quantizer: Callable[[], nn.Module],
    after: type[nn.Module] | tuple[type[nn.Module], ...] = nn.ReLU,
) -> nn.Module:
    """Put a new quantizer after every module of type ``after``, or of one of several types, in place.

    For networks with one module for each activation. :func:`fewbits.core.quantize.quantize` also serves those that
    call one module several times or functions such as ``F.relu``: these are refused here, since one quantizer would
    have one range for several activations, or some activations would have none.

    Returns:
        ``model``, in which every such module has become ``nn.Sequential(module, quantizer)``.
    Raises:
        ValueError: ``model`` has no module of type ``after``, there is a quantizer after one already, one is called
            more than once, a function or a part of a module of torch does the same, the forward pass cannot be read, or
            the quantizer is for weights only. Nothing has changed then.
    """
    from fewbits.core.graph import function_name, read  # which knows quantizers itself

    kinds = after if isinstance(after, tuple) else (after,)
    kind_names = " or ".join(kind.__name__ for kind in kinds)
    places = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent._modules.items()  # named_children() would list a module used twice only once
        if isinstance(child, after)
    ]
    if not places:
        raise ValueError(f"model has no {kind_names} to put a quantizer after")
    for parent, _, _ in places:
        if isinstance(parent, nn.Sequential) and len(parent) == 2 and isinstance(parent[1], Quantizer):
            raise ValueError(f"there is a quantizer after a {type(parent[0]).__name__} of model already")
    registered = [child for _, _, child in places]
    for call in read(model, kinds).calls:
        if isinstance(call.module, CLOSED):
            raise ValueError(f"{call} has activations inside, which cannot be quantized: write it with layers")
        if call.module is None and function_name(call) in {kind.__name__.lower() for kind in kinds}:
            raise ValueError(f"{call} is a function, so no module can follow it: use fewbits.quantize")
        if call.module in registered:
            registered.remove(call.module)  # one call for each place
        elif isinstance(call.module, after):
            raise ValueError(f"{call} is called more than once: use fewbits.quantize, which quantizes each call")
    for parent, name, child in places:
        quantizer = make_quantizer()
        if isinstance(quantizer, Quantizer):
            quantizer.for_activations()
        quantizer.register_forward_hook(as_its_input)
        place = nn.Sequential(child, quantizer.train(child.training))
        place.training = child.training
        setattr(parent, name, place)
    return model


Q = TypeVar("Q", bound=Quantizer)


@torch.no_grad()
def observe_activations(
    model: nn.Module, images: Tensor, kind: type[Q], hook: Callable[[Q, tuple, Tensor], Tensor]
) -> None:
    """Run ``model`` in evaluation mode with ``hook`` after each of its activation quantizers, for calibration.

    Args:
        model: every submodule gets its mode (training or not) back.
        images: (N, ...), one batch.
        kind: type of the activation quantizers; weight quantizers are left alone.
        hook: of (quantizer, inputs, output), returns what the network goes on with, e.g. ``inputs[0]``.
    Raises:
        ValueError: ``images`` reach no such quantizer.
    """
    reached = []

    def counting(quantizer: Q, inputs: tuple, output: Tensor) -> Tensor:
        reached.append(quantizer)
        return hook(quantizer, inputs, output)

    places = [
        module for name, module in model.named_modules() if isinstance(module, kind) and "parametrizations" not in name
    ]
    # Those of another kind as well: a range that is calibrated later is taken from the images meanwhile.
    everyone = [module for module in model.modules() if isinstance(module, Quantizer)]
    for quantizer in everyone:
        quantizer.observed = True
    try:
        with watching(places, counting), evaluating(model):
            model(images)
    finally:
        for quantizer in everyone:
            del quantizer.observed
    if not reached:
        raise ValueError("model has no activation quantizer to calibrate")


@torch.no_grad()
def calibrate(model: nn.Module, images: Tensor, kind: type[Quantizer] = Quantizer, **options: Any) -> nn.Module:
    """Fit every activation quantizer of ``model`` to all that it sees of ``images``, in place; weights are left alone.

    Each is fitted by its own method ``fit(x, **options)``, one that has none stays as it is. They are transparent
    meanwhile, so that no layer's range depends on another's rounding. A quantizer that is called several times is
    fitted to all its inputs together, one that ``images`` do not reach keeps its range.

    Args:
        model: every submodule gets its mode (training or not) back.
        images: (N, ...) calibration inputs, one batch; a few hundred suffice.
        kind: type of the quantizers to fit; those of other types stay as they are.
        options: of ``fit``, e.g. ``range_of`` of a uniform grid, ``rule`` of a logarithmic one, ``bits`` of a learned
            one.
    Returns:
        ``model``.
    Raises:
        ValueError: ``images`` reach no activation quantizer that can be fitted, or one that is per channel.
    """
    seen: dict[Quantizer, list[Tensor]] = {}

    def record(quantizer: Quantizer, inputs: tuple, output: Tensor) -> Tensor:
        if not hasattr(quantizer, "fit"):
            return output
        if getattr(quantizer, "channel_axis", None) is not None:
            raise ValueError("calibrate finds one range per tensor, but a quantizer of model has a channel_axis")
        # Copies: a later call of the network may change what it gets in place, such as ReLU or an addition.
        seen.setdefault(quantizer, []).append(inputs[0].clone())
        return inputs[0].clone()

    observe_activations(model, images, kind, record)
    if not seen:
        raise ValueError("model has no activation quantizer to calibrate")
    for quantizer, inputs in seen.items():
        cast(Any, quantizer).fit(torch.cat([x.flatten() for x in inputs]), **options)
    return model


def constrain(model: nn.Module) -> None:
    """:meth:`Quantizer.constrain` for each quantizer of ``model``: ``after_step`` of :func:`fewbits.training.fit`."""
    for module in model.modules():
        if isinstance(module, Quantizer):
            module.constrain()


# --- what is stored --------------------------------------------------------------------------------------------------


def weight_quantizers(model: nn.Module) -> Iterator[tuple[str, Quantizer, Tensor]]:
    """Layer name, quantizer and latent weight of every layer that :func:`quantize_weights` or a schedule has changed.

    Layers that hold the same weight are all listed.
    """
    for name, quantizer, latent in parameter_quantizers(model):
        layer, _, kind = name.rpartition(".")
        if kind == "weight":
            yield layer, quantizer, latent


def parameter_quantizers(model: nn.Module) -> Iterator[tuple[str, Quantizer, Tensor]]:
    """The same for weights and biases, by the name that the parameter would have without its parametrization."""
    for name, layer in weight_layers(model).items():
        for kind in ("weight", "bias"):
            if parametrize.is_parametrized(layer, kind):
                parametrization = parametrization_of(layer, kind)
                if isinstance(parametrization[0], Quantizer):  # weight_norm and its kin are parametrizations too
                    yield f"{name}.{kind}" if name else kind, parametrization[0], parametrization.original


def encode_parameters(model: nn.Module) -> dict[str, StoredForm]:
    """The stored form of every quantized weight and bias, by parameter name, such as ``0.weight``.

    It knows whatever is a parametrization: quantizers, INQ, learned bits, shared values, and codes that
    :func:`attach_codes` has put in. What a schedule returns when it is finished, such as ``Inq.encode()``, is the same
    mapping.

    Raises:
        ValueError: INQ has not frozen a parameter wholly; the message names it.
    """
    found = {}
    for name, quantizer, latent in parameter_quantizers(model):
        try:
            found[name] = quantizer.encode(latent.detach())
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    return found


def encode_weights(model: nn.Module) -> dict[str, StoredForm]:
    """The stored form of every quantized weight, by layer name; :func:`encode_parameters` has the biases too.

    Raises:
        ValueError: as :func:`encode_parameters`.
    """
    return {
        name.rpartition(".")[0]: codes
        for name, codes in encode_parameters(model).items()
        if name.rpartition(".")[2] == "weight"
    }


def stored_bits(model: nn.Module) -> int:
    """Bits that the parameters of ``model`` take: quantized ones as codes and scales, everything else at 32 bits.

    What a quantizer learns itself (a step size, levels) is part of its codes and not counted twice. A weight that
    several layers hold is counted once, unless their quantizers make different codes of it. A tensor that INQ has
    frozen in part is counted as float.
    """
    coded, owned = 0, set[int]()
    seen = set[tuple[int, bytes, bytes]]()
    for _, quantizer, latent in parameter_quantizers(model):
        if not quantizer.complete:
            continue
        owned |= {id(parameter) for parameter in (latent, *quantizer.parameters())}
        codes = quantizer.encode(latent.detach())
        content = id(latent), codes.packed(), codes.decode().cpu().numpy().tobytes()
        coded += 0 if content in seen else codes.nbits
        seen.add(content)
    return 32 * sum(p.numel() for p in model.parameters() if id(p) not in owned) + coded


def stored_state(model: nn.Module) -> dict[str, Tensor | StoredForm]:
    """What a file stores of ``model``: its :func:`plain_state` with codes in place of the quantized parameters.

    Raises:
        ValueError: as :func:`encode_parameters`.
    """
    codes, names = encode_parameters(model), dict[tuple[int, str], str]()
    found = dict[str, Tensor | StoredForm]()
    for name, value in plain_state(model).items():
        layer, _, kind = name.rpartition(".")
        place = id(model.get_submodule(layer)), kind
        # A layer that is registered at two places has its parameters under two names, and codes under one.
        first_name = names.setdefault(place, name)
        found[name] = codes.get(first_name, value)
    return found


def plain_state(model: nn.Module) -> dict[str, Tensor]:
    """The ``state_dict`` that ``model`` would have without parametrizations, with what these compute as parameters."""
    state = {}
    for name, value in model.state_dict().items():
        place, mark, inside = f".{name}".partition(".parametrizations.")
        kind = inside.partition(".")[0]
        if not mark:
            state[name] = value
        elif (plain := f"{place}.{kind}"[1:]) not in state:
            state[plain] = getattr(model.get_submodule(place[1:]), kind).detach()
    return state


def parametrization_of(layer: nn.Module, kind: str = "weight") -> parametrize.ParametrizationList:
    """The parametrization of the parameter ``kind`` of ``layer``: its modules in order, and ``original``.

    Raises:
        ValueError: the parameter has none.
    """
    if not parametrize.is_parametrized(layer, kind):
        raise ValueError(f"the {kind} is not parametrized")
    return cast(parametrize.ParametrizationList, cast(nn.ModuleDict, layer.parametrizations)[kind])


class KeptCodes(Quantizer):
    """Parametrization of :func:`attach_codes`: the parameter is what its codes stand for, and stays so.

    It belongs to the tensor whose codes it holds: what comes in counts only by its shape, and gets no gradient. A
    ``state_dict`` with other values is refused, as it would bring no codes: attach those instead.
    """

    def __init__(self, codes: StoredForm):
        super().__init__()
        self.codes = codes
        self.decoded: Tensor
        self.register_buffer("decoded", codes.decode())

    def forward(self, x: Tensor) -> Tensor:
        self._check(x)
        return self.decoded

    def encode(self, x: Tensor) -> StoredForm:
        self._check(x)
        return self.codes

    def _load_from_state_dict(self, state_dict, prefix, metadata, strict, missing, unexpected, errors):
        given = state_dict.get(f"{prefix}decoded", self.decoded)
        if given.shape != self.decoded.shape or not torch.equal(given.to(self.decoded), self.decoded):
            errors.append(f"{prefix}decoded is not what the attached codes stand for: use attach_codes")
        super()._load_from_state_dict(state_dict, prefix, metadata, strict, missing, unexpected, errors)

    def _check(self, x: Tensor) -> None:
        if x.shape != self.codes.shape:
            raise ValueError(f"x has shape {tuple(x.shape)}; these codes are those of {tuple(self.codes.shape)}")


def attach_codes(model: nn.Module, codes: Mapping[str, StoredForm]) -> nn.Module:
    """Put codes into plain parameters of ``model``, in place, so that everything that reads codes finds them.

    ::

        codes = inq.encode()
        attach_codes(inq.finish(), codes)  # stored_bits, stored_state and to_integers now see INQ's codes

    Args:
        codes: by parameter name, such as ``0.weight``; for weights and biases of linear and convolution layers.
    Returns:
        ``model``: each parameter is the decoded one and is trained no more. Layers that hold the same parameter all
        get its codes.
    Raises:
        ValueError: ``model`` has no such parameter in such a layer, it is parametrized already, or it has another
            shape. Nothing has changed then.
    """
    places = {  # with all names of a layer that is registered at several places
        (f"{name}.{kind}" if name else kind): (layer, kind)
        for name, layer in model.named_modules(remove_duplicate=False)
        if isinstance(layer, LAYERS)
        for kind in layer._parameters
    }
    chosen = {}
    for name, form in codes.items():
        if name not in places:
            raise ValueError(
                f"codes name {name!r}, which is no plain weight or bias of a layer; there are {list(places)}"
            )
        parameter = getattr(*places[name])
        if parameter is None or parameter.shape != form.shape:
            shape = None if parameter is None else tuple(parameter.shape)
            raise ValueError(f"{name} has shape {shape} in model, its codes {tuple(form.shape)}")
        chosen[id(parameter)] = form
    for layer, kind in dict.fromkeys(places.values()):
        parameter = getattr(layer, kind)
        if id(parameter) in chosen:
            kept = KeptCodes(chosen[id(parameter)]).to(parameter)
            put_quantizer(layer, kept, kind)
            parametrization_of(layer, kind).original.requires_grad_(False)
    return model


def remove_quantizer(layer: nn.Module, kind: str = "weight") -> None:
    """Make a parametrized parameter of ``layer`` a plain one, which holds what it computes now.

    ``parametrize.remove_parametrizations`` takes the attribute off the class of ``layer``, which deep copies of it
    share: they would lose theirs. Here ``layer`` gets a class of its own first.

    Args:
        kind: "weight" or "bias".
    """
    _own_class(layer)
    parametrize.remove_parametrizations(layer, kind, leave_parametrized=True)


def _own_class(layer: nn.Module) -> None:
    """Give a parametrized ``layer`` a class of its own, equal to the one that it shares with deep copies of it."""
    shared = type(layer)
    content = {name: value for name, value in vars(shared).items() if name not in ("__dict__", "__weakref__")}
    layer.__class__ = type(shared.__name__, shared.__bases__, content)
