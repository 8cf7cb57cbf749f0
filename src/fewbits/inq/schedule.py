"""Incremental Network Quantization (zhou2017): weights become 0 or ± a power of two, a part at a time.

INQ freezes the largest weights of a trained network on a codebook (:mod:`fewbits.inq.codebook`), trains the others
further, freezes more of them, and so on until nothing is left to train.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fewbits.core.checks import check_finite
from fewbits.core.codes import Codes
from fewbits.core.quantizer import Quantizer, put_quantizer, remove_quantizer, weight_layers
from fewbits.inq.codebook import InqQuantizer, check_inq_bits, largest_exponent

# Share of the weights that is frozen after each stage (zhou2017 Sec. 3.1).
ALEXNET = (0.3, 0.6, 0.8, 1.0)
GOOGLENET = (0.2, 0.4, 0.6, 0.8, 1.0)
# Of ResNet-18 by bits: the fewer bits, the more stages (zhou2017 Sec. 3.1 and 3.3).
RESNET18 = {
    5: (0.5, 0.75, 0.875, 1.0),
    4: (0.3, 0.5, 0.8, 0.9, 0.95, 1.0),
    3: (0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0),
    2: (0.2, 0.4, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.975, 1.0),
}


def halving(stages: int) -> tuple[float, ...]:
    """Freeze half of what is left at each stage and all at the last one: (0.5, 0.75, 0.875, 1) for 4 stages.

    4 stages are zhou2017's schedule of ResNet-18 and VGG-16; yokota2024 halves too, without the number of stages.

    Raises:
        ValueError: ``stages`` is below 1.
    Source: zhou2017 Sec. 3.1; yokota2024 Sec. 2.1
    """
    if stages < 1:
        raise ValueError(f"stages must be at least 1, got {stages}")
    return (*(1 - 0.5**stage for stage in range(1, stages)), 1.0)


class PartlyFrozen(Quantizer):
    """Parametrization of :class:`Inq`: frozen elements keep their codeword, the others are what the optimizer trains.

    The optimizer holds the latent tensor. Whatever it does to a frozen element there, by momentum, decay or otherwise,
    does not reach the weight, and the element gets no gradient.

    Args:
        weight: the tensor that is to be frozen.
        n1: largest exponent of its codebook.
        bits: of the codes.
    Source: zhou2017 Eq. 5 (groups); zhou2017 Eq. 8 (update); book eq-inq-update
    """

    def __init__(self, weight: Tensor, n1: int, bits: int):
        super().__init__()
        self.bits = bits
        self.frozen: Tensor
        self.fixed: Tensor
        self.n1: Tensor
        self.register_buffer("frozen", torch.zeros_like(weight, dtype=torch.bool))
        self.register_buffer("fixed", torch.zeros_like(weight, requires_grad=False))
        self.register_buffer("n1", torch.tensor(n1))

    def forward(self, latent: Tensor) -> Tensor:
        return torch.where(self.frozen, self.fixed, latent)  # zhou2017 Eq. 8

    @property
    def complete(self) -> bool:
        """Whether every element is frozen."""
        return bool(self.frozen.all())

    def encode(self, latent: Tensor) -> Codes:
        """The codes, once every element is frozen; ValueError before that."""
        if not self.complete:
            share = float(self.frozen.double().mean())
            raise ValueError(f"{share:.1%} of the elements are frozen: it has codes after step(1.0)")
        return self.quantizer().encode(self.fixed)

    def quantizer(self) -> InqQuantizer:
        """The nearest codeword of this tensor's codebook."""
        return InqQuantizer(self.bits, int(self.n1))


