"""Inputs for the tests of the interactive figures, and what `fewbits` makes of them."""

import random

import torch
from tool_files import tool

from fewbits import evidence
from fewbits.binary import XnorWeights
from fewbits.core.codes import Codes
from fewbits.core.macs import LayerWork, layer_work
from fewbits.core.quantizer import Quantizer, weight_layers
from fewbits.fpga.fixed_point import Q16_16
from fewbits.fpga.shift_adder import dot, product
from fewbits.fpga.synthesis import utilization
from fewbits.inq import Inq, InqQuantizer, largest_exponent
from fewbits.logarithmic import LogQuantizer, full_scale_of_max
from fewbits.mixed_precision import Processor, network_cycles
from fewbits.mobileone import MobileNetV1, reparameterize
from fewbits.ternary import TWN
from fewbits.uniform import UniformQuantizer


def tensors() -> list[torch.Tensor]:
    """Float64 vectors: random ones of several spreads, the chapters' eight, borders and ties, and zeros."""
    generator = torch.Generator().manual_seed(0)
    normal = [torch.randn(50, generator=generator, dtype=torch.float64) * scale for scale in (1, 0.03, 1e-6, 700)]
    eight = torch.tensor([0.9, -0.5, 0.3, -0.1, 0.2, -0.7, 0.05, 0.62], dtype=torch.float64)
    ties = torch.arange(-16, 17, dtype=torch.float64) / 16
    around = torch.tensor([0.5**0.5, 1.5, 0.75, 0.375, 1.0], dtype=torch.float64)
    near = torch.cat([around, around.nextafter(torch.tensor(0.0)), around.nextafter(torch.tensor(9.0)), -around])
    equal = torch.tensor([0.25, 0.5, -0.75], dtype=torch.float64)  # 0.5 is the threshold of TWN(1)
    border = torch.tensor([0.1, -0.75], dtype=torch.float64)  # the largest is half-way between two powers
    return [*normal, eight, ties, near, equal, border, torch.zeros(4, dtype=torch.float64)]


def case(x: torch.Tensor, quantizer: Quantizer, settings: dict, levels: torch.Tensor | None) -> dict:
    """What a quantizer makes of a vector; with levels the values must be equal, else to 1e-12."""
    values = quantizer(x)
    return {
        "x": x.tolist(),
        "settings": settings,
        "exact": levels is not None,
        "values": values.tolist(),
        "levels": None if levels is None else (levels.double() + 0.0).unique().tolist(),
        "mean_square": (values - x).square().mean().item(),
    }


def all_levels(codes: Codes) -> torch.Tensor:
    return codes.levels.double() * codes.scale.double()


def quantizer_cases() -> dict[str, list[dict]]:
    cases = {name: [] for name in ("uniform", "binary", "ternary", "inq", "logarithmic")}
    for x in tensors():
        cases["binary"].append(case(x, XnorWeights(channel_axis=None), {}, None))
        for ratio in (0.0, 0.7, 1.0):
            cases["ternary"].append(case(x, TWN(ratio), {"ratio": ratio}, None))
        largest = x.abs().max()
        for bits in range(2, 9):
            for clip in (largest, 0.37 * largest):
                uniform = UniformQuantizer(bits).double()
                uniform.set_range(-clip, clip)
                grid = torch.arange(-uniform.q_max, uniform.q_max + 1) * uniform.scale_and_zero_point(x)[0]
                cases["uniform"].append(case(x, uniform, {"bits": bits, "clip": clip.item()}, grid))
            for offset in (-2, 0, 1):
                log = LogQuantizer(bits)
                log.set_full_scale(full_scale_of_max(x, log) + offset)
                fsr = log.full_scale(x)
                cases["logarithmic"].append(case(x, log, {"bits": bits, "fsr": fsr}, log.levels(fsr)))
                if bits < 8:
                    inq = InqQuantizer(bits, largest_exponent(x, bits) + offset)
                    cases["inq"].append(case(x, inq, {"bits": bits, "n1": inq.n1}, all_levels(inq.encode(x))))
    return cases


def inq_codes() -> list[dict]:
    found = []
    for x in tensors():
        for bits in range(2, 8):
            codes = InqQuantizer(bits).encode(x).values.tolist()
            found.append({"x": x.tolist(), "bits": bits, "n1": largest_exponent(x, bits), "codes": codes})
    return found


def partitions() -> list[dict]:
    """What each stage freezes in small layers, ties among them."""
    found = []
    for x in tensors():
        layer = torch.nn.Linear(len(x), 1, bias=False).double()
        layer.weight.data.copy_(x)
        schedule = Inq(layer)
        mask = schedule.parts["weight"][2].frozen
        for fraction in (0.3, 0.5, 0.6, 0.875, 1.0):
            before, weights = mask.flatten().clone(), layer.weight.detach().flatten().tolist()
            schedule.step(fraction)
            chosen = (mask.flatten() & ~before).nonzero().flatten().tolist()
            found.append({"x": weights, "frozen": before.tolist(), "fraction": fraction, "chosen": chosen})
    return found


