"""A small recurrent network for characters."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CharLSTM(nn.Module):
    """One LSTM layer between two linear ones, written out so that its weights and states can be quantized.

    With x_t the one-hot character, h and c the hidden and the cell state, σ the logistic function::

        i, f, g, o = input(x_t) + recurrent(h)
        c = σ(f) c + σ(i) tanh(g)
        h = activation(σ(o) tanh(c))
        logits_t = output(h)

    ``input``, ``recurrent`` and ``output`` are plain ``nn.Linear`` layers, which is what :mod:`fewbits.core.quantizer`
    works on; gates and biases are ordered as in ``nn.LSTM``. All numbers that enter a matrix product are the one-hot
    input, the weights and h. The forget gate's bias starts at 1, so that the cell remembers from the first step on.

    Input (N, T) int64, output (N, ``characters``, T) logits for the next character; both states start at 0.

    Args:
        characters: size of the alphabet.
        hidden: length of h and of c.
        activation: called without arguments, once; a module that is applied to h (the identity, or a quantizer).
    Raises:
        ValueError: ``characters`` or ``hidden`` is less than 1.
    Source: hubara2016qnn (quantized recurrent networks); own (size and order of the gates); book eq-low-bitwidth-lstm
    """

    def __init__(self, characters: int, hidden: int, activation: Callable[[], nn.Module] = nn.Identity):
        super().__init__()
        if min(characters, hidden) < 1:
            raise ValueError(f"characters and hidden must be positive, got {characters} and {hidden}")
        self.input = nn.Linear(characters, 4 * hidden)
        self.recurrent = nn.Linear(hidden, 4 * hidden, bias=False)
        self.output = nn.Linear(hidden, characters)
        self.activation = activation()
        with torch.no_grad():
            self.input.bias[hidden : 2 * hidden] = 1

    def forward(self, codes: Tensor) -> Tensor:
        # The weight is quantized anew whenever it is read: once for the whole sequence is enough.
        recurrent = self.recurrent.weight.T
        h = c = recurrent.new_zeros(len(codes), len(recurrent))
        states = []
        for from_input in self.of_input(codes).unbind(1):
            i, f, g, o = torch.addmm(from_input, h, recurrent).chunk(4, dim=1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()  # book eq-low-bitwidth-lstm
            h = self.activation(o.sigmoid() * c.tanh())
            states.append(h)
        return self.output(torch.stack(states, dim=1)).transpose(1, 2)

    def of_input(self, codes: Tensor) -> Tensor:
        """What the characters give to the gates: (N, T) to (N, T, 4 hidden)."""
        return self.input(F.one_hot(codes, self.input.in_features).to(self.input.bias.dtype))
