"""INQ on MobileNet-V1 and MobileOne: the table of yokota2024 on CIFAR-100, and what matters in INQ, on ``mnist5k``.

``--network small`` (default) runs the comparisons on ``mnist5k`` with several seeds, in minutes: bits, partition,
schedule, biases, order of folding and INQ, branches. It writes ``data/results/inq_small.csv``.

``--network mobilenet`` and ``--network mobileone`` run one seed on CIFAR-100: train, fold to 159,236 parameters, INQ of
all of them at 5 bits. The state lies in ``data/runs`` and is written after each epoch: stop at any time, or with
``--minutes``, and call again with ``--resume``. A finished run writes its rows of ``data/results/inq_cifar100.csv`` and
its column of ``inq_predictions.csv`` (one class per test image), and for seed 0 the networks in ``data/checkpoints``.

Either writes the claims that follow from all rows there are to ``data/results/inq.json``.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewbits import evidence
from fewbits.checkpoint import save_model
from fewbits.data import Dataset, load, normalize, random_crop_flip
from fewbits.experiments.common import ROOT, checkpoint_path, seeds
from fewbits.inq import ALEXNET, GOOGLENET, Inq, InqQuantizer, halving, least_error_exponent
from fewbits.nets import count_parameters
from fewbits.nets.mobileone import MobileNetV1, MobileOne, reparameterize
from fewbits.quantizer import weight_layers
from fewbits.training import correct, fit, seed_everything

FRACTIONS = halving(4)
INQ_LR, INQ_WEIGHT_DECAY, CLIP_NORM = 0.01, 1e-4, 1.0  # of each stage of INQ
VARIANTS = ("plain", "distilled", "least-error")


def add_arguments(parser) -> None:
    """Options of ``python -m fewbits.experiments inq``."""
    parser.add_argument("--network", choices=("small", "mobilenet", "mobileone"), default="small")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds of the small runs (default 5)")
    cifar = parser.add_argument_group("CIFAR-100 (one seed a call)")
    cifar.add_argument("--seed", type=int, default=0)
    cifar.add_argument("--branches", type=int, default=4, help="k of MobileOne (default 4)")
    cifar.add_argument("--epochs", type=int, default=100, help="of the float network (default 100)")
    cifar.add_argument("--inq-epochs", type=int, default=8, help="of each stage of INQ but the last (default 8)")
    cifar.add_argument("--inq-lr", type=float, default=INQ_LR, help=f"at the start of each stage (default {INQ_LR})")
    cifar.add_argument("--variants", nargs="+", choices=VARIANTS, default=["plain"], help="of INQ (default plain)")
    cifar.add_argument("--batch-size", type=int, default=128)
    cifar.add_argument("--lr", type=float, default=0.4, help="peak learning rate of the float network (default 0.4)")
    cifar.add_argument("--weight-decay", type=float, default=5e-4, help="of the float network (default 5e-4)")
    cifar.add_argument("--smoothing", type=float, default=0.0, help="of the labels, float network (default 0)")
    cifar.add_argument("--minutes", type=float, help="stop after so many minutes; go on with --resume")
    cifar.add_argument("--resume", action="store_true", help="go on from the state in data/runs")
    cifar.add_argument("--images", type=int, help="use only so many images of each kind, and record nothing")


def run(options, command: str) -> None:
    """Train and measure, then write tables, claims and checkpoints."""
    evidence.code_version()
    if options.network == "small":
        run_small(options, command)
    else:
        run_cifar(options, command)


# --- Training --------------------------------------------------------------------------------------------------------


class OutOfTime(Exception):
    """The minutes are over; the state is saved."""


@dataclass(frozen=True)
class Trainer:
    """The data and settings that all training runs of one network share.

    ``folder`` is where the state of each run is kept, or None; ``deadline`` is a ``time.perf_counter()``.
    """

    data: Dataset
    seed: int
    batch_size: int = 128
    augment: Callable | None = None
    folder: Path | None = None
    deadline: float = math.inf
    progress: bool = False

    def train(self, model: nn.Module, name: str, epochs: int, lr: float, decay: float, loss: Callable, peak: bool):
        """SGD with momentum; the learning rate rises to ``lr`` first if ``peak``, and falls to 0 as a cosine."""
        minutes = (self.deadline - time.perf_counter()) / 60
        if minutes <= 0:
            raise OutOfTime(name)
        optimizer = torch.optim.SGD(model.parameters(), lr, momentum=0.9, nesterov=True, weight_decay=decay)
        steps = epochs * math.ceil(len(self.data.train_images) / self.batch_size)
        if peak:
            scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
        else:
            scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
            optimizer.register_step_pre_hook(_clip)
        cuda = self.data.train_images.is_cuda
        history = fit(
            model,
            self.data.train_images,
            self.data.train_labels,
            epochs=epochs,
            optimizer=optimizer,
            scheduler=scheduler,
            batch_size=self.batch_size,
            seed=self.seed,
            loss=loss,
            augment=self.augment,
            evaluate_on=(self.data.test_images, self.data.test_labels) if self.folder else None,
            autocast=cuda,
            channels_last=self.folder is not None,
            checkpoint=self.folder and self.folder / f"{name}.safetensors",
            log=self.folder and self.folder / f"{name}.csv",
            minutes=None if math.isinf(minutes) else minutes,
            progress=self.progress,
        )
        if len(history) < epochs:
            raise OutOfTime(name)


def _clip(optimizer: torch.optim.Optimizer, *_) -> None:
    """Clip the gradient: a folded network has no normalization that would bring it back after a bad step."""
    nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], CLIP_NORM)


class Distillation:
    """Half the cross-entropy with the labels, half that with what ``teacher`` answers to the same images.

    A hook on the student asks the teacher, as a loss sees no images; it is gone after ``remove()``.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module, temperature: float = 2.0):
        self.teacher, self.temperature = teacher.eval(), temperature
        self.remove = student.register_forward_pre_hook(self._ask).remove

    @torch.no_grad()
    def _ask(self, student: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if student.training:
            self.answer = (self.teacher(inputs[0]).float() / self.temperature).softmax(1)

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        soft = F.cross_entropy(logits / self.temperature, self.answer) * self.temperature**2
        return (F.cross_entropy(logits, labels) + soft) / 2


@dataclass
class Outcome:
    """A network after INQ, and what was counted on the way.

    Attributes:
        changed: frozen elements that were not the same any more at the end.
        outgrown: elements that had reached 3·2^n1/2 when they could be frozen, added up over the stages.
        stages: for each, its fraction and the test accuracy in percent after freezing and after training.
    """

    model: nn.Module
    changed: int
    outgrown: int
    stages: list[dict]


def apply_inq(
    model: nn.Module,
    trainer: Trainer,
    epochs: int,
    bits: int = 5,
    fractions: Sequence[float] = FRACTIONS,
    biases: bool = True,
    variant: str = "plain",
    lr: float = INQ_LR,
    **settings,
) -> Outcome:
    """INQ of a copy of ``model``, with ``epochs`` of training after each step but the last.

    Args:
        variant: "plain"; "distilled", taught by ``model``; "least-error", with that n1 in place of the paper's.
        settings: of :class:`fewbits.inq.Inq`.
    """
    teacher, model = model, copy.deepcopy(model)
    if variant == "least-error":
        settings["choose_n1"] = least_error_exponent
    inq = Inq(model, bits, biases=biases, **settings)
    loss = Distillation(model, copy.deepcopy(teacher)) if variant == "distilled" else F.cross_entropy
    frozen, outgrown, stages = [], 0, []
    for stage, fraction in enumerate(fractions, start=1):
        outgrown += sum(inq.outgrown().values())
        inq.step(fraction)
        frozen.append([(part.frozen.clone(), part.fixed.clone()) for _, _, part in inq.parts.values()])
        stages.append({"stage": stage, "fraction": fraction, "frozen": percent(model, trainer.data)})
        if fraction < 1:
            trainer.train(model, f"{variant}-{stage}", epochs, lr, INQ_WEIGHT_DECAY, loss, peak=False)
            stages[-1]["trained"] = percent(model, trainer.data)
    if variant == "distilled":
        loss.remove()
    tensors = [getattr(layer, kind).detach() for layer, kind, _ in inq.parts.values()]
    changed = sum(
        int((tensor != fixed)[mask].sum())
        for stage in frozen
        for tensor, (mask, fixed) in zip(tensors, stage, strict=True)
    )
    return Outcome(inq.finish().eval(), changed, outgrown, stages)


# --- CIFAR-100 -------------------------------------------------------------------------------------------------------


def cifar100(device: torch.device, images: int | None = None) -> Dataset:
    """CIFAR-100, normalized, on ``device``; only the first ``images`` of each kind if given."""
    data = load("cifar100")
    if images is not None:
        names = ("train_images", "train_labels", "test_images", "test_labels")
        data = replace(data, **{name: getattr(data, name)[:images] for name in names})
    data = normalize(data, (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))
    return replace(data, train_images=data.train_images.to(device), train_labels=data.train_labels.to(device))


def run_cifar(options, command: str) -> None:
    """One seed of one network: train, fold, INQ, record."""
    started = time.perf_counter()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True
    branches = options.branches if options.network == "mobileone" else 0
    folder = ROOT / "data" / "runs" / f"inq-{options.network}-{branches}-{options.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()) and not options.resume:
        raise SystemExit(f"data/runs/{folder.name} holds the state of such a run: go on with --resume, or delete it")
    data = cifar100(device, options.images)
    deadline = math.inf if options.minutes is None else started + 60 * options.minutes
    trainer = Trainer(data, options.seed, options.batch_size, random_crop_flip, folder, deadline, progress=True)
    seed_everything(options.seed)
    model = (MobileOne(branches=branches, merged=True) if branches else MobileNetV1()).to(device)
    where = {"network": options.network, "branches": branches, "seed": options.seed}
    rows, stages, predicted = [], [], {}

    def add(form: str, variant: str, network: nn.Module, **counts) -> None:
        network = copy.deepcopy(network).cpu()  # so that the record does not depend on the training device
        classes = predict(network, data.test_images)
        predicted[f"{options.network}-{branches}-{form}-{variant}-{options.seed}"] = classes
        score = 100 * int((classes == data.test_labels).sum()) / len(classes)
        bits = count_parameters(network) * (32 if form == "float" else 5)
        settings = {"epochs": options.epochs if form == "float" else options.inq_epochs, "device": device.type}
        rows.append(where | {"form": form, "variant": variant, "accuracy": score, "bits": bits} | settings | counts)
        print(rows[-1])
        if options.seed == 0 and not options.images and variant == "plain" and branches in (0, 4):
            save_model(network, checkpoint_path(f"inq-{options.network}-{form}"))

    try:
        trainer.train(
            model, "float", options.epochs, options.lr, options.weight_decay, Smoothed(options.smoothing), True
        )
        folded = reparameterize(model.eval())
        add("float", "plain", folded)
        for variant in options.variants:
            outcome = apply_inq(folded, trainer, options.inq_epochs, variant=variant, lr=options.inq_lr)
            stages += [where | {"variant": variant} | stage for stage in outcome.stages]
            add("inq", variant, outcome.model, changed=outcome.changed, outgrown=outcome.outgrown)
    except OutOfTime as stage:
        print(f"The minutes are over in '{stage}'. Go on with --resume.")
        return
    if options.images:
        print("A part of the images: nothing is recorded.")
        return
    table = merge_rows("inq_cifar100", pd.DataFrame(rows), ["network", "branches", "seed", "form", "variant"])
    merge_rows("inq_cifar100_stages", pd.DataFrame(stages), ["network", "branches", "seed", "variant", "stage"])
    write_predictions(predicted, data.test_labels)
    claims = size_claims() + cifar_claims(table)
    evidence.record("inq", claims, command=command, wall_s=time.perf_counter() - started, device=device)


class Smoothed:
    """Cross-entropy with smoothed labels."""

    def __init__(self, smoothing: float):
        self.smoothing = smoothing

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, label_smoothing=self.smoothing)