def replayed_run() -> dict:
    """The recorded run once more by `Inq`: the recorded weights are put where training had left them."""
    run = tool("widget_data").recorded("inq_run")
    layer = torch.nn.Linear(len(run["weights"]), 1, bias=False).double()
    layer.weight.data.copy_(torch.tensor(run["weights"], dtype=torch.float64))
    schedule = Inq(layer, run["bits"])
    part = schedule.parts["weight"][2]
    assert int(part.n1) == run["n1"]
    phases, frozen, weights = ["trained"], [], []
    for stage in run["stages"]:
        schedule.step(stage["fraction"])
        phases += ["partition", "freeze"]
        frozen.append(part.frozen.flatten().tolist())
        weights.append(layer.weight.detach().flatten().tolist())
        if "weights" in stage:
            phases.append("retrain")
            trained = torch.tensor(stage["weights"], dtype=torch.float64)
            assert torch.equal(trained[part.frozen.flatten()], layer.weight.detach()[part.frozen]), "frozen ones moved"
            layer.parametrizations.weight.original.data.copy_(trained)
    return {"phases": phases, "frozen": frozen, "weights": weights}


def shift_adder_cases() -> list[dict]:
    draw, found = random.Random(0), []
    for width in (32, 8):
        half = 1 << (width - 1)
        values = [-half, -half + 1, -1, 0, 1, half - 1, *(draw.randrange(-half, half) for _ in range(4))]
        for overflow in ("wrap", "saturate"):
            for code in range(32):
                for n1 in (-3, 0, 3):
                    for x in draw.sample(values, 4):
                        total = draw.choice(values)
                        settings = {"n1": n1, "bits": 5, "overflow": overflow, "width": width}
                        term = product(x, code, **settings)
                        after = dot([x], [code], total, **settings)
                        texts = {"x": str(x), "total": str(total), "product": str(term), "sum": str(after)}
                        found.append(settings | {"code": code} | texts)
    return found


def fixed_point_cases() -> list[dict]:
    steps = [k / 2**17 for k in (-3, -1, 1, 3, 5)]
    reals = torch.tensor([0.0, -5.8125, -5.8, 0.1, 30_000.3, 32_767.99999, 1e9, -1e9, *steps], dtype=torch.float64)
    integers = Q16_16.encode(reals.numpy())
    decoded = Q16_16.decode(integers).tolist()
    return [
        {"real": real, "integer": str(integer), "decoded": back, "bits": f"{integer & 0xFFFFFFFF:032b}"}
        for real, integer, back in zip(reals.tolist(), integers.tolist(), decoded, strict=True)
    ]


def as_layer(work: LayerWork) -> dict:
    return {key: getattr(work, key) for key in ("filters", "weights_per_filter", "output_positions")}


def latency_cases() -> list[dict]:
    draw, found = random.Random(1), []
    for _ in range(300):
        processor = {
            "lanes": draw.choice((1, 8, 32, 128)),
            "columns": draw.choice((1, 2, 8, 32)),
            "digit_bits": draw.choice((1, 1, 2)),
            "load_bits": draw.choice((1, 8, 64)),
            "store_bits": draw.choice((1, 8, 64)),
            "fill": draw.choice((0, 16)),
        }
        works = []
        for name in "abc":
            weights, positions = draw.choice((1, 9, 27, 128)), draw.choice((1, 9, 49, 196, 1024))
            works.append(LayerWork(name, "conv", draw.choice((1, 3, 32, 70)), weights * positions, weights, positions))
        bits = [draw.randrange(1, 9) for _ in works]
        pairs = list(zip(works, bits, strict=True))
        found.append(
            {
                "layers": [as_layer(work) for work in works],
                "bits": bits,
                "processor": processor,
                "cycles": [Processor(**processor).cycles(work, [b] * work.filters) for work, b in pairs],
                "size": sum(work.weights * b for work, b in pairs),
                "work": sum(work.macs * b for work, b in pairs),
            }
        )
    return found


def network_case() -> dict:
    works = layer_work(reparameterize(MobileNetV1().eval()), (3, 32, 32))
    cycles = network_cycles(Processor(), works, {work.name: [8] * work.filters for work in works})
    return {
        "cycles": cycles,
        "size": sum(8 * work.weights for work in works),
        "work": sum(8 * work.macs for work in works),
    }


