"""Batch normalization folding: exactness, weight ranges, accuracy at few bits, and speed.

Three small networks are trained on ``mnist5k`` with each seed: a dense one, and a depthwise separable one with usual
and with strong weight decay. The last one is the stress case: decay starves channels until their variances are tiny.
Written are ``data/results/bn_folding.json`` (claims), ``bn_folding_exactness.csv`` and ``bn_folding_cost.csv`` (one row
per network and seed), ``bn_folding_bits.csv`` (one row per network, form, granularity, bit width and seed),
``bn_folding_ranges.csv`` (one row per layer), and the networks of seed 0 in ``data/checkpoints``.
"""

import copy
import statistics
import time

import pandas as pd
import torch
from torch import Tensor, nn

from fewbits import evidence, training
from fewbits.bn_folding import BATCH_NORMS, bn_scale_shift, channel_ranges, fold_model
from fewbits.core.channels import per_channel
from fewbits.core.hooks import watching
from fewbits.core.quantizer import LAYERS, quantize_weights, weight_layers
from fewbits.data import load
from fewbits.experiments.bn_folding.claims import make_claims
from fewbits.experiments.common import checkpoint_path, seeds
from fewbits.nets import VGGSmall, count_parameters
from fewbits.training import one_cycle, percent, save_model, seed_everything, sgd
from fewbits.uniform import UniformQuantizer

BITS = (8, 6, 5, 4, 3, 2)
GRANULARITIES = {"per channel": 0, "per tensor": None}  # name -> channel_axis
# Name -> epochs and weight decay.
RECIPES = {"dense": (5, 5e-4), "separable": (20, 5e-4), "separable, strong decay": (20, 5e-3)}


def add_arguments(parser) -> None:
    """Options of ``python -m fewbits.experiments bn_folding``."""
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds (default 5)")


def build(network: str) -> nn.Module:
    """The untrained network of a recipe: 77,786 parameters if dense, 9,034 if separable, BN ones included.

    Raises:
        KeyError: ``network`` is not in ``RECIPES``.
    """
    RECIPES[network]
    return VGGSmall(1, 28, 10, widths=(16, 16, 32, 32, 64, 64)) if network == "dense" else separable_net()


def separable_net(widths=(16, 32, 64, 64), strides=(2, 1, 2, 1)) -> nn.Sequential:
    """A small MobileNet: a 3×3 stem, then pairs of a depthwise 3×3 and a 1×1 convolution, each with BN and ReLU.

    Input (N, 1, 28, 28), output (N, 10) logits.
    """

    def block(inputs, outputs, kernel, stride, groups):
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]

    layers = block(1, widths[0], 3, strides[0], 1)
    for inputs, outputs, stride in zip(widths, widths[1:], strides[1:], strict=False):
        layers += block(inputs, inputs, 3, stride, inputs) + block(inputs, outputs, 1, 1, 1)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], 10))


def checkpoint_name(network: str) -> str:
    """Name of the frozen network of seed 0, e.g. ``bn-folding-separable-strong-decay``."""
    return "bn-folding-" + network.replace(", ", "-").replace(" ", "-")


def train(network: str, seed: int, data, epochs: int | None = None) -> nn.Module:
    """Train a network of a recipe: SGD with momentum, one-cycle learning rate up to 0.2, batches of 128."""
    full_epochs, weight_decay = RECIPES[network]
    epochs = epochs or full_epochs
    seed_everything(seed)
    model = build(network)
    optimizer = sgd(model, 0.2, nesterov=True, weight_decay=weight_decay)
    training.train(model, data, optimizer, epochs=epochs, seed=seed, schedule=one_cycle)
    return model


def run(options, command: str) -> None:
    """Train and measure everything, then write claims, tables and checkpoints."""
    started = time.perf_counter()
    evidence.code_version()
    data = load("mnist5k")
    exactness, curve, ranges, costs = [], [], [], []
    for seed in seeds(options.seeds):
        for network in RECIPES:
            model = train(network, seed, data)
            folded = fold_model(model)
            if seed == 0:
                save_model(model, checkpoint_path(checkpoint_name(network)))
            where = {"network": network, "seed": seed}
            exactness.append(where | compare(model, folded, data.test_images) | {"codes": codes_changed(model)})
            curve += [where | row for row in accuracies(model, folded, data)]
            ranges += [where | row for row in layer_ranges(model, folded)]
            costs.append(where | cost(model, folded, data.test_images[:128]))
            print(exactness[-1], costs[-1])
        print(pd.DataFrame(curve).query("seed == @seed").pivot_table("accuracy", "bits", ["network", "scales", "form"]))
    exactness, curve, ranges, costs = (pd.DataFrame(table) for table in (exactness, curve, ranges, costs))
    evidence.write_rows("bn_folding_exactness", exactness)
    evidence.write_rows("bn_folding_bits", curve)
    evidence.write_rows("bn_folding_ranges", ranges)
    wall_s = time.perf_counter() - started
    costs = evidence.stamped(costs, command, wall_s)  # times say on which processor
    evidence.write_rows("bn_folding_cost", costs)
    claims = make_claims(exactness, curve, ranges, costs)
    evidence.record("bn_folding", claims, command=command, wall_s=wall_s)


