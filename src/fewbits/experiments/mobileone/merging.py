"""INQ before and after merging, on ``mnist5k``: two readings of yokota2024, side by side.

The paper does not say whether INQ ran on the branches, with their batch normalization, or on the merged network. Here
small networks go both ways: what is right before merging, after it, and after the merged weights have been rounded once
more, as a circuit that only shifts needs them.
"""

import copy
import time

import pandas as pd
from torch import nn

from fewbits import evidence
from fewbits.bn_folding import correct_statistics
from fewbits.experiments.common import merge_rows, recorded
from fewbits.experiments.inq.networks import small_data
from fewbits.experiments.inq.run import SMALL_INQ_EPOCHS, SMALL_INQ_LR, train_small
from fewbits.experiments.inq.training import FRACTIONS, Trainer, apply_inq, on_grid
from fewbits.experiments.mobileone.claims import current_claims
from fewbits.inq import Inq
from fewbits.mobileone import reparameterize
from fewbits.training import percent

BITS = 5
NETWORK, BRANCHES = "MobileOne k=4", 4  # ``inq_small`` has the same of MobileNet, which has one branch
CORRECTED_WITH = 500  # training images, without their labels
KEYS = ["network", "seed", "form"]


def run_merging(seeds: int, command: str) -> None:
    """Write ``mobileone_merging.csv``, rows of :func:`merging_rows`, and the claims that follow.

    What is there does not run again.
    """
    wall_s = 0.0
    for seed in range(seeds):
        if len(recorded("mobileone_merging", KEYS).query("seed == @seed")):
            continue
        started = time.perf_counter()
        trainer = Trainer(small_data(), seed)
        rows = pd.DataFrame(merging_rows(train_small(BRANCHES, trainer), trainer)).round(6)
        rows = rows.assign(network=NETWORK, seed=seed)[[*KEYS, "accuracy", "on_grid"]]
        print(rows.to_string(), flush=True)
        wall_s += (spent := time.perf_counter() - started)
        merge_rows("mobileone_merging", evidence.stamped(rows, command, spent), KEYS)
    evidence.record("mobileone", current_claims(), command=command, wall_s=wall_s)


def merging_rows(model: nn.Module, trainer: Trainer) -> list[dict]:
    """One row a form of the trained ``model``: test accuracy in percent, share of the weights on the grid.

    "float"; "folded first": merged, then INQ of weights and biases; "branches": INQ of the weights of the branches,
    with their batch normalization; "merged": that one merged; "rounded": merged, and rounded once more, biases too;
    "corrected": rounded, with the statistics of the merged network put back by a factor and an offset a channel.
    """
    epochs = SMALL_INQ_EPOCHS // (len(FRACTIONS) - 1)
    folded = apply_inq(reparameterize(model), trainer, epochs, BITS, lr=SMALL_INQ_LR).model
    branches = apply_inq(model, trainer, epochs, BITS, biases=False, lr=SMALL_INQ_LR).model
    merged = reparameterize(branches)
    again = Inq(copy.deepcopy(merged), BITS, biases=True)
    again.step(1.0)
    rounded = again.finish()
    forms = {"float": model, "folded first": folded, "branches": branches, "merged": merged, "rounded": rounded}
    forms["corrected"] = correct_statistics(rounded, merged, trainer.data.train_images[:CORRECTED_WITH])
    return [
        {"form": form, "accuracy": percent(network, trainer.data), "on_grid": on_grid(network, BITS, biases=False)}
        for form, network in forms.items()
    ]