class Inq:
    """The schedule of INQ over any network: its layers' parameters are frozen on their codebooks step by step.

    ::

        inq = Inq(model)
        for fraction in halving(4):
            inq.step(fraction)  # freeze
            ...                 # train what is left, with a new optimizer; nothing is left after the last step
        codes = inq.encode()    # what hardware stores
        inq.finish()            # model has plain parameters again

    Of each tensor the same share is frozen, largest magnitude first, and n1 is that of the tensor when this object is
    made: a weight that later exceeds 3·2^n1/2 becomes ±2^n1.

    A frozen weight never changes again, whatever the optimizer (:class:`PartlyFrozen`). All state is in buffers of
    ``model``, so in its ``state_dict``: to resume, make the same object over the same model, load the state, and go on.
    A step to the fraction that is reached already changes nothing.

    Args:
        model: changed in place. Linear and convolution layers count.
        bits: bits per code, 2 to 7.
        biases: quantize the biases too, each with a codebook of its own. They must follow from folding, as a batch
            normalization after a quantized layer multiplies its weights off the grid.
        weights: False for the biases alone: a second object may freeze them at a time of its own.
        partition: "magnitude", or "random" for comparison.
        seed: of the random partition.
        choose_n1: (tensor, bits) -> n1.
    Raises:
        ValueError: ``model`` has nothing to quantize, a parameter is parametrized already or shared by layers,
            ``partition`` is unknown, ``bits`` is out of range, or a parameter holds NaN or Inf.
        TypeError: a parameter is of half precision: train such networks with autocast.
    Source: zhou2017 Alg. 1; own (n1 stays that of the start, where the paper's step 5 may move it)
    """

    def __init__(
        self,
        model: nn.Module,
        bits: int = 5,
        *,
        biases: bool = False,
        weights: bool = True,
        partition: str = "magnitude",
        seed: int = 0,
        choose_n1: Callable[[Tensor, int], int] = largest_exponent,
    ):
        if partition not in ("magnitude", "random"):
            raise ValueError(f"partition must be 'magnitude' or 'random', got {partition!r}")
        self.model, self.bits, self.partition, self.seed = model, check_inq_bits(bits), partition, seed
        kinds = ("weight",) * weights + ("bias",) * biases
        if not kinds:
            raise ValueError("weights and biases are both False: there is nothing to quantize")
        places = {}  # name of the parameter -> its layer and its name there
        for name, layer in weight_layers(model).items():
            for kind in kinds:
                if parametrize.is_parametrized(layer, kind):
                    raise ValueError(f"the {kind} of {name!r} is parametrized already")
                if getattr(layer, kind) is not None:
                    places[f"{name}.{kind}" if name else kind] = layer, kind
        if not places:
            raise ValueError(f"model has no linear or convolution layer with a {' or a '.join(kinds)} to quantize")
        tensors = {name: getattr(layer, kind) for name, (layer, kind) in places.items()}
        owners = dict[int, str]()
        for name, tensor in tensors.items():
            if (owner := owners.setdefault(id(tensor), name)) != name:
                raise ValueError(f"{owner} and {name} are one parameter: its parts would be frozen twice")
            check_finite(tensor, name)
            if tensor.dtype not in (torch.float32, torch.float64):
                raise TypeError(f"{name} must be float32 or float64, got {tensor.dtype}")
        self.parts = {}
        for name, (layer, kind) in places.items():
            tensor = tensors[name]
            part = PartlyFrozen(tensor, choose_n1(tensor.detach(), bits), bits).to(tensor.device)
            put_quantizer(layer, part, kind)
            self.parts[name] = (layer, kind, part)

    @property
    def share(self) -> float:
        """Share of the parameters under quantization that is frozen."""
        frozen = sum(int(part.frozen.sum()) for _, _, part in self.parts.values())
        return frozen / sum(part.frozen.numel() for _, _, part in self.parts.values())

    @torch.no_grad()
    def step(self, fraction: float) -> None:
        """Freeze until ``round(fraction * numel)`` elements of each tensor are frozen, those from before among them.

        Elements of equal magnitude are taken in row-major order.

        Raises:
            ValueError: ``fraction`` is not in (0, 1], fewer elements than now would be frozen, or a parameter holds NaN
                or Inf. Nothing has changed then.
        Source: zhou2017 Alg. 1 (steps 4 to 6); zhou2017 Eq. 5; zhou2017 Sec. 3.2 (partition)
        """
        if not 0 < fraction <= 1:
            raise ValueError(f"fraction must lie in (0, 1], got {fraction}")
        for name, (layer, kind, part) in self.parts.items():
            check_finite(getattr(layer, kind), name)
            if round(fraction * part.frozen.numel()) < part.frozen.sum():
                raise ValueError(f"fraction {fraction} is less than what is frozen of {name} already")
        for index, (layer, kind, part) in enumerate(self.parts.values()):
            weight = getattr(layer, kind)
            first = self._priority(weight, index).masked_fill(part.frozen.flatten(), torch.inf)
            chosen = first.argsort(descending=True, stable=True)[: round(fraction * weight.numel())]
            selected = torch.zeros_like(first, dtype=torch.bool)
            selected[chosen] = True
            new = selected.reshape(weight.shape) & ~part.frozen  # zhou2017 Eq. 5
            part.fixed.copy_(torch.where(new, part.quantizer()(weight), part.fixed))
            part.frozen |= new

    def _priority(self, weight: Tensor, index: int) -> Tensor:
        """Elements with larger values are frozen first: (numel,)."""
        if self.partition == "magnitude":
            return weight.abs().flatten()
        # The same numbers at every step, so that a resumed run needs no generator.
        generator = torch.Generator().manual_seed(1000 * self.seed + index)
        return torch.rand(weight.numel(), generator=generator).to(weight)

    @torch.no_grad()
    def outgrown(self) -> dict[str, int]:
        """By parameter name: how many elements that are not frozen have reached 3·2^n1/2 and would be clipped.

        Source: own (upper limit of zhou2017 Eq. 4)
        """
        counts = {}
        for name, (layer, kind, part) in self.parts.items():
            free = getattr(layer, kind)[~part.frozen]
            counts[name] = int((free.abs() >= 1.5 * 2.0 ** int(part.n1)).sum())
        return counts

    def encode(self) -> dict[str, Codes]:
        """The stored form of every parameter under quantization, by its name.

        Raises:
            ValueError: some elements are not frozen yet.
        """
        self._check_complete("encode")
        return {name: part.encode(part.fixed) for name, (_, _, part) in self.parts.items()}

    def finish(self) -> nn.Module:
        """Turn the frozen values into plain parameters again, and return the model.

        A plain parameter has no codes: keep those of :meth:`encode`, e.g. with
        :func:`fewbits.core.quantizer.attach_codes` or in a file (:mod:`fewbits.core.container`). Copies of the model
        that were made before stay as they are.

        Raises:
            ValueError: some elements are not frozen yet.
        """
        self._check_complete("finish")
        for layer, kind, _ in self.parts.values():
            remove_quantizer(layer, kind)
        self.parts = {}
        return self.model

    def _check_complete(self, verb: str) -> None:
        if not self.parts:
            raise ValueError(f"cannot {verb}: the schedule is finished")
        if self.share < 1:
            raise ValueError(f"cannot {verb}: {self.share:.1%} of the parameters are frozen, call step(1.0) first")