@torch.no_grad()
def compare(model: nn.Module, folded: nn.Module, images: Tensor) -> dict:
    """Largest logit difference, relative to the largest logit, in both precisions; predictions changed in float32.

    In float64 the network is folded anew, so that the comparison does not see the rounding of float32.
    """
    wide = copy.deepcopy(model).double()
    wide_logits, wide_folded = wide(images.double()), fold_model(wide)(images.double())
    logits, folded_logits = model(images), folded(images)
    return {
        "float64": float((wide_folded - wide_logits).abs().max() / wide_logits.abs().max()),
        "float32": float((folded_logits - logits).abs().max() / logits.abs().max()),
        "predictions": int((folded_logits.argmax(1) != logits.argmax(1)).sum()),
    }


def codes_changed(model: nn.Module) -> int:
    """Weight codes that folding changes, one scale per channel, over all layers and bit widths, in float64.

    A negative c_j mirrors its channel, which is no change: codes are compared up to the sign of c_j.
    """
    model = copy.deepcopy(model).double()
    layers, folded = weight_layers(model), weight_layers(fold_model(model))
    norms = [module for module in model.modules() if isinstance(module, BATCH_NORMS)]
    changed = 0
    for (name, layer), bn in zip(layers.items(), norms, strict=False):  # the last layer has no BN
        sign = bn_scale_shift(bn)[0].sign()
        for bits in BITS:
            quantizer = UniformQuantizer(bits, channel_axis=0)
            before, after = (quantizer.encode(each.weight.detach()).values for each in (layer, folded[name]))
            changed += int((after != before * per_channel(sign, before.dim())).sum())
    return changed


def accuracies(model: nn.Module, folded: nn.Module, data) -> list[dict]:
    """Test accuracy in percent with all weights quantized, unfolded (BN stays in floating point) and folded."""
    rows = [{"form": "unfolded", "scales": "float", "bits": 32, "accuracy": percent(model, data)}]
    for form, network in (("unfolded", model), ("folded", folded)):
        for scales in GRANULARITIES:
            for bits in BITS:
                score = percent(quantized(network, bits, scales), data)
                rows.append({"form": form, "scales": scales, "bits": bits, "accuracy": score})
    return rows


def quantized(model: nn.Module, bits: int, scales: str) -> nn.Module:
    """A copy of ``model`` with every weight rounded to ``bits`` bits; biases, BN and activations stay as they are."""
    axis = GRANULARITIES[scales]
    return quantize_weights(copy.deepcopy(model), lambda: UniformQuantizer(bits, channel_axis=axis), skip=())


def layer_ranges(model: nn.Module, folded: nn.Module) -> list[dict]:
    """Per layer and form: the widest channel's range over the narrowest's and over the median channel's."""
    rows = []
    for form, network in (("unfolded", model), ("folded", folded)):
        for layer, module in weight_layers(network).items():
            r = channel_ranges(module.weight)
            spread = {"max_over_min": float(r.max() / r.min()), "max_over_median": float(r.max() / r.median())}
            rows.append({"form": form, "layer": layer, **spread})
    return rows


@torch.no_grad()
def cost(model: nn.Module, folded: nn.Module, images: Tensor, repeats: int = 41) -> dict:
    """What BN costs: operations for one image, numbers stored, and CPU time on one thread.

    The two forms take turns, and ``speedup`` is the median over the turns of unfolded time / folded time: whatever else
    the machine does at a moment hits both. CPU time, because waiting for a busy core is not the network's work.
    """
    seconds = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(repeats + 2):
            turn = []
            for network in (model, folded):
                begin = time.thread_time()
                network(images)
                turn.append(time.thread_time() - begin)
            seconds.append(turn)
    finally:
        torch.set_num_threads(threads)
    unfolded_s, folded_s = zip(*seconds[2:], strict=True)  # two turns to warm up
    return operations(model, images[:1]) | {
        "numbers_unfolded": stored_numbers(model),
        "numbers_folded": stored_numbers(folded),
        "ms_unfolded": round(1000 * statistics.median(unfolded_s), 3),
        "ms_folded": round(1000 * statistics.median(folded_s), 3),
        "speedup": round(statistics.median(u / f for u, f in zip(unfolded_s, folded_s, strict=True)), 4),
    }


@torch.no_grad()
def operations(model: nn.Module, image: Tensor) -> dict[str, int]:
    """Multiply-adds of the layers, and of the BNs (one for each element of their output), for one image (1, …)."""
    counts = {"layer_macs": 0, "bn_macs": 0}

    def count(module, inputs, output):
        if isinstance(module, LAYERS):
            counts["layer_macs"] += output.numel() * module.weight[0].numel()
        elif isinstance(module, BATCH_NORMS):
            counts["bn_macs"] += output.numel()

    with watching(model.modules(), count):
        model.eval()(image)
    return counts


def stored_numbers(model: nn.Module) -> int:
    """Parameters and running statistics: what a file of the network holds."""
    return count_parameters(model) + sum(buffer.numel() for buffer in model.buffers() if buffer.is_floating_point())
