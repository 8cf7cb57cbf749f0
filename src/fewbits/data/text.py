"""One text for language models at the level of characters: Alice's Adventures in Wonderland (public domain).

The file is Lewis Carroll's book of 1865 in the Millennium Fulcrum Edition 2.9 of Project Gutenberg: ``alice29.txt`` of
the Canterbury corpus, a usual test file for compression programs, without its carriage returns, its end-of-file mark
and the empty lines at its two ends. It has 148,476 characters of plain ASCII.
"""

import hashlib
import math
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewbits.core.modes import evaluating

PATH = Path(__file__).with_name("alice.txt")
SHA256 = "cc660e04a3bef809b5436e822536cafefa278d55fb3639fb3e93665590d6fc0a"
TRAIN_SHARE = 0.9


@dataclass(frozen=True, eq=False)
class CharText:
    """A text as one integer per character, cut once into a training and a test part.

    Attributes:
        train, test: (n,) int64 in [0, len(alphabet)); the first 90 % of the characters, and the rest.
        alphabet: the characters of the whole text, sorted; its position is a character's integer.
    """

    train: Tensor = field(repr=False)
    test: Tensor = field(repr=False)
    alphabet: str

    def decode(self, codes: Tensor) -> str:
        """The string that ``codes`` (n,) stand for."""
        return "".join(self.alphabet[code] for code in codes.tolist())


def load_text(path: str | Path = PATH) -> CharText:
    """The text that comes with the package.

    Args:
        path: of a copy of that file.
    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not the text, byte for byte.
    """
    content = Path(path).read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise ValueError(f"{Path(path).name} is not the text that results were recorded with: its SHA-256 differs")
    text = content.decode("ascii")
    alphabet = "".join(sorted(set(text)))
    codes = torch.tensor([alphabet.index(character) for character in text])
    cut = int(TRAIN_SHARE * len(codes))
    return CharText(codes[:cut], codes[cut:], alphabet)


def windows(codes: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Training pairs: ``length`` characters in a row, and the same shifted by one, which is what is to be predicted.

    The windows follow each other without overlap; what does not fill the last one is left out.

    Args:
        codes: (n,) int64, n > ``length``.
        length: >= 1.
    Returns:
        inputs, targets: (N, length) int64 each, N = (n - 1) // ``length``.
    Raises:
        ValueError: ``length`` is less than 1, or ``codes`` do not fill one window and its next character.
    """
    if not 1 <= length < len(codes):
        raise ValueError(f"length must lie between 1 and {len(codes) - 1}, one less than the text, got {length}")
    count = (len(codes) - 1) // length
    inputs, targets = (codes[shift : shift + count * length].reshape(count, length) for shift in (0, 1))
    return inputs, targets


@torch.no_grad()
def bits_per_character(model: nn.Module, codes: Tensor, lanes: int = 16) -> float:
    """Mean of ``-log2`` of the probability that ``model`` gave each next character, in evaluation mode.

    The text is cut into ``lanes`` equal pieces that run side by side, each from an empty state; the few characters that
    do not fill them are left out. Perplexity per character is ``2**bits``.

    Args:
        model: maps (N, T) int64 to logits (N, alphabet, T).
        codes: (n,) int64.
        lanes: pieces, >= 1; fewer pieces give longer memories and take longer.
    """
    inputs, targets = windows(codes, (len(codes) - 1) // lanes)
    with evaluating(model):
        loss = F.cross_entropy(model(inputs), targets)
    return loss.item() / math.log(2)
