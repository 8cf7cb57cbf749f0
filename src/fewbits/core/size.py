"""What a network takes to store, tensor by tensor: the method, the bits, and the bytes of the file."""

from dataclasses import dataclass

from torch import Tensor, nn

from fewbits.core import container
from fewbits.core.codes import StoredForm
from fewbits.core.quantizer import Quantizer, parameter_quantizers, stored_state


@dataclass(frozen=True)
class TensorSize:
    """A row of :class:`SizeReport`.

    Attributes:
        name: of the parameter or buffer.
        method: the quantizer with its settings; "float32" for what is not quantized.
        count: numbers.
        bits: to store all of them, with scales, tables and widths.
    """

    name: str
    method: str
    count: int
    bits: int


@dataclass(frozen=True)
class SizeReport:
    """What a network takes; ``str`` of it is a table.

    Attributes:
        rows: one for each parameter and each buffer of floating point numbers.
        file_bytes: of the ``.fewbits`` file with fixed widths, names and headers included (:func:`fewbits.save`).
    """

    rows: tuple[TensorSize, ...]
    file_bytes: int

    @property
    def bits(self) -> int:
        """Of all rows."""
        return sum(row.bits for row in self.rows)

    @property
    def float_bits(self) -> int:
        """Of the same numbers in float32."""
        return 32 * sum(row.count for row in self.rows)

    def __str__(self) -> str:
        name = max([len(row.name) for row in self.rows] + [5])
        method = max([len(row.method) for row in self.rows] + [6])
        lines = [f"{'tensor':<{name}}  {'method':<{method}}  {'numbers':>9}  {'bits each':>9}  {'bytes':>11}"]
        for row in self.rows:
            each = row.bits / row.count if row.count else 0.0
            numbers = f"{row.count:>9,}  {each:>9.2f}  {row.bits / 8:>11,.1f}"
            lines.append(f"{row.name:<{name}}  {row.method:<{method}}  {numbers}")
        ratio = self.float_bits / max(self.bits, 1)
        lines.append(f"all: {self.bits / 8:,.1f} bytes, float32 takes {ratio:.2f} times as many")
        lines.append(f"as a file: {self.file_bytes:,} bytes")
        return "\n".join(lines)


def size_report(model: nn.Module) -> SizeReport:
    """What ``model`` takes to store: quantized parameters as codes, everything else, buffers too, as float32.

    A tensor that several modules hold is counted once, under its first name. Half precision counts as float32, since
    that is what the file holds. Counters, such as those of a batch normalization, are in the file and in no row.

    Raises:
        ValueError: as :func:`fewbits.core.quantizer.encode_parameters`.
    """
    quantizers = {name: (quantizer, latent) for name, quantizer, latent in parameter_quantizers(model)}
    state = stored_state(model)
    rows, seen = [], set[tuple]()
    for name, item in state.items():
        if isinstance(item, Tensor):
            if not item.is_floating_point():
                continue
            key: tuple = (item.data_ptr(), item.shape, item.stride()) if item.numel() else (name,)
            row = TensorSize(name, "float32", item.numel(), 32 * item.numel())
        else:
            if name not in quantizers:  # another name of a layer that has been counted
                continue
            quantizer, latent = quantizers[name]
            key = id(quantizer), id(latent)
            row = TensorSize(name, _method(quantizer), item.shape.numel(), item.nbits)
        if key not in seen:
            seen.add(key)
            rows.append(row)
    content = container.to_bytes({name: _float32(item) for name, item in state.items()}, "plain")
    return SizeReport(tuple(rows), len(content))


def _method(quantizer: Quantizer) -> str:
    settings = quantizer.extra_repr()
    return f"{type(quantizer).__name__}({settings})" if settings else type(quantizer).__name__


def _float32(item: Tensor | StoredForm) -> Tensor | StoredForm:
    return item.float() if isinstance(item, Tensor) and item.is_floating_point() else item
