"""DoReFa-Net's gradients on CIFAR-100: 1-bit weights, 2-bit activations, gradients of 32, 6 and 4 bits, four roundings.

The authors' released AlexNet has a top-1 error of 46.6, 46.8 and 54.0 % with gradients of 32, 6 and 4 bits. Here it is
VGG-small on images of 16 × 16 pixels.
"""

import time
from functools import partial

import torch
from torch import nn

from fewbits import evidence
from fewbits.core.quantizer import quantize_weights
from fewbits.experiments.common import recorded, run_folder, run_missing_rows, seeds
from fewbits.experiments.comparison import VGG_WIDTHS, prepared
from fewbits.experiments.low_bitwidth.claims import cifar_claims
from fewbits.experiments.low_bitwidth.networks import round_gradients
from fewbits.low_bitwidth import DoReFaActivation, DoReFaWeights
from fewbits.nets import VGGSmall
from fewbits.training import adam, percent, seed_everything, train

TABLE = "low_bitwidth_cifar"
EPOCHS, LR = 10, 3e-3
ROUNDINGS = ("noise", "nearest", "zero", "zero, noise")
# Weight, activation and gradient bits and the rounding of the gradients; the longest list that decides a claim first.
SETTINGS = (
    (32, 32, 32, "none"),
    (1, 2, 32, "none"),
    *((1, 2, 4, rounding) for rounding in ("noise", "zero, noise", "zero", "nearest")),
    *((1, 2, 6, rounding) for rounding in ("noise", "zero, noise", "zero", "nearest")),
)


def network(weight_bits: int, activation_bits: int, gradient_bits: int, rounding: str) -> nn.Module:
    """VGG-small with the first and the last layer in floating point; 32 bits are floating point."""
    activation = nn.ReLU if activation_bits == 32 else partial(DoReFaActivation, activation_bits)
    model: nn.Module = VGGSmall(3, 16, 100, VGG_WIDTHS, batch_norm=True, activation=activation)
    if weight_bits < 32:
        quantize_weights(model, partial(DoReFaWeights, weight_bits))
    return model if gradient_bits == 32 else round_gradients(model, gradient_bits, rounding)


def run_cifar(options, command: str) -> None:
    """Train what the table lacks, seed after seed, and record the claims of the seeds that are there."""
    started = time.perf_counter()
    data = prepared("cifar100")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run_folder(TABLE).mkdir(parents=True, exist_ok=True)

    def measure(row: dict, minutes: float | None) -> dict[str, float] | None:
        name = "-".join(str(value).replace(", ", "-") for value in row.values())
        bits = row["weight_bits"], row["activation_bits"], row["gradient_bits"]
        seed_everything(row["seed"])
        model = network(*bits, row["rounding"]).to(device)
        checkpoint = run_folder(TABLE) / f"{name}.safetensors"
        optimizer = adam(model, LR)
        more = {"seed": row["seed"], "checkpoint": checkpoint, "minutes": minutes, "progress": True}
        history = train(model, data, optimizer, epochs=EPOCHS, channels_last=True, **more)
        if len(history) < EPOCHS:
            return None
        return {"accuracy": percent(model, data), "loss": history[-1]["loss"]}

    names = ("weight_bits", "activation_bits", "gradient_bits", "rounding")
    rows = [
        dict(zip(names, setting, strict=True)) | {"seed": seed} for seed in seeds(options.seeds) for setting in SETTINGS
    ]
    run_missing_rows(TABLE, rows, measure, command, options.minutes, device)
    table = recorded(TABLE, list(rows[0]))
    evidence.record(
        "low_bitwidth", cifar_claims(table), command=command, wall_s=time.perf_counter() - started, device=device
    )
