"""Checkpoints without pickle: nested Python values and tensors in one safetensors file, written atomically."""

import json
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from fewbits.core import container
from fewbits.core.files import write_whole

_KEY = "fewbits.state"  # where the structure lies in the file's metadata


def save_state(path: str | Path, tree: Any) -> None:
    """Write a nested dict, list or tuple of tensors, numbers, strings, bools and None to one safetensors file.

    Tensors of every safetensors dtype and of zero or more dimensions keep their values, dtype and shape, and also a
    dense memory order such as ``channels_last``; they come back on the CPU, separate from one another even where they
    shared memory. Dict keys may be strings and ints. Subclasses (``OrderedDict``, ``Counter``, named tuples) come back
    as the plain dict, list or tuple.

    The file is written under a temporary name in the same folder, flushed to the disk and renamed: ``path`` is at all
    times the old file or the complete new one.

    Raises:
        TypeError: a key or value of another type; the message says where in the tree it is.
    """
    tensors: dict[str, Tensor] = {}
    structure = json.dumps(_to_json(tree, "tree", tensors))
    write_whole(Path(path), save(tensors, {_KEY: structure}))


def load_state(path: str | Path) -> Any:
    """The tree that :func:`save_state` wrote to ``path``, tensors on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated, or was not written by :func:`save_state`; the message names it.
    """
    tensors, metadata = _read(Path(path))
    if _KEY not in metadata:
        raise ValueError(f"{path}: a safetensors file, but not one that save_state wrote")
    try:
        return _from_json(json.loads(metadata[_KEY]), tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path}: its structure and its tensors do not fit together ({error})") from error


def save_model(model: nn.Module, path: str | Path) -> None:
    """Write the model's ``state_dict`` as a plain safetensors file, atomically (see :func:`save_state`).

    Raises:
        TypeError: the ``state_dict`` holds something that is not a tensor; the message names it.
    """
    state = model.state_dict()
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} is a {type(value).__name__}, not a tensor")
    write_whole(Path(path), save({name: _detached(value) for name, value in state.items()}))


M = TypeVar("M", bound=nn.Module)


def load_model(model: M, path: str | Path) -> M:
    """Load a plain ``state_dict`` file into ``model``, in place; values are cast to the model's dtypes and device.

    Args:
        path: a safetensors file, or a ``.fewbits`` file, whose codes are decoded.
    Returns:
        ``model``, in eval mode.
    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated or foreign, or its tensors are not the model's: missing, unexpected or of
            another shape. The message names the file and all of them, and the model is left as it was.
    """
    tensors = container.load_tensors(path) if Path(path).suffix == ".fewbits" else _read(Path(path))[0]
    restore(model, tensors, str(path))
    return model.eval()


def restore(model: nn.Module, state: dict[str, Tensor], origin: str) -> None:
    """``load_state_dict`` that changes nothing unless all fits; a ValueError that starts with ``origin`` if not."""
    own = model.state_dict()
    faults = [f"missing {name}" for name in own.keys() - state.keys()]
    faults += [f"unexpected {name}" for name in state.keys() - own.keys()]
    faults += [
        f"{name} is {tuple(state[name].shape)}, the model has {tuple(own[name].shape)}"
        for name in own.keys() & state.keys()
        if own[name].shape != state[name].shape
    ]
    if faults:
        raise ValueError(f"{origin} does not fit the model: {'; '.join(sorted(faults))}")
    model.load_state_dict(state)


def _detached(tensor: Tensor) -> Tensor:
    """A contiguous copy on the CPU (safetensors refuses tensors that share memory)."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _to_json(value: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    """Containers as ``{"dict" | "list" | "tuple": …}``, tensors as ``{"tensor": name}``, the rest as itself."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor):
        # Stored with the dimensions from the largest stride to the smallest; elementwise arithmetic on a restored
        # optimizer state takes the same path, and rounds the same way, only if its memory order is the same.
        order = sorted(range(value.dim()), key=lambda d: -value.stride()[d])
        if value.is_contiguous() or not value.permute(order).is_contiguous():
            order = list(range(value.dim()))
        tensors[place] = _detached(value.permute(order))
        return {"tensor": place, "order": order}
    if isinstance(value, dict):
        for key in value:
            if isinstance(key, bool) or not isinstance(key, str | int):
                raise TypeError(f"{place}: key {key!r} is a {type(key).__name__}, not a string or an int")
        return {"dict": [[key, _to_json(item, f"{place}[{key!r}]", tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_to_json(item, f"{place}[{index}]", tensors) for index, item in enumerate(value)]}
    raise TypeError(f"{place} is a {type(value).__name__}; only tensors, numbers, strings, bools and None can be saved")


def _from_json(node: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(node, dict):
        return node
    if "tensor" in node:
        order = node["order"]
        return tensors[node["tensor"]].permute([order.index(d) for d in range(len(order))])
    if "dict" in node:
        return {key: _from_json(item, tensors) for key, item in node["dict"]}
    if "list" in node:
        return [_from_json(item, tensors) for item in node["list"]]
    return tuple(_from_json(item, tensors) for item in node["tuple"])


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, "pt") as file:
            # The copies do not depend on the file any more, which may be written again while they are in use.
            return {name: file.get_tensor(name).clone() for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: not a complete safetensors file ({error})") from error
