"""INQ of a folded network with normalization while it trains: by the mean alone, or BN put back and kept.

With the variant "mean-only" all weights *and* biases end as powers of two. With "bn-kept" the weights do, and each
channel keeps a factor and an offset of 16 bits. The last weights are frozen after the training, when the statistics of
the normalization move no more; "bn-kept+re-estimated" is the same network with statistics taken anew.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewbits.bn_folding import BATCH_NORMS, bn_scale_shift
from fewbits.core.batch_norm import running_statistics
from fewbits.core.codes import Codes
from fewbits.core.quantizer import weight_layers
from fewbits.experiments.inq.training import CHANGES, Distillation, Outcome, Trainer, changes_of, prepared, retrain
from fewbits.inq import Inq
from fewbits.mobileone import fold_mean_norms, insert_batch_norms, insert_mean_norms
from fewbits.training import percent

MEAN_ONLY, BN_KEPT = "mean-only", "bn-kept"
RE_ESTIMATED = "re-estimated"  # "bn-kept" once more, with statistics that know the weights frozen last
NORMALIZED = (MEAN_ONLY, BN_KEPT)
STATISTICS_OF = 5000  # training images, from which the norms begin
HALF_BITS = 16  # of a factor or an offset that stays in the network


@dataclass(frozen=True)
class Stage:
    """Freeze this share of the weights, and all biases if ``biases``; then train for ``epochs`` from ``lr``."""

    fraction: float
    epochs: int
    lr: float
    biases: bool = False


# The last stage freezes everything, and there is nothing to train.
STAGES = {
    MEAN_ONLY: (
        Stage(0.5, 6, 0.05),
        Stage(0.5, 5, 0.05, biases=True),
        Stage(0.75, 3, 0.05, biases=True),
        Stage(0.875, 3, 0.03, biases=True),
        Stage(1.0, 0, 0.0, biases=True),
    ),
    BN_KEPT: (Stage(0.5, 6, 0.05), Stage(0.75, 6, 0.05), Stage(0.875, 5, 0.03), Stage(1.0, 0, 0.0)),
}


def norm_of(variant: str) -> str | None:
    """Which normalization a variant trains with: one of :data:`NORMALIZED`, or None.

    Raises:
        ValueError: a change of the variant is unknown, or it names both.
    """
    found = [change for change in changes_of(variant, CHANGES + NORMALIZED) if change in NORMALIZED]
    if len(found) > 1:
        raise ValueError(f"variant {variant!r}: {' and '.join(found)} are two normalizations, give one")
    return found[0] if found else None


def stages_of(norm: str, epochs: Sequence[int] = (), rates: Sequence[float] = ()) -> list[Stage]:
    """The stages of a normalization, with other epochs and rates of those that train, if given.

    Raises:
        ValueError: not as many as there are such stages.
    """
    *trained, last = STAGES[norm]
    for name, values in {"epochs": epochs, "rates": rates}.items():
        if values and len(values) != len(trained):
            raise ValueError(f"{norm} has {len(trained)} stages that train, got {len(values)} {name}")
    return [
        *(
            Stage(
                stage.fraction,
                (epochs or [s.epochs for s in trained])[i],
                (rates or [s.lr for s in trained])[i],
                stage.biases,
            )
            for i, stage in enumerate(trained)
        ),
        last,
    ]


def apply_normalized(
    model: nn.Module, trainer: Trainer, stages: Sequence[Stage], variant: str, bits: int = 5
) -> Outcome:
    """INQ of a copy of the folded network ``model``, as ``variant`` says, in ``stages``.

    A stage that is the first with ``biases`` folds the norms first, and has none while it trains.

    Raises:
        ValueError: ``variant`` names no normalization.
    """
    norm = norm_of(variant)
    if norm is None:
        raise ValueError(f"variant {variant!r} has no normalization; there are {', '.join(NORMALIZED)}")
    changes = changes_of(variant, CHANGES + NORMALIZED)
    teacher, model = model, prepared(model, trainer.data, changes).eval()
    schedules = [Inq(model, bits)]
    insert = insert_mean_norms if norm == MEAN_ONLY else insert_batch_norms
    insert(model, trainer.data.train_images[:STATISTICS_OF])
    distillation = Distillation(model, copy.deepcopy(teacher)) if "distilled" in changes else None
    frozen, outgrown, rows = [], 0, []
    for number, stage in enumerate(stages, start=1):
        if stage.biases and len(schedules) == 1:
            schedules.append(Inq(fold_mean_norms(model.eval()), bits, weights=False, biases=True))
            schedules[1].step(1.0)
        outgrown += sum(schedules[0].outgrown().values())
        schedules[0].step(stage.fraction)
        parts = [part for schedule in schedules for _, _, part in schedule.parts.values()]
        frozen.append([(part, part.frozen.clone(), part.fixed.clone()) for part in parts])
        row = {"stage": number, "fraction": stage.fraction, "biases": float(stage.biases)}
        rows.append(row | {"frozen": percent(model, trainer.data)})
        if stage.epochs:
            retrain(model, trainer, f"{variant}-{number}", stage.epochs, stage.lr, distillation or F.cross_entropy)
            rows[-1]["trained"] = percent(model, trainer.data)
        print(rows[-1], flush=True)
    if distillation:
        distillation.remove()
    changed = sum(
        int((part.fixed != fixed)[mask].sum() + (part.frozen != mask)[mask].sum())
        for stage_parts in frozen
        for part, mask, fixed in stage_parts
    )
    codes: dict[str, Codes] = {}
    for schedule in schedules:
        codes |= schedule.encode()
        schedule.finish()
    return Outcome(model.eval(), codes, changed, outgrown, rows)


def re_estimated(model: nn.Module, images: Tensor) -> nn.Module:
    """A copy whose batch normalization has the statistics of ``images``, with the weights as they are now."""
    model = copy.deepcopy(model)
    torch.optim.swa_utils.update_bn(images.split(500), model)
    return model.eval()


@torch.no_grad()
def with_half_norms(model: nn.Module) -> nn.Module:
    """A copy in which factor and offset of each BN, and every bias, are rounded to half precision, as it is stored."""
    model = copy.deepcopy(model).eval()
    for norm in model.modules():
        if isinstance(norm, BATCH_NORMS):
            scale, shift = (values.half().to(values) for values in bn_scale_shift(norm))
            mean, variance = running_statistics(norm)
            mean.zero_()
            variance.fill_(1.0)
            norm.weight.copy_(scale)
            norm.bias.copy_(shift)
            norm.eps = 0.0
    for layer in weight_layers(model).values():
        if layer.bias is not None:
            layer.bias.copy_(layer.bias.half())
    return model


def stored_bits(model: nn.Module, bits: int = 5) -> int:
    """Bits of a network whose weights are on their codebooks: of each weight ``bits``, of other parameters 16."""
    weights = sum(layer.weight.numel() for layer in weight_layers(model).values())
    return bits * weights + HALF_BITS * (sum(parameter.numel() for parameter in model.parameters()) - weights)
