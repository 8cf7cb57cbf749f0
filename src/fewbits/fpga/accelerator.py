"""The program and the memories of the accelerator in ``rtl/accelerator.v``: a whole INQ network on one array.

The array has ``columns`` columns of 32 shift-adders (:class:`Array`). A network becomes one instruction a layer, and
words of INQ fields: 33 of them for each column, the last one for the bias. No weight is a float on the way, and no
field is renumbered. ``$readmemh`` reads what :meth:`Program.write` writes.

An instruction is a word of fields, the first in the highest bits:

=============  ====  ==========================================================================================
field          bits  meaning
=============  ====  ==========================================================================================
flags             8  see ``FLAGS``, the first in bit 0
height            8  rows of the input
scans             8  passes over a row of the input, less 1
columns           8  columns of a pass, less 1; a 3×3 layer of stride 1 has one more than the image
groups            8  words of 32 channels of an input pixel, less 1
slices            8  slices of output channels, ``columns`` of the array each, less 1
out_words         8  words of an output pixel
row_step          8  rows from one pass to the next: of the input,
out_step          8  and of the output
wait              8  cycles after the last step until all results are in memory
pool_shift        8  log2 of the pixels that are averaged
pre               8  n1 of the weights, plus ``LOW``
window_pre        8  the same of the 3×3 weights
base             16  address of the first word of weights: of the array,
window_base      16  and of the depthwise elements in front of it
one              40  the constant 1.0 shifted by the n1 of the biases: of the array,
window_one       40  and of the depthwise elements
=============  ====  ==========================================================================================
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from fewbits.core.codes import StoredForm
from fewbits.core.files import write_whole
from fewbits.fpga.fixed_point import QFormat
from fewbits.fpga.layers import ShiftLayer, inq_fields, read_layers

CHANNELS = 32  # of a memory word
LANES = 33  # of a column, with that of the bias
SIDE = 32  # rows of a feature map, and words of one row of it, at most
STEPS = 256  # for a pixel, at most: the sequencer counts them in 8 bits
WAIT, STREAMED = 13, 8  # cycles until a result is in memory; a separable convolution takes so many more

FLAGS = ("windowed", "split", "stem", "stride_2", "separable", "pool", "relu", "final")
FIELDS = {
    "flags": 8,
    "height": 8,
    "scans": 8,
    "columns": 8,
    "groups": 8,
    "slices": 8,
    "out_words": 8,
    "row_step": 8,
    "out_step": 8,
    "wait": 8,
    "pool_shift": 8,
    "pre": 8,
    "window_pre": 8,
    "base": 16,
    "window_base": 16,
    "one": 40,
    "window_one": 40,
}


Q6_10 = QFormat(6, 10)


@dataclass(frozen=True)
class Array:
    """The array of an accelerator.

    Args:
        columns: 4, 8, 16 or 32; each has 32 shift-adders (and one for the bias, which is not counted).
        stream: 9 × 32 more shift-adders compute depthwise convolutions, whose results go straight into the array. This
            needs 32 columns, and is the arrangement of yokota2024's layer: 1,312 shift-adders.
        form: format of all numbers between layers, and of all sums, which wrap around.
    Raises:
        ValueError: an argument is out of range.
    Source: own (arrangement); yokota2024 Sec. 3.2 (a layer of 1,312)
    """

    columns: int = 32
    stream: bool = False
    form: QFormat = Q6_10

    def __post_init__(self) -> None:
        if self.columns not in (4, 8, 16, 32):
            raise ValueError(f"columns must be 4, 8, 16 or 32, got {self.columns}")
        if self.stream and self.columns != CHANNELS:
            raise ValueError(f"stream needs 32 columns, got {self.columns}")

    @property
    def elements(self) -> int:
        """Shift-adders, without those of the biases."""
        return CHANNELS * self.columns + 9 * CHANNELS * self.stream

    @property
    def parts(self) -> int:
        """Parts of a memory word that are written one after the other."""
        return CHANNELS // self.columns


@dataclass(frozen=True, eq=False)
class Program:
    """What an accelerator needs for one network.

    Attributes:
        array: it is made for.
        names: of the layers of each instruction, "+" between two that are computed together.
        instructions: fields by name, see the module.
        weights: a word of ``columns * 33 * 5`` bits for each address, column 0 and lane 0 in the lowest bits.
        window_weights: a word of ``32 * 10 * 5`` bits for each address; one word of zeros without ``stream``.
        parameters: of the Verilog module ``accelerator``.
        image_shape: (channels, height, width) of an image.
        shapes: (channels, height, width) of what each instruction writes.
    Source: own (program)
    """

    array: Array
    names: list[str]
    instructions: list[dict[str, int]]
    weights: list[int]
    window_weights: list[int]
    parameters: dict[str, int]
    image_shape: tuple[int, int, int]
    shapes: list[tuple[int, int, int]]

    @property
    def outputs(self) -> int:
        """Classes."""
        return self.shapes[-1][0]

    def texts(self) -> dict[str, str]:
        """Content of the memory files by name."""
        return {
            "program.mem": _hex(map(instruction_word, self.instructions), sum(FIELDS.values())),
            "weights.mem": _hex(self.weights, self.array.columns * LANES * 5),
            "window_weights.mem": _hex(self.window_weights, CHANNELS * 10 * 5),
        }

    def write(self, folder: str | Path) -> None:
        """Write the memory files into a folder that exists."""
        for name, text in self.texts().items():
            write_whole(Path(folder) / name, text.encode("ascii"))

    def image_text(self, images: np.ndarray) -> str:
        """A memory file of images, pixel by pixel in rows, channel 0 in the lowest bits of a word.

        Args:
            images: (N, channels, height, width) integers in the format.
        Raises:
            ValueError: they have another shape, or do not fit the format.
        """
        if images.ndim != 4 or images.shape[1:] != self.image_shape:
            raise ValueError(f"images must have shape (N, {', '.join(map(str, self.image_shape))}), got {images.shape}")
        form = self.array.form
        if form.overflows(images).any():
            raise ValueError(f"images must fit {form}")
        words = (images & ((1 << form.width) - 1)).transpose(0, 2, 3, 1).reshape(-1, images.shape[1]).astype(object)
        return _hex((sum(number << form.width * c for c, number in enumerate(word)) for word in words), 3 * form.width)


def compile_network(
    model: nn.Module, codes: Mapping[str, StoredForm], array: Array, height: int = 32, width: int = 32
) -> Program:
    """The program that computes what :meth:`fewbits.fpga.network.ShiftAdderNet.from_codes` computes, bit for bit.

    Args:
        model: gives the structure, as for ``ShiftAdderNet``: a 3×3 convolution of at most 3 channels, then depthwise
            3×3 and pointwise convolutions, an average pool over a power of two of pixels, a linear layer.
        codes: INQ codes of 5 bits of every weight and bias.
        height, width: of an image.
    Raises:
        ValueError: the accelerator cannot compute the network; the message names the layer.
    Source: own (program); zhou2017 Sec. 2.1 (fields)
    """
    layers = read_layers(model, codes, array.form, "wrap")
    lows = [layer.n1 for layer in layers]
    low = max(0, -min(lows))
    assembler = _Assembler(array, codes, low, height, width)
    place = 0
    while place < len(layers):
        place += assembler.add(layers[place], layers[place + 1] if place + 1 < len(layers) else None)
    if assembler.shapes[-1][1:] != (1, 1):
        raise ValueError(f"{layers[-1].name} has more than one pixel: an average pool and a linear layer must end it")
    assembler.instructions[-1]["flags"] |= 1 << FLAGS.index("final")
    for name, instruction in zip(assembler.names, assembler.instructions, strict=True):
        try:
            instruction_word(instruction)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    windows = [ins for ins in assembler.instructions if _has(ins, "split") or _has(ins, "separable")]
    entries = [(ins["groups"] + 1) * (ins["slices"] + 1 if _has(ins, "split") else 1) for ins in windows]
    parameters = {
        "WIDTH": array.form.width,
        "COLUMNS": array.columns,
        "STREAM": int(array.stream),
        "LAYERS": len(assembler.instructions),
        "WEIGHTS": _bits(len(assembler.weights)),
        "WINDOW_WEIGHTS": _bits(len(assembler.window_weights)),
        "SLICE": _bits(max(ins["slices"] for ins in assembler.instructions) + 1),
        "ENTRY": _bits(max(entries, default=1)),
        "LOW": low,
        "AMOUNT": _bits(max(lows) + low + 1),
    }
    return Program(
        array,
        assembler.names,
        assembler.instructions,
        assembler.weights,
        assembler.window_weights or [0],
        parameters,
        (layers[0].channels, height, width),
        assembler.shapes,
    )


def instruction_word(instruction: Mapping[str, int]) -> int:
    """The bits of an instruction.

    Args:
        instruction: fields by name, all of ``FIELDS``.
    Raises:
        ValueError: a field does not fit its bits: it would spill into the next one.
    Source: own (program)
    """
    word = 0
    for name, bits in FIELDS.items():
        value = instruction[name]
        if not 0 <= value < 1 << bits:
            raise ValueError(f"field {name} of the instruction must fit {bits} bits, got {value}")
        word = word << bits | value
    return word


class _Assembler:
    """Instructions and weights, layer by layer, and the size of the feature map that the next layer reads."""

    def __init__(self, array: Array, codes: Mapping[str, StoredForm], low: int, height: int, width: int):
        self.array, self.codes, self.low = array, codes, low
        self.height, self.width = height, width
        self.names: list[str] = []
        self.instructions: list[dict[str, int]] = []
        self.shapes: list[tuple[int, int, int]] = []
        self.weights: list[int] = []
        self.window_weights: list[int] = []

    def add(self, layer: ShiftLayer, following: ShiftLayer | None) -> int:
        """Add an instruction for ``layer``, or for it and ``following``; how many it was."""
        if layer.bits != 5:
            raise ValueError(f"{layer.name} must have fields of 5 bits, got {layer.bits}")
        kind = self._kind(layer)
        if kind == "depthwise" and self.array.stream:
            if following is None or following.pool or self._kind(following) != "pointwise" or not layer.relu:
                raise ValueError(
                    f"{layer.name} must have a ReLU, and a pointwise layer must follow: their results are not stored"
                )
            self._separable(layer, following)
            return 2
        {"stem": self._stem, "depthwise": self._depthwise, "pointwise": self._pointwise}[kind](layer)
        return 1

    def _kind(self, layer: ShiftLayer) -> str:
        outputs, members, size = layer.codes.shape[:3]
        if layer.pool and (not self.instructions or _has(self.instructions[-1], "split")):
            raise ValueError(f"{layer.name} follows an average pool that does not follow a pointwise layer")
        if size == 1 and layer.groups == 1 and layer.stride == 1 and layer.padding == 0 and self.instructions:
            return "pointwise"
        if size == 3 and layer.padding == 1 and layer.stride in (1, 2):
            if not self.instructions and layer.groups == 1 and members <= 3:
                return "stem"
            if self.instructions and members == 1 and layer.groups == outputs:
                return "depthwise"
        raise ValueError(
            f"{layer.name} is no layer of the accelerator: a 3x3 convolution of at most 3 channels comes first, then "
            "depthwise 3x3 convolutions with a border of 1, and pointwise ones"
        )

    def _instruction(self, names: list[str], flags: set[str], **fields: int) -> None:
        if self.height > SIDE or self.width * (fields["groups"] + 1) > SIDE:
            raise ValueError(
                f"{names[0]} reads {self.height} rows of {self.width * (fields['groups'] + 1)} words, over 32"
            )
        words = (fields["groups"] + 1) * (fields["slices"] + 1)
        if words > STEPS:
            raise ValueError(f"{names[-1]} takes {words} steps for a pixel, over {STEPS}: it needs more columns")
        zeros = dict.fromkeys(FIELDS, 0)
        bits = sum(1 << FLAGS.index(flag) for flag in flags)
        self.names.append("+".join(names))
        wait = WAIT + STREAMED * ("separable" in flags)
        self.instructions.append(
            zeros | {"flags": bits, "height": self.height, "row_step": 1, "out_step": 1, "wait": wait} | fields
        )

    def _scan(self, layer: ShiftLayer) -> dict[str, int]:
        """Fields of a pass of a 3×3 window, one row of the output at a time."""
        if layer.stride == 2 and self.width % 2:
            raise ValueError(f"{layer.name} has stride 2 and {self.width} columns, an odd number")
        rows, _ = layer.output_size(self.height, self.width)
        return {
            "scans": rows - 1,
            "columns": self.width if layer.stride == 1 else self.width - 1,
            "row_step": layer.stride,
        }

    def _stem(self, layer: ShiftLayer) -> None:
        flags = {"windowed", "stem"} | _flags(layer)
        fields = self._scan(layer) | self._outputs(layer) | {"window_pre": layer.n1 + self.low}
        self._instruction([layer.name], flags, groups=0, **fields)
        taps = layer.codes.reshape(len(layer.codes), -1)
        self._store([taps], layer)
        self._next(layer)

    def _depthwise(self, layer: ShiftLayer) -> None:
        groups, columns = -(-layer.channels // CHANNELS), self.array.columns
        parts = min(self.array.parts, -(-layer.channels // columns)) if groups == 1 else self.array.parts
        fields = self._scan(layer)
        if layer.stride == 1:  # two rows of the output at a time
            fields |= {"scans": -(-self.height // 2) - 1, "row_step": 2, "out_step": 2}
        fields |= {"slices": parts - 1, "out_words": groups, "window_pre": layer.n1 + self.low}
        fields |= {"base": len(self.weights), "one": self._one(layer)}
        self._instruction([layer.name], {"windowed", "split"} | _flags(layer), groups=groups - 1, **fields)
        taps, bias = layer.codes.reshape(-1, 9), self._bias(layer)
        for first in range(0, groups * parts * columns, columns):
            words = np.zeros((columns, LANES), np.uint8)
            mine = slice(first, min(first + columns, len(taps)))
            count = max(mine.stop - mine.start, 0)
            for half in (0, 16):
                words[:count, half : half + 9] = taps[mine][:count]
                words[:count, half + 9] = bias[mine][:count]
            self.weights.append(_pack(words))
        self._next(layer)

    def _pointwise(self, layer: ShiftLayer) -> None:
        if layer.pool:
            self._pool(layer)
        groups = -(-layer.channels // CHANNELS)
        fields = self._outputs(layer) | {"scans": self.height - 1, "columns": self.width - 1}
        self._instruction([layer.name], _flags(layer), groups=groups - 1, pre=layer.n1 + self.low, **fields)
        self._store_pointwise(layer)
        self._next(layer)

    def _separable(self, spatial: ShiftLayer, mixing: ShiftLayer) -> None:
        groups = -(-spatial.channels // CHANNELS)
        flags = {"windowed", "separable"} | _flags(mixing) | (_flags(spatial) & {"stride_2"})
        fields = self._scan(spatial) | self._outputs(mixing) | {"pre": mixing.n1 + self.low}
        fields |= {"window_pre": spatial.n1 + self.low, "window_base": len(self.window_weights)}
        self._instruction(
            [spatial.name, mixing.name], flags, groups=groups - 1, window_one=self._one(spatial), **fields
        )
        taps, bias = spatial.codes.reshape(-1, 9), self._bias(spatial)
        for first in range(0, groups * CHANNELS, CHANNELS):
            words = np.zeros((CHANNELS, 10), np.uint8)
            mine = taps[first : first + CHANNELS]
            words[: len(mine), :9], words[: len(mine), 9] = mine, bias[first : first + CHANNELS]
            self.window_weights.append(_pack(words))
        self._store_pointwise(mixing)
        self._next(spatial, len(mixing.codes))

    def _pool(self, layer: ShiftLayer) -> None:
        """The instruction before averages over all pixels."""
        pixels, before = self.height * self.width, self.instructions[-1]
        if pixels & (pixels - 1) or pixels > 256:
            raise ValueError(f"{layer.name} follows an average over {pixels} pixels, no power of two up to 256")
        before["flags"] |= 1 << FLAGS.index("pool")
        before["pool_shift"] = pixels.bit_length() - 1
        self.height = self.width = 1
        self.shapes[-1] = (layer.channels, 1, 1)

    def _outputs(self, layer: ShiftLayer) -> dict[str, int]:
        outputs = len(layer.codes)
        return {
            "slices": -(-outputs // self.array.columns) - 1,
            "out_words": -(-outputs // CHANNELS),
            "base": len(self.weights),
            "one": self._one(layer),
        }

    def _store_pointwise(self, layer: ShiftLayer) -> None:
        taps = layer.codes.reshape(len(layer.codes), -1)
        self._store([taps[:, first : first + CHANNELS] for first in range(0, taps.shape[1], CHANNELS)], layer)

    def _store(self, groups: Sequence[np.ndarray], layer: ShiftLayer) -> None:
        """A word for each group of taps and slice of outputs, the slices of a group one after the other."""
        columns, bias = self.array.columns, self._bias(layer)
        for group, taps in enumerate(groups):
            for first in range(0, len(taps), columns):
                words, mine = np.zeros((columns, LANES), np.uint8), taps[first : first + columns]
                words[: len(mine), : mine.shape[1]] = mine
                if group == 0:
                    words[: len(mine), -1] = bias[first : first + columns]
                self.weights.append(_pack(words))

    def _next(self, layer: ShiftLayer, channels: int | None = None) -> None:
        self.height, self.width = layer.output_size(self.height, self.width)
        self.shapes.append((channels or len(layer.codes), self.height, self.width))

    def _bias(self, layer: ShiftLayer) -> np.ndarray:
        name = f"{layer.name}.bias"
        return inq_fields(self.codes[name], name)[0] if name in self.codes else np.zeros(len(layer.codes), np.uint8)

    def _one(self, layer: ShiftLayer) -> int:
        """1.0 shifted by the n1 of the biases: the low bits that an element reads."""
        name = f"{layer.name}.bias"
        if name not in self.codes:
            return 0
        n1, one = inq_fields(self.codes[name], name)[1], 1 << self.array.form.fraction_bits
        return (one << n1 if n1 >= 0 else one >> -n1) & ((1 << self.array.form.width + 7) - 1)


def _flags(layer: ShiftLayer) -> set[str]:
    found = {"relu": layer.relu, "stride_2": layer.stride == 2}
    return {flag for flag, is_set in found.items() if is_set}


def _has(instruction: Mapping[str, int], flag: str) -> bool:
    return bool(instruction["flags"] >> FLAGS.index(flag) & 1)


def _bits(count: int) -> int:
    """Bits of a number from 0 to count - 1, at least 1."""
    return max((count - 1).bit_length(), 1)


def _pack(fields: np.ndarray) -> int:
    """Fields of 5 bits as one number, the first in the lowest bits."""
    bits = (fields.reshape(-1, 1) >> np.arange(5)) & 1
    return int.from_bytes(np.packbits(bits.reshape(-1), bitorder="little").tobytes(), "little")


def _hex(words: Iterable[int], bits: int) -> str:
    return "".join(f"{word:0{-(-bits // 4)}x}\n" for word in words)
