"""The LSTM on words, as QNN has it: 300 units, float, in 4-bit fixed point, and as powers of two.

The text is any plain one of some 300,000 words or more, given by its path; of a longer one the first 450,000 words and
marks count. The King James Bible is in the public domain, and Debian's ``bible-kjv`` prints it, a verse a line::

    bible -f gen1:1-rev22:21 | cut -d" " -f2- > bible.txt

Its SHA-256 is a column of the table, so that results of two texts do not mix.

An LSTM without dropout may learn such a text by heart. For how many epochs and at which rate it is trained is chosen
for the float network on the validation part (``--held-out``: rows of ``low_bitwidth_words_held_out.csv``), and then
stands in `EPOCHS` and `LR`; the networks of 4 bits follow it.
"""

import hashlib
import re
import time
from collections import Counter
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewbits import evidence
from fewbits.core.quantizer import Quantizer, quantize_weights
from fewbits.data import bits_per_character, windows
from fewbits.experiments.common import recorded, run_folder, run_missing_rows, seeds
from fewbits.experiments.low_bitwidth.claims import word_claims
from fewbits.low_bitwidth import AP2Quantizer, LinearQuantizer
from fewbits.nets import CharLSTM
from fewbits.training import clip_gradients, fit, one_cycle, seed_everything, step_count

TABLE = "low_bitwidth_words"
EPOCHS, LR, HIDDEN, WINDOW, BATCH = 13, 5e-3, 300, 35, 20
RECIPES = ((3, 5e-3), (5, 5e-3), (8, 5e-3), (13, 5e-3), (8, 2e-3))  # epochs and rate, to choose from
VOCABULARY, BITS = 5000, 4
WORDS = 450_000  # of the text, marks included
METHODS = ("float", "linear", "powers, scale per row")
SHARES = (0.8, 0.9)  # words up to the first are for training, from the second on for the test; between, for choices


class WordLSTM(CharLSTM):
    """A :class:`CharLSTM` that looks its input weights up, the product with a one-hot vector of thousands of words."""

    def of_input(self, codes: Tensor) -> Tensor:
        return F.embedding(codes, self.input.weight.T) + self.input.bias


def words(text: str) -> list[str]:
    """Words in small letters, and punctuation marks."""
    return re.findall(r"[a-z]+(?:'[a-z]+)?|[.,;:!?]", text.lower())


def encoded(text: str, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Training, validation and test part of a text, one integer a word; 0 stands for all but the most frequent words.

    Which words are frequent is counted in the training part.

    Raises:
        ValueError: the training part has fewer than ``size`` - 1 different words.
    """
    found = words(text)[:WORDS]
    first, second = (int(share * len(found)) for share in SHARES)
    kept = [word for word, _ in Counter(found[:first]).most_common(size - 1)]
    if len(kept) < size - 1:
        raise ValueError(f"text has {len(kept)} different words, and the vocabulary is to have {size - 1}")
    index = {word: place for place, word in enumerate(kept, start=1)}
    codes = torch.tensor([index.get(word, 0) for word in found])
    return codes[:first], codes[first:second], codes[second:]


def build(method: str) -> nn.Module:
    """The LSTM with all weights, and the state that enters matrix products, in 4 bits; or in floating point."""
    if method == "float":
        return WordLSTM(VOCABULARY, HIDDEN)
    rules: dict[str, tuple[type[Quantizer], int | None]] = {
        "linear": (LinearQuantizer, None),
        "powers, scale per row": (AP2Quantizer, 0),
    }
    quantizer, axis = rules[method]
    model = WordLSTM(VOCABULARY, HIDDEN, partial(quantizer, BITS))
    return quantize_weights(model, partial(quantizer, BITS, None, axis), skip=())


def run_words(options, command: str) -> None:
    """Train what the table lacks, seed after seed, and record the claims."""
    if options.text is None:
        raise SystemExit("--part words needs --text: a plain text of some 300,000 words or more")
    started = time.perf_counter()
    content = Path(options.text).read_bytes()
    command = command.replace(options.text, Path(options.text).name)  # a record names no folder of this machine
    digest = hashlib.sha256(content).hexdigest()
    train, valid, test = encoded(content.decode("utf-8"), VOCABULARY)
    inputs, targets = windows(train, WINDOW)
    table, scored = (f"{TABLE}_held_out", valid) if options.held_out else (TABLE, test)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run_folder(table).mkdir(parents=True, exist_ok=True)

    def measure(row: dict, minutes: float | None) -> dict[str, float] | None:
        seed_everything(row["seed"])
        model = build(row["method"]).to(device)
        optimizer = torch.optim.Adam(model.parameters(), row["lr"], fused=True)
        clip_gradients(optimizer)
        scheduler = one_cycle(optimizer, step_count(len(inputs), row["epochs"], BATCH))
        name = "-".join(str(value).replace(", ", "-").replace(" ", "-") for value in row.values())
        state: dict = {"checkpoint": run_folder(table) / f"{name}.safetensors", "minutes": minutes, "progress": True}
        of_fit: dict = {"epochs": row["epochs"], "optimizer": optimizer, "scheduler": scheduler, "batch_size": BATCH}
        history = fit(model, inputs, targets, seed=row["seed"], **of_fit, **state)
        if len(history) < row["epochs"]:
            return None
        bits = bits_per_character(model, scored.to(device))
        return {"bits_per_word": bits, "perplexity": 2**bits}

    recipes = RECIPES if options.held_out else ((EPOCHS, LR),)
    rows = [
        {"text": digest, "words": len(train), "method": method, "epochs": epochs, "lr": lr, "seed": seed}
        for seed in seeds(options.seeds)
        for method in (METHODS[:1] if options.held_out else METHODS)
        for epochs, lr in recipes
    ]
    finished = run_missing_rows(table, rows, measure, command, options.minutes, device)
    if options.held_out:
        if finished:
            print(evidence.rows(table).groupby(["epochs", "lr"]).bits_per_word.mean())
        return
    runs = recorded(table, list(rows[0]))
    claims = word_claims(runs[(runs.text == digest) & (runs.epochs == EPOCHS) & (runs.lr == LR)])
    evidence.record("low_bitwidth", claims, command=command, wall_s=time.perf_counter() - started, device=device)
