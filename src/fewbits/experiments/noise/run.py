"""How far do the seed, the threads and the instruction set alone move the accuracy of a training run?

A small convolutional network on ``mnist5k`` is trained with float, binary and 2-bit weights: with a few seeds in every
setting of the machine that really changes something, and with many seeds in one setting. Frozen networks are evaluated
in all settings. Written are ``data/results/noise.json`` (claims), ``noise_settings.csv`` (what each setting really
switched), ``noise_hardware.csv``, ``noise_seeds.csv``, ``noise_divergence.csv``, ``noise_frozen.csv``, and three
networks in ``data/checkpoints``. ``--part pooling`` tests which edge makes runs diverge, ties in a max-pooling or the
quantizer: ``noise_pooling.csv``.
"""

import copy
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewbits import evidence, training
from fewbits.binary import XnorWeights
from fewbits.core.quantizer import quantize_weights
from fewbits.data import Dataset, load
from fewbits.experiments.common import checkpoint_path, measured, run_missing_rows, seeds
from fewbits.experiments.noise.claims import make_claims, pooling_claims
from fewbits.training import adam, load_model, one_cycle, percent, save_model, seed_everything, step_count
from fewbits.uniform import UniformQuantizer

QUANTIZERS = {
    "float": None,
    "binary": XnorWeights,  # the sign of each weight times the mean magnitude of its filter
    "2-bit": lambda: UniformQuantizer(2),  # -1, 0 or 1 times the largest magnitude of the layer
}
EPOCHS, PEAK_LR = 5, 5e-3
RECIPES = ("constant", "one-cycle")  # of the learning rate
POOLINGS: dict[str, type[nn.Module]] = {"maximum": nn.MaxPool2d, "average": nn.AvgPool2d}
NUDGE = 2.0**-52  # relative change of the initial weights: the last bit of float64
MOMENTS = (1, 8, 32, 96, 160)  # steps at which the distance of two runs is recorded

_OLDEST = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"}
# name -> threads, environment. The first is the reference. A setting that changes nothing on a machine is not run.
SETTINGS = {
    "2 threads": (2, {}),
    "1 thread": (1, {}),
    "ATen: no SIMD": (2, {"ATEN_CPU_CAPABILITY": "default"}),
    "ATen: AVX2": (2, {"ATEN_CPU_CAPABILITY": "avx2"}),
    "ATen: AVX-512": (2, {"ATEN_CPU_CAPABILITY": "avx512"}),
    "oneDNN: SSE4.1": (2, {"ONEDNN_MAX_CPU_ISA": "SSE41"}),
    "oneDNN: AVX2": (2, {"ONEDNN_MAX_CPU_ISA": "AVX2"}),
    "oneDNN: AVX-512": (2, {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}),
    "MKL: COMPATIBLE": (2, {"MKL_CBWR": "COMPATIBLE"}),
    "MKL: AVX2": (2, {"MKL_CBWR": "AVX2"}),
    "MKL: AVX-512": (2, {"MKL_CBWR": "AVX512"}),
    "all oldest": (2, _OLDEST),
    "all oldest, 1 thread": (1, _OLDEST),
}
FARTHEST = "all oldest, 1 thread"  # its runs are compared with the reference step by step


def add_arguments(parser) -> None:
    """Options of ``python -m fewbits.experiments noise``."""
    parser.add_argument("--seeds", type=int, default=20, help="seeds in one setting (default 20)")
    parser.add_argument("--hardware-seeds", type=int, default=3, help="seeds in every setting (default 3)")
    parser.add_argument("--part", choices=("settings", "pooling"), default="settings", help="default: settings")


# --- One training run -----------------------------------------------------------------------------------------------


def small_cnn(method: str, pooling: str = "maximum") -> nn.Module:
    """Two convolutions with batch normalization and pooling, one linear layer: 2,722 parameters.

    Input (N, 1, 28, 28), which is first averaged to 14 × 14; output (N, 10) logits. All weights are quantized.

    Args:
        method: "float", "binary" or "2-bit".
        pooling: of the convolutions' outputs, "maximum" or "average".
    """
    layers: list[nn.Module] = [nn.AvgPool2d(2)]
    for inputs, outputs in ((1, 8), (8, 16)):
        convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU(), POOLINGS[pooling](2)]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * 3 * 3, 10))
    quantizer = QUANTIZERS[method]
    return model if quantizer is None else quantize_weights(model, quantizer, skip=())


