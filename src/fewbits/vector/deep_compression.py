"""Deep Compression (han2015): prune, retrain, share, fine-tune, code. A network becomes a small file.

Each stage is a verb on a network that stays an ordinary one in between, so that any loop can train it:

    compression = DeepCompression(model)
    compression.prune(0.08)
    fit(model, ..., after_step=compression.keep_pruned)
    compression.share(32)
    fit(model, ...)                       # now trains the codebooks
    compression.save("small.fewbits")

What training does to shared weights is in :mod:`fewbits.vector`, the file in :mod:`fewbits.core.container`.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils import parametrize

from fewbits.core import container
from fewbits.core.quantizer import LinearOrConv, plain_state, weight_layers
from fewbits.training import restore
from fewbits.vector.shared_weights import SharedWeights, share_weights


class DeepCompression:
    """The stages over ``model``, which is changed in place; biases stay float.

    Attributes:
        masks: by layer, which weights have survived (bool); all of them at first.
    Source: han2015 Fig. 1
    """

    def __init__(self, model: nn.Module):
        self.model = model
        self.masks = {name: torch.ones_like(layer.weight, dtype=torch.bool) for name, layer in self._layers().items()}

    def _layers(self) -> dict[str, LinearOrConv]:
        return weight_layers(self.model)

    @torch.no_grad()
    def prune(self, keep: float | Mapping[str, float]) -> None:
        """Set all but the largest magnitudes of each layer to zero. What is pruned stays pruned in later calls.

        Args:
            keep: share of the weights of a layer that survive, in (0, 1]: one for all, or by name (all names).
        Raises:
            ValueError: a share is out of range, a layer has none, or the weights are shared already.
        Source: han2015 Sec. 2; own (a share of each layer in place of a threshold)
        """
        self._refuse_if_shared()
        shares = self._for_each_layer(keep, "keep")
        if not all(0 < share <= 1 for share in shares.values()):
            raise ValueError(f"keep must lie in (0, 1], got {keep}")
        for name, layer in self._layers().items():
            magnitude = layer.weight.abs().where(self.masks[name], -1).flatten()
            survivors = magnitude.argsort(descending=True, stable=True)[: round(shares[name] * len(magnitude))]
            mask = torch.zeros_like(magnitude, dtype=torch.bool)
            mask[survivors] = True
            self.masks[name] &= mask.view_as(layer.weight)
        self.keep_pruned(self.model)

    @torch.no_grad()
    def keep_pruned(self, model: nn.Module) -> None:
        """Set pruned weights back to zero: for ``after_step`` of :func:`fewbits.training.fit`."""
        for name, layer in weight_layers(model).items():
            layer.weight.masked_fill_(~self.masks[name], 0.0)  # a product would leave -0.0, which a file does not skip

    def share(self, k: int | Mapping[str, int], init: str = "linear", seed: int = 0) -> None:
        """Let the weights of each layer share a codebook of ``k`` values, the 0 of pruned weights included.

        Args:
            k: for all layers, or by name (all names).
            init, seed: of :class:`fewbits.vector.SharedWeights`.
        Raises:
            ValueError: as `SharedWeights`; a layer has no k; the weights are shared already.
        Source: han2015 Sec. 3.1
        """
        self._refuse_if_shared()
        sizes = self._for_each_layer(k, "k")
        share_weights(self.model, lambda name, weight: SharedWeights(weight, sizes[name], init, seed))

    def save(self, path: str | Path, coding: str = "huffman") -> int:
        """Write the network as it is now; see :func:`fewbits.core.container.save`. Returns the bytes of the file.

        Source: han2015 Fig. 2; han2015 Sec. 4
        """
        return container.save(path, plain_state(self.model), coding)

    def _for_each_layer(self, value, name: str) -> dict:
        if not isinstance(value, Mapping):
            return dict.fromkeys(self.masks, value)
        if value.keys() != self.masks.keys():
            raise ValueError(f"{name} must name the layers {list(self.masks)}, got {list(value)}")
        return dict(value)

    def _refuse_if_shared(self) -> None:
        taken = [name for name, layer in self._layers().items() if parametrize.is_parametrized(layer, "weight")]
        if taken:
            raise ValueError(f"the weights of {taken} are shared already, or parametrized in another way")


def load_network(model: nn.Module, path: str | Path) -> nn.Module:
    """Read a file of :meth:`DeepCompression.save` into a plain ``model``, in place.

    Returns:
        ``model``, in evaluation mode.
    Raises:
        FileNotFoundError, ValueError: as :func:`fewbits.core.container.load`; the tensors are not those of the model.
    Source: own (bookkeeping)
    """
    restore(model, container.load_tensors(path), str(path))
    return model.eval()
