"""MobileNet-V1 and MobileOne with 5-bit INQ on CIFAR-100: the table of yokota2024.

``--network mobilenet`` and ``--network mobileone`` run one seed: train, fold to 159,236 parameters, INQ of all of them
at 5 bits. The state lies in ``data/runs`` and is written after each epoch: stop at any time, or with ``--minutes``, and
call again with ``--resume``. A finished run writes its rows of ``data/results/mobileone_cifar100.csv`` and its columns
of ``mobileone_predictions.csv`` (one class per test image), the float network in ``data/checkpoints``, for seed 0 that
after INQ, and the claims that follow from all rows there are in ``data/results/mobileone.json``. With ``--pretrained``
INQ starts from that float network, and nothing is trained before. ``--variants`` without a name trains the float
network only. The variant "unquantized" is a control: the folded network is trained for one stage of INQ, and nothing is
frozen. With ``--inq-seed`` INQ runs once more, in another order of the images, from the float network of ``--seed``.

With "mean-only" or "bn-kept" among the changes of a variant, INQ trains with a normalization (see
:mod:`fewbits.experiments.mobileone.normalized`); "mean-only" folds it and freezes all biases after the first stage.
``--held-out`` chooses settings: a tenth of the training images (:func:`fewbits.data.held_out`) stands in for the test
images, and the outcome goes to ``mobileone_held_out.csv``.

``--network layers`` takes the float networks of seed 0 from there, rounds one layer at a time, and writes the costs to
``mobileone_layers.csv``. ``--network forms`` rounds all layers of all stored float networks, without and with constant
channels folded and scales aligned, and with the statistics of the channels put back, and writes
``mobileone_forms.csv``.

``--network merging`` trains small MobileOnes on ``mnist5k``, with INQ before and after merging, and writes
``mobileone_merging.csv``. What else small networks lose on ``mnist5k`` is measured by the experiment ``inq``.
"""

from argparse import ArgumentParser, Namespace

from fewbits import evidence
from fewbits.experiments.inq.training import CHANGES, LR
from fewbits.experiments.mobileone.cifar100 import UNQUANTIZED, run_cifar
from fewbits.experiments.mobileone.layers import run_forms, run_layers
from fewbits.experiments.mobileone.merging import run_merging
from fewbits.experiments.mobileone.normalized import NORMALIZED


def add_arguments(parser: ArgumentParser) -> None:
    """Options of ``python -m fewbits.experiments mobileone``."""
    parser.add_argument(
        "--network", choices=("mobilenet", "mobileone", "layers", "forms", "merging"), default="mobileone"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds of merging (default 5)")
    parser.add_argument("--inq-seed", type=int, help="of INQ, if not that of the float network")
    parser.add_argument("--branches", type=int, default=4, help="k of MobileOne (default 4)")
    parser.add_argument("--epochs", type=int, default=100, help="of the float network (default 100)")
    parser.add_argument("--inq-epochs", type=int, default=8, help="of each stage of INQ but the last (default 8)")
    parser.add_argument("--inq-lr", type=float, default=LR, help=f"at the start of each stage (default {LR})")
    known = ", ".join(CHANGES + NORMALIZED)
    variants = f"of INQ: plain (default), {known}, several joined by +; or {UNQUANTIZED}"
    parser.add_argument("--variants", nargs="*", metavar="VARIANT", default=["plain"], help=variants)
    normalized = f"of the variants {', '.join(NORMALIZED)}"
    parser.add_argument("--stage-epochs", type=int, nargs="+", default=[], help=f"of each stage {normalized}")
    parser.add_argument(
        "--stage-lrs", type=float, nargs="+", default=[], help=f"at the start of each stage {normalized}"
    )
    choosing = "choose settings: test on a tenth of the training images, train on the others, record no result"
    parser.add_argument("--held-out", action="store_true", help=choosing)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=0.4, help="peak learning rate of the float network (default 0.4)")
    parser.add_argument("--weight-decay", type=float, default=5e-4, help="of the float network (default 5e-4)")
    parser.add_argument("--smoothing", type=float, default=0.0, help="of the labels, float network (default 0)")
    parser.add_argument("--minutes", type=float, help="stop after so many minutes; go on with --resume")
    parser.add_argument("--resume", action="store_true", help="go on from the state in data/runs")
    parser.add_argument("--pretrained", action="store_true", help="take the float network from data/checkpoints")
    parser.add_argument("--images", type=int, help="use only so many images of each kind, and record nothing")


def run(options: Namespace, command: str) -> None:
    """Train and measure, then write tables, claims and checkpoints."""
    evidence.code_version()
    if options.network == "layers":
        run_layers(options.images, command)
    elif options.network == "forms":
        run_forms(options.images, command)
    elif options.network == "merging":
        run_merging(options.seeds, command)
    else:
        run_cifar(options, command)