def accelerator_cases() -> list[dict]:
    found = []
    for each in tool("widget_data").accelerator_data()["arrays"]:
        shares, cycles = utilization(each["counts"]), each["cycles"]
        for megahertz in (50, 150, 200, 390):
            speed = {"megahertz": megahertz, "images": megahertz * 1_000_000 // cycles}
            found.append({"shift_adders": each["shift_adders"], "cycles": cycles, "shares": shares} | speed)
    return found


def few_bits_cases() -> list[dict]:
    """Of each state of the first page's figure: the shown weights in the network itself, and what its logits mean."""
    widget_data, found = tool("widget_data"), []
    for state in widget_data.recorded("few_bits_data")["states"]:
        model = widget_data.few_bits_network(state["bits"], state["trained"])
        chances = torch.tensor(state["logits"], dtype=torch.float64).softmax(1)
        found.append(
            {
                "weights": widget_data.first_layer(model).weight[widget_data.NEURON].tolist(),
                "chances": chances.tolist(),
                "answers": chances.argmax(1).tolist(),
            }
        )
    return found


def mixer_cases() -> list[dict]:
    """Random bits for each layer, which were not measured, and every allocation that was."""
    widget_data, draw = tool("widget_data"), random.Random(3)
    data = widget_data.recorded("mixer_data")
    drawn = [[draw.choice(data["bits"]) for _ in data["single"]] for _ in range(50)]
    found = [{"bits": bits, "measured": False, "share": widget_data.mixer_estimate(data, bits)} for bits in drawn]
    for row in evidence.rows("mixed_precision_layers").itertuples():
        if row.kind not in ("float", "single"):
            found.append({"bits": [*map(int, row.bits.split())], "measured": True, "share": row.correct / row.images})
    return found


def folding_cases() -> list[dict]:
    """The rounded layer of the folded network itself, a list of weights for each channel."""
    widget_data, found = tool("widget_data"), []
    for bits in widget_data.FOLDING_BITS:
        for power, per_channel in ((-3, False), (0, False), (1, False), (4, False), (-2, True)):
            layer = list(weight_layers(widget_data.folding_network(bits, power, per_channel)).values())[1]
            weights = layer.weight.detach().flatten(1)
            dead = (weights == 0).all(1).tolist()
            found.append({"bits": bits, "power": power, "per_channel": per_channel, "dead": dead})
            found[-1]["weights"] = weights.tolist()
    return found


def seeds_cases() -> list[dict]:
    """Prefixes of shuffled differences: the interval of each, and what a claim of at least ``border`` would say."""
    draw, found = random.Random(2), []
    for comparison in tool("widget_data").seeds_data()["comparisons"]:
        for border in (-1.0, 0.0, 0.25, 3.0, comparison["border"]):
            values = draw.sample(comparison["differences"], len(comparison["differences"]))
            for count in range(2, len(values) + 1):
                mean, half = evidence.interval(values[:count])
                claim = evidence.own_claim(
                    "noise/shown", "is better", evidence.part(values[:count], low=border), scale="notebook"
                )
                said = {"values": values[:count], "border": border, "mean": mean, "half": half}
                found.append(said | {"word": evidence.word(claim)})
    return found


def map_cases() -> list[dict]:
    """Rows of the maps for some prices and limits: order, price, interval and word of each method."""
    found = []
    for number, each in enumerate(tool("widget_data").map_data()["maps"]):
        for price, _ in each["prices"]:
            for activations, limit in (("all", 1.0), ("own", 0.0), ("eight", 0.3), ("all", 5.0)):
                rows = []
                for method in each["methods"]:
                    if price not in method["prices"] or activations not in ("all", "own" if method["own"] else "eight"):
                        continue
                    mean, half = evidence.interval(method["lost"])
                    part = evidence.part(method["lost"], high=limit)
                    said = evidence.word(evidence.own_claim("method_map/shown", "loses few", part, scale="notebook"))
                    row = {"name": method["name"], "price": method["prices"][price]}
                    rows.append(row | {"mean": mean, "half": half, "word": said})
                rows.sort(key=lambda row: (row["price"], row["mean"]))
                sure = [row for row in rows if row["word"] == "holds"]
                best = [row["name"] for row in sure if row["price"] == sure[0]["price"]]
                wanted = {"price": price, "activations": activations, "limit": limit}
                found.append({"map": number, "wanted": wanted, "rows": rows, "cheapest": best})
    return found


def all_vectors() -> dict:
    """Everything that node's tests read, as plain numbers, lists and dictionaries."""
    return {
        "few_bits": few_bits_cases(),
        "mixer": mixer_cases(),
        "folding": folding_cases(),
        "seeds": seeds_cases(),
        "map": map_cases(),
        "quantizers": quantizer_cases(),
        "inq_codes": inq_codes(),
        "full_scales": [{"x": x.tolist(), "fsr": full_scale_of_max(x, LogQuantizer(4))} for x in tensors()],
        "partitions": partitions(),
        "run": replayed_run(),
        "shift_adder": shift_adder_cases(),
        "fixed_point": fixed_point_cases(),
        "latency": latency_cases(),
        "network": network_case(),
        "accelerator": accelerator_cases(),
    }