@torch.no_grad()
def predict(model: nn.Module, images: Tensor) -> Tensor:
    """Class of each image, (N,) int64."""
    return torch.cat([model(x).argmax(1) for x in images.split(500)])


def merge_rows(name: str, new: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Put ``new`` rows into the recorded table ``name``, in place of those with the same keys; the whole table."""
    try:
        table = pd.concat([evidence.rows(name), new])
    except FileNotFoundError:
        table = new
    table = table.drop_duplicates(keys, keep="last").sort_values(keys, ignore_index=True)
    evidence.write_rows(name, table)
    return table


def write_predictions(predicted: dict[str, Tensor], labels: Tensor) -> None:
    """Add one column per network to ``inq_predictions.csv``, one row per test image."""
    try:
        table = evidence.rows("inq_predictions")
    except FileNotFoundError:
        table = pd.DataFrame({"label": labels.numpy()})
    for name, classes in predicted.items():
        table[name] = classes.numpy()
    evidence.write_rows("inq_predictions", table[["label", *sorted(table.columns.drop("label"))]])


# --- mnist5k ---------------------------------------------------------------------------------------------------------

NETWORKS = {"MobileNet": 0, "MobileOne k=1": 1, "MobileOne k=2": 2, "MobileOne k=4": 4}
BITS = (5, 4, 3, 2)
SMALL_EPOCHS, SMALL_INQ_EPOCHS, SMALL_INQ_LR = 20, 12, 0.1  # the epochs of INQ are shared out among its stages
STANDARD, BN_KEPT = "standard", "BN kept as a scale"
# What differs from the standard: folded first, biases too, largest first, stages .5, .75, .875, 1, n1 as in the paper.
SETTINGS = {
    STANDARD: {},
    "one shot": {"fractions": (1.0,)},
    "random": {"partition": "random"},
    "2 stages": {"fractions": halving(2)},
    "AlexNet's stages": {"fractions": ALEXNET},
    "GoogLeNet's stages": {"fractions": GOOGLENET},
    "biases in float": {"biases": False},
    "n1 of least error": {"variant": "least-error"},
}


def small_data() -> Dataset:
    """``mnist5k``, normalized and averaged to 14 × 14 pixels."""
    data = normalize(load("mnist5k"))
    halves = {name: F.avg_pool2d(getattr(data, name), 2) for name in ("train_images", "test_images")}
    return replace(data, **halves)


def small_net(branches: int) -> nn.Module:
    """A network with one block in each of 3 stages: MobileNet-V1 if ``branches`` is 0, else MobileOne."""
    shape = {"in_channels": 1, "classes": 10, "widths": (16, 32, 64), "depths": (1, 1, 1)}
    return MobileOne(**shape, branches=branches, merged=True) if branches else MobileNetV1(**shape)


def train_small(branches: int, trainer: Trainer, epochs: int = SMALL_EPOCHS) -> nn.Module:
    """A trained :func:`small_net`, in evaluation mode."""
    seed_everything(trainer.seed)
    model = small_net(branches)
    trainer.train(model, "float", epochs, lr=0.2, decay=5e-4, loss=F.cross_entropy, peak=True)
    return model.eval()


def run_small(options, command: str) -> None:
    """All comparisons for each seed, then the table and the claims."""
    started = time.perf_counter()
    data = small_data()
    rows, stages = [], []
    for seed in seeds(options.seeds):
        trainer = Trainer(data, seed)
        for network, branches in NETWORKS.items():
            model = train_small(branches, trainer)
            where = {"network": network, "seed": seed}
            for row, its_stages in compare(model, trainer, branches == 0):
                rows.append(where | row)
                stages += [where | {key: row[key] for key in ("setting", "bits")} | stage for stage in its_stages]
            if seed == 0 and branches == 0:
                save_model(model, checkpoint_path("inq-small"))
            shown = pd.DataFrame(rows).query("seed == @seed and network == @network")
            print(f"{network}, seed {seed}\n", shown.pivot_table("accuracy", "setting", "bits").to_string(), flush=True)
    table = pd.DataFrame(rows)
    evidence.write_rows("inq_small", table)
    evidence.write_rows("inq_small_stages", pd.DataFrame(stages))
    claims = size_claims() + small_claims(table)
    evidence.record("inq", claims, command=command, wall_s=time.perf_counter() - started)


def compare(model: nn.Module, trainer: Trainer, everything: bool) -> Iterator[tuple[dict, list[dict]]]:
    """Rows of one trained network, float and after INQ with each setting and bit width, each with its stages.

    Args:
        everything: at 5 and 3 bits all settings, not only the standard and one shot; and INQ before folding.
    """
    folded = reparameterize(model)
    yield {"setting": "float", "bits": 32, "accuracy": percent(folded, trainer.data)}, []
    for bits in BITS:
        for setting in SETTINGS if everything and bits in (5, 3) else (STANDARD, "one shot"):
            changes = SETTINGS[setting]
            epochs = SMALL_INQ_EPOCHS // max(len(changes.get("fractions", FRACTIONS)) - 1, 1)
            outcome = apply_inq(folded, trainer, epochs, bits, lr=SMALL_INQ_LR, **changes)
            row = {"setting": setting, "bits": bits, "accuracy": percent(outcome.model, trainer.data)}
            row |= {"on_grid": on_grid(outcome.model, bits, changes.get("biases", True))}
            yield row | {"changed": outcome.changed, "outgrown": outcome.outgrown}, outcome.stages
        if everything:
            yield from ((row | {"bits": bits}, []) for row in other_order(model, trainer, bits))


def other_order(model: nn.Module, trainer: Trainer, bits: int) -> list[dict]:
    """INQ of the weights while BN is still there, and then three ways to get rid of BN."""
    epochs = SMALL_INQ_EPOCHS // (len(FRACTIONS) - 1)
    kept = apply_inq(model, trainer, epochs, bits, biases=False, lr=SMALL_INQ_LR).model
    folded = reparameterize(kept)
    again = Inq(copy.deepcopy(folded), bits, biases=True)
    again.step(1.0)
    networks = {BN_KEPT: kept, "INQ then folded": folded, "folded then rounded": again.finish()}
    return [
        {"setting": setting, "accuracy": percent(network, trainer.data), "on_grid": on_grid(network, bits, False)}
        for setting, network in networks.items()
    ]


def percent(model: nn.Module, data: Dataset) -> float:
    """Test accuracy in percent."""
    return 100 * correct(model, data.test_images, data.test_labels) / len(data.test_labels)


@torch.no_grad()
def on_grid(model: nn.Module, bits: int, biases: bool) -> float:
    """Share of the weights (and biases) that lie on their tensor's codebook."""
    tensors = [
        getattr(layer, kind) for layer in weight_layers(model).values() for kind in ("weight", "bias")[: 1 + biases]
    ]
    tensors = [tensor for tensor in tensors if tensor is not None]
    hits = sum(int((InqQuantizer(bits)(tensor) == tensor).sum()) for tensor in tensors)
    return hits / sum(tensor.numel() for tensor in tensors)


# --- Claims ----------------------------------------------------------------------------------------------------------


def size_claims() -> list[dict]:
    """How many bits the parameters of the CIFAR-100 network take; exact, without training."""
    networks = (MobileNetV1(), MobileOne(branches=1))
    counts = {count_parameters(reparameterize(network.eval())) for network in networks}
    (count,) = counts  # the same network at inference
    return [
        {
            "id": f"inq/params-{form}",
            "statement": f"The parameters of the network take {32 * 159236 if bits == 32 else 5 * 159236:,} bits {how}",
            "paper": {"key": "yokota2024", "where": "Table 1", "value": paper, "unit": "bits"},
            "ours": {"value": bits * count, "unit": "bits", "scale": "full"},
            "expect": {"min": paper, "max": paper},
        }
        for form, bits, paper, how in (
            ("float", 32, 5095552, "in floating point"),
            ("inq", 5, 796180, "after INQ, weights and biases"),
        )
    ]


PAPER = {("mobilenet", "float"): 62.92, ("mobileone", "float"): 64.32}
PAPER |= {("mobilenet", "inq"): 58.54, ("mobileone", "inq"): 63.19}


def cifar_claims(table: pd.DataFrame) -> list[dict]:
    """The claims of yokota2024's Table 1 for which ``inq_cifar100`` has rows."""
    table = table[(table.variant == "plain") & table.branches.isin((0, 4))]
    scores = {key: rows.set_index("seed").accuracy for key, rows in table.groupby(["network", "form"])}
    names = {"mobilenet": "MobileNet-V1", "mobileone": "MobileOne"}
    claims = []

    def add(slug: str, statement: str, values: pd.Series, unit: str, paper: float, **expect: float) -> None:
        values = values.dropna()
        if len(values):
            ours = {"unit": unit, "values": [round(float(v), 4) for v in values], "seeds": values.index.tolist()}
            source = {"key": "yokota2024", "where": "Table 1", "value": paper, "unit": unit}
            claim = {"id": f"inq/{slug}", "statement": statement, "paper": source}
            claims.append(claim | {"ours": ours | {"scale": "full"}, "expect": expect})

    empty = pd.Series(dtype=float)
    get = {key: scores.get(key, empty) for key in PAPER}
    for letter, (key, paper) in zip("abcd", PAPER.items(), strict=True):
        name = names[key[0]] + (" with 5-bit INQ" if key[1] == "inq" else "")
        add(
            letter,
            f"{name} reaches the paper's accuracy on CIFAR-100, less a point at most",
            get[key],
            "%",
            paper,
            min=paper - 1,
        )
    drops = {network: get[network, "float"].sub(get[network, "inq"]) for network in names}
    add(
        "mobilenet-drop",
        "5-bit INQ costs MobileNet-V1 no more than the paper's 4.38 points",
        drops["mobilenet"],
        "pt",
        4.38,
        max=4.38,
    )
    add("mobileone-drop", "5-bit INQ costs MobileOne at most 2 points", drops["mobileone"], "pt", 1.13, max=2.0)
    add(
        "mobileone-drop-smaller",
        "INQ costs MobileOne less than MobileNet-V1: the difference of the drops",
        drops["mobilenet"].sub(drops["mobileone"]),
        "pt",
        3.25,
        min=0.0,
    )
    add(
        "proposed-beats-mobilenet-float",
        "MobileOne with 5-bit INQ is better than MobileNet-V1 in floating point",
        get["mobileone", "inq"].sub(get["mobilenet", "float"]),
        "pt",
        0.27,
        min=0.0,
    )
    return claims


def small_claims(table: pd.DataFrame) -> list[dict]:
    """What zhou2017 says of INQ, on ``mnist5k``."""
    seed_list = sorted(table.seed.unique().tolist())
    net = table[table.network == "MobileNet"]
    by = net.set_index(["setting", "bits", "seed"]).accuracy

    def claim(slug: str, statement: str, where: str, value, values, unit: str = "pt", **expect) -> dict:
        values = [round(float(v), 4) for v in values]
        return {
            "id": f"inq/{slug}",
            "statement": statement,
            "paper": {"key": "zhou2017", "where": where, "value": value},
            "ours": {"unit": unit, "values": values, "seeds": seed_list, "scale": "notebook"},
            "expect": expect,
        }

    def difference(first: str, second: str, bits: int) -> list[float]:
        return [by[first, 32 if first == "float" else bits, s] - by[second, bits, s] for s in seed_list]

    runs = table[table.changed.notna()].groupby("seed")
    return [
        claim(
            "drop-5-bit",
            "5-bit INQ of the weights, BN kept, costs nothing",
            "Sec. 3",
            "better than float",
            difference("float", BN_KEPT, 5),
            max=0.0,
        ),
        claim(
            "drop-3-bit",
            "3-bit INQ of the weights, BN kept, costs at most a point",
            "Sec. 3",
            "small",
            difference("float", BN_KEPT, 3),
            max=1.0,
        ),
        claim(
            "retraining-pays",
            "At 5 bits, INQ step by step beats rounding everything at once",
            "Sec. 1",
            "better",
            difference(STANDARD, "one shot", 5),
            min=0.0,
        ),
        claim(
            "magnitude-beats-random",
            "At 5 bits, freezing the largest first beats a random order",
            "Sec. 3",
            "better",
            difference(STANDARD, "random", 5),
            min=0.0,
        ),
        claim(
            "frozen-stay",
            "A frozen weight never changes again: changed ones, in all runs of a seed",
            "Sec. 2.2",
            0,
            runs.changed.sum(),
            "",
            max=0,
            scale="notebook",
        ),
        claim(
            "folding-after-leaves-grid",
            "Folding BN after INQ leaves less than half of the weights on the 5-bit grid",
            "Sec. 2.1",
            "powers of two",
            [100 * v for v in net.query("setting == 'INQ then folded' and bits == 5").sort_values("seed").on_grid],
            "%",
            max=50.0,
            scale="notebook",
        ),
        claim(
            "folding-after-costs",
            "At 5 bits, rounding again after such a folding costs more than folding first",
            "Sec. 2.1",
            "powers of two",
            difference(STANDARD, "folded then rounded", 5),
            min=0.0,
            scale="notebook",
        ),
    ]
