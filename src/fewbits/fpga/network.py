"""A whole INQ network on shift-adders, bit by bit as a circuit would compute it: integers in, integers out.

What the circuit does besides shift and add:

* *Bias*: its field shifts the constant 1.0, and the result is where the sum starts.
* *ReLU*: the inverted sign bit, ANDed with every other bit.
* *Border*: a pixel outside the image is 0, so its product is 0 and nothing is added.
* *Average pool* over 2^k pixels: their sum, in a register of k more bits, then a shift to the right by k, which rounds
  down. Other numbers of pixels would need a division and are refused.
* *Classifier*: dot products as everywhere. The answer is the class of the largest one, the first if several are equal.

Between two layers a number has the width of the format, 32 bits for Q16.16.
"""

import functools
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor, nn

from fewbits.core.codes import StoredForm
from fewbits.core.processors import usable_cores
from fewbits.fpga.fixed_point import Q16_16, QFormat, check_overflow
from fewbits.fpga.kernels import counted_sums, make_terms, wrapping_sums
from fewbits.fpga.lanes import LANES
from fewbits.fpga.layers import read_layers
from fewbits.fpga.shift_adder import dot
from fewbits.inq import encode_frozen


class ShiftAdderNet:
    """A trained network whose weights and biases are INQ codes, computed by shift-adders in fixed point.

    ::

        codes = container.load("network.fewbits")                       # or inq.encode()
        net = ShiftAdderNet.from_codes(structure, codes)                # Q16.16, sums wrap
        classes = net.classify(images)                                  # images as model takes them
        logits = net.run(net.encode(images))                            # integers in, integers out
        logits, counts = net.count_overflows(net.encode(images))

    ``ShiftAdderNet(model)`` is the same for a network whose parameters lie on their codebooks:
    :func:`fewbits.inq.encode_frozen` reads its codes.

    Args:
        model: folded. Its forward pass calls, one after the other, convolutions with or without a ReLU, then a global
            average pool, ``flatten(1)`` and linear layers: what ``reparameterize`` leaves of
            :mod:`fewbits.mobileone.network`. A layer without a bias is allowed.
        form: format of every number between layers, and of every sum.
        overflow: "wrap", or "saturate" after every addition, in the order in which the weights lie in memory.
        bits: of the codes of plain parameters.
    Raises:
        ValueError: ``model`` calls something else, branches, adds two results (a residual) or calls a layer twice; the
            message names the module. Or a parameter is off its codebook.

    Source: own (whole network); yokota2024 Sec. 2.2 (its number format)
    """

    def __init__(self, model: nn.Module, form: QFormat = Q16_16, overflow: str = "wrap", bits: int = 5):
        self._build(model, encode_frozen(model, bits), form, overflow)

    @classmethod
    def from_codes(
        cls, model: nn.Module, codes: Mapping[str, StoredForm], form: QFormat = Q16_16, overflow: str = "wrap"
    ) -> "ShiftAdderNet":
        """The network of ``codes``: no weight is a float on the way, and none of ``model`` is read.

        Args:
            model: gives the structure; its parameters may be on the device ``meta``.
            codes: INQ codes of every weight and bias, by parameter name: what ``Inq.encode()`` returns and a
                ``.fewbits`` file holds.
            form, overflow: as of the class.
        Raises:
            ValueError: as of the class; or codes are missing, left over, of another shape, or not INQ's.
        """
        net = cls.__new__(cls)
        net._build(model, codes, form, overflow)
        return net

    def _build(self, model: nn.Module, codes: Mapping[str, StoredForm], form: QFormat, overflow: str) -> None:
        self.form, self.overflow = form, check_overflow(overflow)
        self.layers = read_layers(model, codes, form, overflow)
        self._steps = functools.cache(self._make_steps)  # of images of one size
        self._free: list[dict[tuple, np.ndarray]] = []  # buffers of threads that have finished, to be used again

    def encode(self, images: Tensor) -> np.ndarray:
        """Real images in fixed point, rounded to nearest. A circuit has a table of 256 numbers for each channel.

        Args:
            images: (N, C, H, W) floating point.
        Returns:
            (N, C, H, W) int64.
        """
        return self.form.encode(images.detach().cpu().numpy())

    def classify(self, images: Tensor) -> Tensor:
        """Class of each image, (N,) int64; arguments and errors as :meth:`encode` and :meth:`run`."""
        # A thousand at a time: ten thousand images of CIFAR would take a quarter of a gigabyte as int64.
        answers = [self.run(self.encode(part)).argmax(1) for part in images.split(1000)]
        return torch.from_numpy(np.concatenate(answers))

    def run(self, images: np.ndarray, threads: int | None = None) -> np.ndarray:
        """Logits.

        Args:
            images: (N, C, H, W) integers in the format.
            threads: None for one per core.
        Returns:
            (N, classes) int64, in the format.
        Raises:
            TypeError: ``images`` are not integers.
            ValueError: they do not fit the first layer or the format, the average pool is over a number of pixels that
                is no power of two, or more than one pixel is left at the end.
        """
        if self.overflow == "saturate":
            return self.count_overflows(images, threads)[0]
        return self._run(images, threads, [None] * len(self.layers))

    def count_overflows(self, images: np.ndarray, threads: int | None = None) -> tuple[np.ndarray, dict[str, dict]]:
        """Logits, and by layer what did not fit the format. Exact, but slower than :meth:`run`; arguments as there.

        Returns:
            logits: (N, classes) int64, as of :meth:`run`.
            counts: name of a layer -> ``additions``; ``products``, how many of them were out of range; ``outputs``;
                ``partial_sums``, outputs whose sum left the range at some addition; ``sums``, outputs whose sum was out
                of range in the end (none if it saturates); ``integer_bits``, the m of Qm.n that would hold every sum.
        """
        found = [np.zeros(4, np.int64) for _ in self.layers]
        logits = self._run(images, threads, found)
        counts = {}
        height, width = images.shape[2:]
        for layer, (products, partial, sums, largest) in zip(self.layers, found, strict=True):
            height, width = layer.output_size(*((1, 1) if layer.pool else (height, width)))
            outputs = len(images) * height * width
            counts[layer.name] = {
                "additions": outputs * int((layer.codes.reshape(-1) % (1 << (layer.bits - 1)) != 0).sum()),
                "products": int(products),
                "outputs": outputs * len(layer.codes),
                "partial_sums": int(partial),
                "sums": int(sums),
                "integer_bits": max(int(largest).bit_length() + 1 - self.form.fraction_bits, 1),
            }
        return logits, counts

    def maps(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """What each layer computes, by its name: (N, channels, height, width) int64; averaged already before a pool.

        Args:
            images: (N, C, H, W) integers in the format, 32 at most.
        Raises:
            TypeError, ValueError: as of :meth:`run`; or there are more, or the network saturates.
        """
        images = self._checked(images)
        if self.overflow == "saturate" or len(images) > LANES:
            raise ValueError(f"images must be at most {LANES}, of a network that wraps, got {len(images)}")
        kept: list[np.ndarray] = []
        self._run_block(images, self._steps(*images.shape[2:]), {}, [None] * len(self.layers), kept)
        return {layer.name: x for layer, x in zip(self.layers, kept, strict=True)}

    def run_plain(self, image: np.ndarray) -> list[int]:
        """Logits of one image by the loops of :mod:`fewbits.fpga.shift_adder`, one product after the other. Slow.

        Args:
            image: (C, H, W) integers in the format.
        Returns:
            One integer for each class.
        """
        x = image.astype(object)  # Python's integers
        for layer in self.layers:
            if layer.pool:
                x = x.sum(axis=(1, 2), keepdims=True) >> _places(x[0].size)
            height, width = layer.output_size(*x.shape[1:])
            x = np.pad(x, ((0, 0), (layer.padding,) * 2, (layer.padding,) * 2))
            outputs, (members, size) = len(layer.codes), layer.codes.shape[1:3]
            y = np.empty((outputs, height, width), object)
            for o, row, column in np.ndindex(y.shape):
                first = o // (outputs // layer.groups) * members
                top, left = row * layer.stride, column * layer.stride
                window = x[first : first + members, top : top + size, left : left + size]
                total = dot(
                    window.flat,
                    layer.codes[o].flat,
                    int(layer.bias[o]),
                    layer.n1,
                    bits=layer.bits,
                    overflow=self.overflow,
                    width=self.form.width,
                )
                y[o, row, column] = max(total, 0) if layer.relu else total
            x = y
        return x.flatten().tolist()

    def _checked(self, images: np.ndarray) -> np.ndarray:
        images = np.asarray(images)
        channels = self.layers[0].channels
        if images.ndim != 4 or images.shape[1] != channels:
            raise ValueError(f"images must have shape (N, {channels}, H, W), got {images.shape}")
        if self.form.overflows(images).any():
            raise ValueError(f"images must fit {self.form}")
        return images

    # --- Blocks of LANES images ---------------------------------------------------------------------------------------

    def _run(self, images: np.ndarray, threads: int | None, counts: Sequence[np.ndarray | None]) -> np.ndarray:
        images = self._checked(images)
        steps = self._steps(*images.shape[2:])
        blocks = [images[first : first + LANES] for first in range(0, len(images), LANES)]
        threads = min(threads or usable_cores(), len(blocks)) or 1
        logits = np.empty((len(images), len(self.layers[-1].codes)), np.int64)

        def work(thread: int) -> list[np.ndarray | None]:
            try:
                buffers = self._free.pop()
            except IndexError:
                buffers = {}
            mine = [None if count is None else count.copy() for count in counts]
            for index in range(thread, len(blocks), threads):
                block = blocks[index]
                logits[index * LANES :][: len(block)] = self._run_block(block, steps, buffers, mine)
            self._free.append(buffers)
            return mine

        with ThreadPoolExecutor(threads) as pool:
            for mine in pool.map(work, range(threads)):
                for count, part in zip(counts, mine, strict=True):
                    if count is not None and part is not None:
                        count[:3] += part[:3]
                        count[3] = max(count[3], part[3])
        return logits

    def _run_block(
        self, block: np.ndarray, steps: list, buffers: dict, counts: list, kept: list[np.ndarray] | None = None
    ) -> np.ndarray:
        """Logits (used, classes) of up to LANES images; ``kept`` takes the output of each layer."""
        used, channels, height, width = block.shape
        padding = self.layers[0].padding
        x = _rows(height + 2 * padding, width + 2 * padding, channels)
        x[padding : padding + height, padding : padding + width, :, :used] = block.transpose(2, 3, 1, 0)
        for index, (layer, (terms, fast, base, place, shape), count) in enumerate(
            zip(self.layers, steps, counts, strict=True)
        ):
            if layer.pool:
                x = (x.sum(axis=(0, 1), dtype=np.int64) >> _places(x.shape[0] * x.shape[1])).astype(np.int32)
                if kept is not None:
                    kept[-1] = x[None, None, :, :used].transpose(3, 2, 0, 1).astype(np.int64)
            # What is read is not what is written; and zeros around an image stay, as only its inside is written.
            key = index % 2, int(place[0]), shape
            if key not in buffers:
                buffers[key] = _rows(*shape)
            rows, out = x.reshape(-1, LANES), buffers[key].reshape(-1, LANES)
            bias = layer.bias.astype(np.int32)
            if count is None:
                spare = np.int32(32 - self.form.width)
                wrapping_sums(rows, base, *fast, bias, spare, layer.relu, out, place)
            else:
                limits = np.int64(self.form.low), np.int64(self.form.high), self.overflow == "saturate"
                parts = terms.offset, terms.n, terms.sign, terms.begin
                counted_sums(rows, base, *parts, bias, *limits, layer.relu, out, place, used, count)
            x = buffers[key]
            if kept is not None:
                margin = int(place[0]) // shape[2] // (shape[1] + 1)  # zeros around the image
                inside = x[margin : shape[0] - margin, margin : shape[1] - margin, :, :used]
                kept.append(inside.transpose(3, 2, 0, 1).astype(np.int64))
        return x.reshape(-1, LANES)[:, :used].T

    def _make_steps(self, height: int, width: int) -> list[tuple]:
        """For images of one size, of each layer: terms, terms by sign, base, place, and shape of the output buffer."""
        steps = []
        following = [*self.layers[1:], None]
        for layer, after in zip(self.layers, following, strict=True):
            if layer.pool:
                _places(height * width)
                height = width = 1
            columns, channels = width + 2 * layer.padding, layer.channels
            outputs, members, size, _ = layer.codes.shape
            group = np.arange(outputs) // (outputs // layer.groups)
            channel = group[:, None, None, None] * members + np.arange(members)[:, None, None]
            offset = (np.arange(size)[:, None] * columns + np.arange(size)) * channels + channel
            terms = make_terms(layer.codes.reshape(outputs, -1), offset.reshape(outputs, -1), layer.n1, layer.bits)
            height, width = layer.output_size(height, width)
            rows, margin = np.arange(height)[:, None], after.padding if after and not after.pool else 0
            base = ((rows * columns + np.arange(width)) * layer.stride * channels).reshape(-1)
            shape = (height + 2 * margin, width + 2 * margin, outputs)
            place = (((rows + margin) * shape[1] + np.arange(width) + margin) * outputs).reshape(-1)
            steps.append((terms, terms.by_sign(), base, place, shape))
        if (height, width) != (1, 1):
            raise ValueError(f"{self.layers[-1].name} must end with one pixel for its logits, got {height} × {width}")
        return steps


def _places(pixels: int) -> int:
    """k for 2^k pixels."""
    if pixels & (pixels - 1):
        raise ValueError(f"the average over {pixels} pixels is no shift: their number must be a power of two")
    return pixels.bit_length() - 1


def _rows(*shape: int) -> np.ndarray:
    """Zeros (*shape, LANES), int32, from torch, whose memory begins where a line of the cache does."""
    return torch.zeros(*shape, LANES, dtype=torch.int32).numpy()