def train(
    method: str,
    seed: int,
    data: Dataset,
    recipe: str = "constant",
    dtype: torch.dtype = torch.float32,
    after_step: Callable[[nn.Module], object] | None = None,
) -> nn.Module:
    """Train `small_cnn` for 5 epochs of 32 steps with Adam, in the setting in which the process runs.

    Args:
        method: "float", "binary" or "2-bit".
        recipe: learning rate 0.005 throughout ("constant"), or rising to it and then falling to 0 ("one-cycle").
        dtype: of weights and arithmetic; the initial weights are the same numbers for every dtype and setting.
    """
    model = _same_start(method, seed).to(dtype)
    schedule = one_cycle if recipe == "one-cycle" else None
    optimizer = adam(model, PEAK_LR)
    training.train(model, data, optimizer, epochs=EPOCHS, seed=seed, schedule=schedule, after_step=after_step)
    return model


def _same_start(method: str, seed: int, pooling: str = "maximum") -> nn.Module:
    """`small_cnn` with initial weights that are the same bits everywhere.

    torch's float32 draws differ in the last bit between instruction sets. Drawn in float64 and rounded, they agree.
    """
    seed_everything(seed)
    torch.set_default_dtype(torch.float64)
    try:
        return small_cnn(method, pooling).float()
    finally:
        torch.set_default_dtype(torch.float32)


def parted(
    method: str,
    pooling: str,
    seed: int,
    data: Dataset,
    dtype: torch.dtype = torch.float64,
    moments: Sequence[int] = MOMENTS,
) -> list[float]:
    """Distance of two runs whose initial weights differ in the last bit of float64, after each of some steps.

    Args:
        method, pooling: of `small_cnn`.
        dtype: of weights and arithmetic. In float32 the initial weights differ in the last bit of float32.
        moments: numbers of steps, in ascending order; training ends after the epoch of the last.
    Returns:
        Norm of the difference of the latent weights over the norm of the weights.
    """
    nudge, found = NUDGE * torch.finfo(dtype).eps / torch.finfo(torch.float64).eps, []
    for factor in (1, 1 + nudge):
        model, steps = _same_start(method, seed, pooling).to(dtype), list[Tensor]()
        for parameter in model.parameters():
            parameter.data *= factor
        epochs = math.ceil(moments[-1] / step_count(len(data.train_images), 1))
        keep = partial(_keep_weights, steps)
        training.train(model, data, adam(model, PEAK_LR), epochs=epochs, seed=seed, schedule=None, after_step=keep)
        found.append([steps[moment - 1] for moment in moments])
    return [((a - b).norm() / a.norm()).item() for a, b in zip(*found, strict=True)]


def latent_weights(model: nn.Module) -> Tensor:
    """All weights of the layers, latent where they are quantized, as one float64 vector."""
    return torch.cat([p.detach().double().flatten() for p in model.parameters() if p.dim() > 1])


@torch.no_grad()
def logits(model: nn.Module, data: Dataset, dtype: torch.dtype) -> Tensor:
    """Outputs for the test images, computed in ``dtype``, (1000, 10) float64."""
    model = copy.deepcopy(model).to(dtype).eval()
    return model(data.test_images.to(dtype)).double()


def measure(model: nn.Module, data: Dataset) -> dict:
    """Test accuracy in percent, and the mean cross entropy of the test images."""
    dtype = next(model.parameters()).dtype
    return {
        "accuracy": percent(model, data),
        "loss": F.cross_entropy(logits(model, data, dtype), data.test_labels).item(),
    }


# --- Settings of the machine ----------------------------------------------------------------------------------------


def probe() -> None:
    """Print what ATen reports and the checksum of a random draw; oneDNN and MKL report on their own as they compute."""
    torch.randn(64, 64) @ torch.randn(64, 64)
    F.conv2d(torch.randn(8, 8, 16, 16), torch.randn(8, 8, 3, 3))
    print("ATEN", torch.backends.cpu.get_cpu_capability())
    seed_everything(0)
    print("DRAW", _checksum(nn.Linear(64, 64).weight.detach()))


