"""How networks are trained in the experiment ``inq``, before INQ and between its stages."""

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewbits.core.codes import Codes
from fewbits.core.quantizer import weight_layers
from fewbits.data import Dataset
from fewbits.inq import Inq, InqQuantizer, halving, least_error_exponent
from fewbits.mobileone import align_scales, fold_constant_channels
from fewbits.training import clip_gradients, cosine, distributed, one_cycle, percent, sgd, train

FRACTIONS = halving(4)
CHANGES = ("aligned", "least-error", "distilled")  # of INQ, see apply_inq
ALIGNED_WITH = 500  # images
LR, WEIGHT_DECAY = 0.01, 1e-4  # of each stage of INQ


class OutOfTime(Exception):
    """The minutes are over; the state is saved."""


@dataclass(frozen=True)
class Trainer:
    """The data and settings that all training runs of one network share.

    ``folder`` is where the state of each run is kept, or None; ``deadline`` is a ``time.perf_counter()``.
    """

    data: Dataset
    seed: int
    batch_size: int = 128
    augment: Callable | None = None
    folder: Path | None = None
    deadline: float = math.inf
    progress: bool = False

    def train(self, model: nn.Module, name: str, epochs: int, lr: float, decay: float, loss: Callable, peak: bool):
        """SGD with momentum; the learning rate rises to ``lr`` first if ``peak``, and falls to 0 as a cosine.

        Without a peak the gradients are clipped: the network is folded, and has no normalization any more.
        """
        minutes = distributed.broadcast(self.deadline - time.perf_counter()) / 60
        if minutes <= 0:
            raise OutOfTime(name)
        optimizer = sgd(model, lr, nesterov=True, weight_decay=decay)
        if not peak:
            clip_gradients(optimizer)
        history = train(
            model,
            self.data,
            optimizer,
            epochs=epochs,
            schedule=one_cycle if peak else cosine,
            batch_size=self.batch_size,
            seed=self.seed,
            loss=loss,
            augment=self.augment,
            evaluate_on=(self.data.test_images, self.data.test_labels) if self.folder else None,
            autocast=self.data.train_images.is_cuda,
            channels_last=self.folder is not None,
            checkpoint=self.folder and self.folder / f"{name}.safetensors",
            log=self.folder and self.folder / f"{name}.csv",
            minutes=None if math.isinf(minutes) else minutes,
            progress=self.progress,
        )
        if len(history) < epochs:
            raise OutOfTime(name)


class Distillation:
    """Half the cross-entropy with the labels, half that with what ``teacher`` answers to the same images.

    A hook on the student asks the teacher, as a loss sees no images; it is gone after ``remove()``.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module, temperature: float = 2.0):
        self.teacher, self.temperature = teacher.eval(), temperature
        self.remove = student.register_forward_pre_hook(self._ask).remove

    @torch.no_grad()
    def _ask(self, student: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if student.training:
            self.answer = (self.teacher(inputs[0]).float() / self.temperature).softmax(1)

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        soft = F.cross_entropy(logits / self.temperature, self.answer) * self.temperature**2
        return (F.cross_entropy(logits, labels) + soft) / 2


@dataclass
class Outcome:
    """A network after INQ, and what was counted on the way.

    Attributes:
        model: with plain parameters, in evaluation mode.
        codes: what hardware stores of each quantized parameter, by its name.
        changed: frozen elements that were not the same any more at the end.
        outgrown: elements that had reached 3·2^n1/2 when they could be frozen, added up over the stages.
        stages: for each, its fraction and the test accuracy in percent after freezing and after training.
    """

    model: nn.Module
    codes: dict[str, Codes]
    changed: int
    outgrown: int
    stages: list[dict]


def apply_inq(
    model: nn.Module,
    trainer: Trainer,
    epochs: int,
    bits: int = 5,
    fractions: Sequence[float] = FRACTIONS,
    biases: bool = True,
    variant: str = "plain",
    lr: float = LR,
    **settings,
) -> Outcome:
    """INQ of a copy of ``model``, with ``epochs`` of training after each step but the last.

    Args:
        variant: "plain" or changes, joined by "+": "aligned", after :func:`fold_constant_channels` with the training
            images and :func:`align_scales` with some of them; "least-error", with that n1 in place of the paper's;
            "distilled", taught by ``model``.
        settings: of :class:`fewbits.inq.Inq`.

    Raises:
        ValueError: if ``variant`` is none of these.
    """
    changes = changes_of(variant)
    teacher, model = model, prepared(model, trainer.data, changes)
    if "least-error" in changes:
        settings["choose_n1"] = least_error_exponent
    inq = Inq(model, bits, biases=biases, **settings)
    distillation = Distillation(model, copy.deepcopy(teacher)) if "distilled" in changes else None
    loss = distillation or F.cross_entropy
    frozen, outgrown, stages = [], 0, []
    for stage, fraction in enumerate(fractions, start=1):
        outgrown += sum(inq.outgrown().values())
        inq.step(fraction)
        frozen.append([(part.frozen.clone(), part.fixed.clone()) for _, _, part in inq.parts.values()])
        stages.append({"stage": stage, "fraction": fraction, "frozen": percent(model, trainer.data)})
        if fraction < 1:
            retrain(model, trainer, f"{variant}-{stage}", epochs, lr, loss)
            stages[-1]["trained"] = percent(model, trainer.data)
    if distillation:
        distillation.remove()
    tensors = [getattr(layer, kind).detach() for layer, kind, _ in inq.parts.values()]
    changed = sum(
        int((tensor != fixed)[mask].sum())
        for stage in frozen
        for tensor, (mask, fixed) in zip(tensors, stage, strict=True)
    )
    codes = inq.encode()
    return Outcome(inq.finish().eval(), codes, changed, outgrown, stages)


def changes_of(variant: str, known: Sequence[str] = CHANGES) -> list[str]:
    """What a variant of INQ changes, see :func:`apply_inq`.

    Raises:
        ValueError: a change is not among those ``known``.
    """
    changes = [] if variant == "plain" else variant.split("+")
    if unknown := set(changes) - set(known):
        raise ValueError(f"variant {variant!r}: unknown {sorted(unknown)}; there are plain, {', '.join(known)}")
    return changes


def prepared(model: nn.Module, data: Dataset, changes: Sequence[str]) -> nn.Module:
    """A copy of ``model`` on which INQ begins: if "aligned" is among the changes, with constants folded and aligned."""
    if "aligned" not in changes:
        return copy.deepcopy(model)
    model = fold_constant_channels(model.eval(), data.train_images)
    return align_scales(model, data.train_images[:ALIGNED_WITH])


def retrain(
    model: nn.Module, trainer: Trainer, name: str, epochs: int, lr: float, loss: Callable = F.cross_entropy
) -> None:
    """Train a folded network as between two stages of INQ; what is frozen stays."""
    trainer.train(model, name, epochs, lr, WEIGHT_DECAY, loss, peak=False)


@torch.no_grad()
def on_grid(model: nn.Module, bits: int, biases: bool) -> float:
    """Share of the weights (and biases) that lie on their tensor's codebook."""
    tensors = [
        getattr(layer, kind) for layer in weight_layers(model).values() for kind in ("weight", "bias")[: 1 + biases]
    ]
    tensors = [tensor for tensor in tensors if tensor is not None]
    hits = sum(int((InqQuantizer(bits)(tensor) == tensor).sum()) for tensor in tensors)
    return hits / sum(tensor.numel() for tensor in tensors)
