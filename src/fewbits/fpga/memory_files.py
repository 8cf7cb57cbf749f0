"""The numbers of an INQ network as memory files, which ``$readmemh`` of Verilog reads.

A layer has a file of weights and, if it has biases, another one. One word of hexadecimal digits stands on a line, the
first line is a comment that holds name, shape and format as JSON. That is the layout:

* *Order*: row by row as in the tensor's memory, (output, channel of the group, row, column). The weights of output
  m are words m * K … m * K + K - 1, in the order in which :func:`fewbits.fpga.shift_adder.dot` adds their products.
* *Weight*: the field of INQ (:mod:`fewbits.inq.codebook`), unsigned, ``bits`` wide: the top bit is 1 for a negative
  weight, the others are e. 0 is the weight 0; e = 1 … 2^(bits - 2) is ``±2^(n2 + e - 1)``.
* *Exponents*: n1, the largest of a layer, is not in the fields. It is wired in. ``shift_pe`` and ``dot`` in ``rtl/``,
  which take fields of 5 bits, get ``RIGHT = -N1``. They shift to the right only: where N1 > 0 they get ``RIGHT = 0``
  and are N1 bits wider, and x enters them shifted left by N1; of their sum the low bits count.
* *Bias*: fixed point in two's complement, as wide as the format.

``network.vh`` has all of these numbers as ``localparam``, for an ``include`` inside a module.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from fewbits.core import container
from fewbits.core.codes import StoredForm
from fewbits.core.files import write_whole
from fewbits.core.identifiers import comment, identifiers
from fewbits.fpga.fixed_point import Q16_16, QFormat
from fewbits.fpga.layers import bias_words, inq_fields


@dataclass(frozen=True, eq=False)
class Memory:
    """What a memory file holds.

    Attributes:
        name: of the parameter in the network.
        shape: of its tensor.
        width: bits of a word.
        words: int64 in that shape: fields, unsigned; or biases, signed.
        n1: largest exponent of a weight's codebook; None for a bias.
        fraction_bits: of a bias; None for a weight.
    Raises:
        ValueError: a word does not fit its width, or there are not as many as ``shape`` says.
    Source: own (file format); zhou2017 Sec. 2.1 (fields)
    """

    name: str
    shape: tuple[int, ...]
    width: int
    words: np.ndarray
    n1: int | None = None
    fraction_bits: int | None = None

    def __post_init__(self) -> None:
        if self.words.shape != self.shape:
            raise ValueError(f"{self.name}: {self.words.size} words do not fill the shape {self.shape}")
        low, high = (0, 1 << self.width) if self.n1 is not None else (-(1 << self.width - 1), 1 << self.width - 1)
        if self.words.size and not (low <= self.words.min() and self.words.max() < high):
            raise ValueError(f"{self.name}: a word does not fit {self.width} bits")

    def text(self) -> str:
        """The content of the file, ASCII."""
        facts = {"name": self.name, "shape": self.shape, "width": self.width}
        facts |= {"fraction_bits": self.fraction_bits} if self.n1 is None else {"n1": self.n1}
        digits, mask = -(-self.width // 4), (1 << self.width) - 1
        return f"// {json.dumps(facts)}\n" + "".join(f"{word & mask:0{digits}x}\n" for word in self.words.flat)

    @staticmethod
    def parse(text: str) -> "Memory":
        """What :meth:`text` made.

        Raises:
            ValueError: the text is something else.
        """
        head, *lines = text.splitlines() or [""]
        try:
            facts = json.loads(head.removeprefix("// "))
            name, shape, width = facts["name"], tuple(facts["shape"]), int(facts["width"])
            n1, fraction_bits = facts.get("n1"), facts.get("fraction_bits")
            word = re.compile(f"[0-9a-f]{{{-(-width // 4)}}}")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"no memory file of fewbits: its first line is {head[:80]!r}") from error
        if (n1 is None) == (fraction_bits is None):
            raise ValueError(f"{name}: a memory file has either n1 or fraction_bits")
        for place, line in enumerate(lines):
            if not word.fullmatch(line) or int(line, 16) >> width:
                raise ValueError(f"{name}: word {place} has not {width} bits: {line[:40]!r}")
        words = np.array([int(line, 16) for line in lines], np.int64)
        if n1 is None:
            words -= words >> (width - 1) << width  # two's complement: the top bit counts negative
        if words.size != math.prod(shape):
            raise ValueError(f"{name}: {words.size} words do not fill the shape {shape}")
        return Memory(name, shape, width, words.reshape(shape), n1, fraction_bits)


def write_memory_files(
    codes: Mapping[str, StoredForm | Tensor] | str | Path, folder: str | Path, form: QFormat = Q16_16
) -> dict[str, Path]:
    """Write a memory file for each parameter of a network, and ``network.vh`` with their sizes and exponents.

    Args:
        codes: a ``.fewbits`` file, or what it holds: INQ codes by parameter name, such as ``Inq.encode()`` returns.
            Biases may be INQ codes, which become fixed point as a circuit would make them, or floating point tensors,
            which are rounded to the nearest.
        folder: there must be one.
        form: format of the biases.
    Returns:
        The path of each file by the name of its parameter. "conv1.weight" in the second place of the layers is in
        ``L1_conv1_weight.mem``; characters that are no letters or digits become "_", and the place keeps names apart.
    Raises:
        FileNotFoundError: there is no such ``.fewbits`` file.
        ValueError: a parameter is no INQ code, is neither the weight of a layer nor its bias, or a bias does not fit
            ``form``; the message names it. Nothing is written then.
    Source: own (file format); zhou2017 Sec. 2.1 (fields); yokota2024 Sec. 2.2 (number format)
    """
    items = codes if isinstance(codes, Mapping) else container.load(codes)
    layers = identifiers([_layer_of(name, items) for name in items if _kind(name) == "weight"], "L")
    memories = {
        name: _weight(name, item) if _kind(name) == "weight" else _bias(name, item, form)
        for name, item in items.items()
    }
    paths = {name: Path(folder) / f"{layers[_layer_of(name, items)]}_{_kind(name)}.mem" for name in items}
    for name, memory in memories.items():
        write_whole(paths[name], memory.text().encode("ascii"))
    write_whole(Path(folder) / "network.vh", _parameters(memories, layers, form).encode("ascii"))
    return paths


def read_memory_file(path: str | Path) -> Memory:
    """What a file of :func:`write_memory_files` holds.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is something else, or cut off; the message names it.
    Source: own (file format)
    """
    try:
        return Memory.parse(Path(path).read_text("ascii"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _kind(name: str) -> str:
    kind = name.rpartition(".")[2]
    if kind not in ("weight", "bias"):
        raise ValueError(f"{name} is neither a weight nor a bias of a layer")
    return kind


def _layer_of(name: str, items: Mapping[str, object]) -> str:
    prefix = name.removesuffix(_kind(name))
    if f"{prefix}weight" not in items:
        raise ValueError(f"{name} is the bias of a layer whose weight is missing")
    return prefix.removesuffix(".")


def _weight(name: str, item: StoredForm | Tensor) -> Memory:
    if isinstance(item, Tensor):
        raise ValueError(f"{name} must be codes of INQ, got a tensor: quantize it first")
    fields, n1, bits = inq_fields(item, name)
    if fields.ndim < 2:
        raise ValueError(f"{name} must have an axis of outputs and one of inputs, got shape {fields.shape}")
    return Memory(name, fields.shape, bits, fields.astype(np.int64), n1=n1)


def _bias(name: str, item: StoredForm | Tensor, form: QFormat) -> Memory:
    if not isinstance(item, Tensor):
        exact = bias_words(item, name, form)
        fits = all(form.low <= word <= form.high for word in exact)
        words = np.array(exact if fits else [], np.int64)
    elif not item.is_floating_point():
        raise ValueError(f"{name} must be codes of INQ or floating point, got {item.dtype}")
    else:
        real = item.detach().cpu().double().numpy()
        try:
            words = form.encode(real)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        fits = bool((np.abs(form.decode(words) - real) <= 0.5 / (1 << form.fraction_bits)).all())
    if not fits:
        raise ValueError(f"{name} holds a number that does not fit {form}")
    return Memory(name, tuple(item.shape), form.width, words, fraction_bits=form.fraction_bits)


def _parameters(memories: Mapping[str, Memory], layers: Mapping[str, str], form: QFormat) -> str:
    lines = [f"// Numbers of a network, by fewbits.fpga.write_memory_files. Biases are {form}."]
    for layer, identifier in layers.items():
        prefix = f"{layer}." if layer else ""
        weight, stem = memories[f"{prefix}weight"], identifier.upper()
        lines += ["", f"// {comment(layer)}: {identifier}_weight.mem, {' x '.join(map(str, weight.shape))}"]
        lines.append(f"localparam {stem}_OUTPUTS = {weight.shape[0]};")
        lines.append(f"localparam {stem}_WORDS = {weight.words[0].size};  // of an output")
        lines.append(f"localparam {stem}_WIDTH = {weight.width};")
        lines.append(f"localparam signed {stem}_N1 = {weight.n1};")
        if f"{prefix}bias" in memories:
            lines.append(f"localparam {stem}_BIAS_WIDTH = {form.width};")
            lines.append(f"localparam {stem}_BIAS_FRACTION = {form.fraction_bits};")
    return "\n".join(lines) + "\n"