def honoured(threads: int, environment: dict[str, str]) -> dict:
    """What a process with this setting really uses: instruction sets by library, MKL's reproducibility mode.

    ``draw`` is the checksum of the initial weights that torch gives a linear layer at seed 0.
    """
    output = _python("probe()", threads, environment | {"MKL_VERBOSE": "1", "ONEDNN_VERBOSE": "1"})
    return {
        "threads": threads,
        "aten": _find(r"^ATEN (\S+)", output),
        "onednn": _find(r"cpu,isa:(.+)$", output).removeprefix("Intel "),
        "mkl": _find(r"CNR:(\S+)", output),
        "draw": _find(r"^DRAW (\S+)", output),
    }


def settings_of_this_machine() -> pd.DataFrame:
    """One row a setting, with what it switched; ``same_as`` names an earlier setting with the same effect."""
    rows: list[dict[str, Any]] = []
    first: dict[tuple, str] = {}
    for name, (threads, environment) in SETTINGS.items():
        row = {"setting": name, "variables": " ".join(f"{k}={v}" for k, v in environment.items())}
        if "avx512" in row["variables"].lower() and not torch.cpu._is_avx512_supported():
            rows.append(row | {"threads": threads, "same_as": "not available"})
            continue
        effect = honoured(threads, environment)
        row |= effect | {"same_as": first.get(tuple(effect.values()), "")}
        first.setdefault(tuple(effect.values()), name)
        rows.append(row)
    return pd.DataFrame(rows).fillna("")


def work(threads: int, hardware_seeds: int, folder: str) -> None:
    """Everything that one setting has to do, in a process of its own; results go to files in ``folder``."""
    torch.set_num_threads(threads)
    data = load("mnist5k")
    runs, trajectories, frozen = [], {}, []
    for recipe in RECIPES:
        for method in QUANTIZERS:
            for precision in ("float32", "float64"):
                if precision == "float64" and (method == "2-bit" or recipe == "one-cycle"):
                    continue
                for seed in seeds(hardware_seeds):
                    steps: list[Tensor] = []
                    model = train(
                        method,
                        seed,
                        data,
                        recipe,
                        getattr(torch, precision),
                        after_step=partial(_keep_weights, steps),
                    )
                    run = {"method": method, "precision": precision, "recipe": recipe, "seed": seed}
                    runs.append(run | measure(model, data))
                    trajectories[f"{method} {precision} {recipe} {seed}"] = torch.stack(steps)
    for method in QUANTIZERS:
        model = load_model(small_cnn(method), checkpoint_path(f"noise-{method}"))
        single, double = (logits(model, data, dtype) for dtype in (torch.float32, torch.float64))
        predicted = single.argmax(1)
        frozen.append(
            {
                "method": method,
                "correct": int((predicted == data.test_labels).sum()),
                "predictions": _checksum(predicted),
                "loss": F.cross_entropy(single, data.test_labels).item(),
                "float32_error": (single - double).abs().max().item(),
            }
        )
    (Path(folder) / "rows.json").write_text(json.dumps({"runs": runs, "frozen": frozen}))
    torch.save(trajectories, Path(folder) / "trajectories.pt")


def _keep_weights(steps: list[Tensor], model: nn.Module) -> None:
    steps.append(latent_weights(model))


def run_setting(name: str, hardware_seeds: int) -> tuple[list[dict], list[dict], dict[str, Tensor]]:
    """`work` in a new process with the setting ``name``: its runs, its frozen evaluations, its trajectories."""
    threads, environment = SETTINGS[name]
    with tempfile.TemporaryDirectory() as folder:
        _python(f"work({threads}, {hardware_seeds}, {folder!r})", threads, environment)
        rows = json.loads((Path(folder) / "rows.json").read_text())
        trajectories = torch.load(Path(folder) / "trajectories.pt")
    runs, frozen = ([{"setting": name} | row for row in rows[kind]] for kind in ("runs", "frozen"))
    return runs, frozen, trajectories


