"""Integer networks in plain Python: big integers, fractions and loops; the oracle of the integer tests."""

from fractions import Fraction
from itertools import product
from operator import mul

from fewbits.integer.steps import Add, Flatten, GlobalAverage, Layer, MaxPool


def nearest(value: Fraction, rule: str) -> int:
    """The nearest integer, ties by ``rule``."""
    below = value.numerator // value.denominator
    rest = value - below
    if rest != Fraction(1, 2):
        return below + (rest > Fraction(1, 2))
    return {"upward": below + 1, "away": below + (value > 0), "even": below + below % 2}[rule]


def rescale(x: int, multiplier: int, shift: int, rounding: str) -> int:
    """``x * multiplier / 2**(31 + shift)``, rounded."""
    return shifted(x * multiplier, shift, rounding)


def shifted(total: int, shift: int, rounding: str) -> int:
    """``total / 2**(31 + shift)``, rounded; "double" follows the text of gemmlowp, where C division truncates."""
    if rounding != "double":
        return nearest(Fraction(total) / Fraction(2) ** (31 + shift), rounding)
    total = total << max(-shift, 0)
    total += 2**30 if total >= 0 else 1 - 2**30
    high = total // 2**31 if total >= 0 else -(-total // 2**31)
    exponent = max(shift, 0)
    mask = 2**exponent - 1
    threshold = (mask >> 1) + (high < 0)
    return (high >> exponent) + ((high & mask) > threshold)


def run(network, image: list) -> dict:
    """All codes for one image (C, H, W) or (K,), as nested lists of ints, by step."""
    values = {"input": image}
    for name, step in network.steps.items():
        values[name] = _STEPS[type(step)](step, *(values[source] for source in network.inputs[name]))
    return values


def _finish(total: int, output, channel: int) -> int:
    index = channel if output.multiplier.dim() else ()
    scaled = rescale(total, int(output.multiplier[index]), int(output.shift[index]), output.rounding)
    return min(max(scaled + output.zero_point, output.q_min), output.q_max)


def _layer(step: Layer, x: list) -> list:
    weight, bias = step.weight.tolist(), step.bias.tolist()
    if step.geometry is None:
        centred = [q - step.zero_point for q in x]
        sums = [b + sum(map(mul, row, centred)) * 2**step.bias_fraction for row, b in zip(weight, bias, strict=True)]
        return [_finish(total, step.output, channel) for channel, total in enumerate(sums)]
    (sy, sx), (py, px), (dy, dx) = (step.geometry[name] for name in ("stride", "padding", "dilation"))
    per_group = len(weight) // step.geometry["groups"]
    depth, kernel_y, kernel_x = len(weight[0]), len(weight[0][0]), len(weight[0][0][0])
    height, width = len(x[0]), len(x[0][0])
    out_y = (height + 2 * py - dy * (kernel_y - 1) - 1) // sy + 1
    out_x = (width + 2 * px - dx * (kernel_x - 1) - 1) // sx + 1

    def total(channel: int, row: int, column: int) -> int:
        result = bias[channel]
        for k, i, j in product(range(depth), range(kernel_y), range(kernel_x)):
            y, z = row * sy - py + i * dy, column * sx - px + j * dx
            if 0 <= y < height and 0 <= z < width:
                source = channel // per_group * depth + k
                result += weight[channel][k][i][j] * (x[source][y][z] - step.zero_point) * 2**step.bias_fraction
        return result

    return [
        [[_finish(total(channel, y, z), step.output, channel) for z in range(out_x)] for y in range(out_y)]
        for channel in range(len(weight))
    ]


def _add(step: Add, first: list, second: list) -> list:
    if isinstance(first, list):
        return [_add(step, a, b) for a, b in zip(first, second, strict=True)]
    total = sum(
        (q - zero) * int(multiplier)
        for q, zero, multiplier in zip((first, second), step.zero_points, step.multipliers, strict=True)
    )
    code = shifted(total, int(step.output.shift), step.output.rounding) + step.output.zero_point
    return min(max(code, step.output.q_min), step.output.q_max)


def _average(step: GlobalAverage, x: list) -> list:
    sums = [sum(q - step.zero_point for row in channel for q in row) for channel in x]
    return [[[_finish(total, step.output, 0)]] for total in sums]


def _max_pool(step: MaxPool, x: list) -> list:
    kernel, stride, padding = (step.geometry[name] for name in ("kernel_size", "stride", "padding"))
    size = [(len(x[0]) + 2 * padding - kernel) // stride + 1, (len(x[0][0]) + 2 * padding - kernel) // stride + 1]

    def greatest(channel: list, row: int, column: int) -> int:
        rows = range(max(row * stride - padding, 0), min(row * stride - padding + kernel, len(channel)))
        columns = range(max(column * stride - padding, 0), min(column * stride - padding + kernel, len(channel[0])))
        return max(channel[y][z] for y in rows for z in columns)

    return [[[greatest(channel, y, z) for z in range(size[1])] for y in range(size[0])] for channel in x]


def _flatten(step: Flatten, x: list) -> list:
    return [q for part in x for q in _flatten(step, part)] if isinstance(x, list) else [x]


_STEPS = {Layer: _layer, Add: _add, GlobalAverage: _average, MaxPool: _max_pool, Flatten: _flatten}