def _python(call: str, threads: int, environment: dict[str, str]) -> str:
    """Standard output of a new interpreter that calls a function of this module in the given environment."""
    inherited = {key: value for key, value in os.environ.items() if key not in _OLDEST}
    inherited["OMP_WAIT_POLICY"] = "PASSIVE"  # threads that wait do not spin: no difference but time on a busy machine
    code = f"import torch; torch.set_num_threads({threads}); from fewbits.experiments.noise.run import *; {call}"
    done = subprocess.run(
        [sys.executable, "-c", code], env=inherited | environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def _checksum(values: Tensor) -> str:
    return f"{zlib.crc32(values.numpy().tobytes()):08x}"


def _find(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    return match[1] if match else "?"


def divergence(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> list[dict]:
    """Distance of two runs after each step, relative to the weights' norm, and how many weights differ in sign."""
    rows = []
    for key, a in ours.items():
        method, precision, recipe, seed = key.split()
        distance = (a - theirs[key]).norm(dim=1) / a.norm(dim=1)
        flips = ((a >= 0) != (theirs[key] >= 0)).sum(dim=1)
        run = {"method": method, "precision": precision, "recipe": recipe, "seed": int(seed)}
        rows += [
            run | {"step": step, "distance": float(f"{d:.3g}"), "flips": f}
            for step, (d, f) in enumerate(zip(distance.tolist(), flips.tolist(), strict=True), start=1)
        ]
    return rows


# --- The experiment -------------------------------------------------------------------------------------------------


def run(options, command: str) -> None:
    """Run and measure everything of a part, then write claims, tables and checkpoints."""
    if options.part == "pooling":
        return run_pooling(options.seeds, command)
    started = time.perf_counter()
    data = load("mnist5k")
    many = many_seeds(options.seeds, data)
    evidence.write_rows("noise_seeds", many)
    print(many.groupby(["recipe", "method"]).accuracy.agg(["mean", "std"]))

    settings = settings_of_this_machine()
    evidence.write_rows("noise_settings", settings)
    print(settings)
    hardware: list[dict[str, Any]] = []
    frozen: list[dict[str, Any]] = []
    reference: dict[str, Tensor] = {}
    for name in settings.setting[settings.same_as == ""]:
        runs, evaluations, trajectories = run_setting(name, options.hardware_seeds)
        hardware += runs
        frozen += evaluations
        reference = reference or trajectories
        print(f"{name}: done after {time.perf_counter() - started:.0f} s", flush=True)
        if name == FARTHEST:
            evidence.write_rows("noise_divergence", pd.DataFrame(divergence(reference, trajectories)))
    hardware, frozen = pd.DataFrame(hardware), pd.DataFrame(frozen)
    evidence.write_rows("noise_hardware", hardware)
    evidence.write_rows("noise_frozen", frozen)
    claims = make_claims(many, hardware, frozen)
    wall_s = time.perf_counter() - started
    evidence.record("noise", measured(claims, command, wall_s), command=command, wall_s=wall_s)


def run_pooling(count: int, command: str) -> None:
    """Distances of runs with both poolings, in float32 and float64; an interrupted run goes on."""
    started = time.perf_counter()
    torch.set_num_threads(1)
    data = load("mnist5k")

    def measure(row: dict, minutes: float | None) -> dict[str, float]:
        dtype = getattr(torch, row["precision"])
        distances = parted(row["method"], row["pooling"], row["seed"], data, dtype)
        return {f"step {step}": distance for step, distance in zip(MOMENTS, distances, strict=True)}

    rows = [
        {"precision": precision, "method": method, "pooling": pooling, "seed": seed}
        for seed in seeds(count)
        for precision in ("float64", "float32")
        for method in QUANTIZERS
        for pooling in POOLINGS
    ]
    run_missing_rows("noise_pooling", rows, measure, command)
    claims = pooling_claims(evidence.rows("noise_pooling"))
    evidence.record("noise", claims, command=command, wall_s=time.perf_counter() - started)


def many_seeds(count: int, data: Dataset) -> pd.DataFrame:
    """Accuracy of every method, recipe and seed in one setting; seed 0 of one-cycle becomes the frozen networks."""
    torch.set_num_threads(1)
    rows = []
    for seed in seeds(count):
        for recipe in RECIPES:
            for method in QUANTIZERS:
                model = train(method, seed, data, recipe)
                row = {"recipe": recipe, "seed": seed}
                rows.append(row | {"method": method} | measure(model, data))
                if recipe == "one-cycle" and seed == 0:
                    save_model(model, checkpoint_path(f"noise-{method}"))
                if recipe == "one-cycle" and method == "float":
                    rounded = quantize_weights(model, lambda: UniformQuantizer(4, channel_axis=0), skip=())
                    rows.append(row | {"method": "float, rounded to 4 bits"} | measure(rounded, data))
    return pd.DataFrame(rows)
