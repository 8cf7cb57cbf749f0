"""Small networks in other people's style: what the contract tests put through every public function.

Each is made anew from a fixed seed, in evaluation mode, with normalizations that have seen other data than at a start.
"""

from collections import OrderedDict
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewbits.binary import BinaryConnect, SignActivation
from fewbits.core.quantizer import quantize_weights
from fewbits.mobileone import ConvBranches


class SharedReLU(nn.Module):
    """torchvision's basic block: one ReLU object for both places, normalizations, an addition in place."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.down = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4))
        self.relu, self.pool, self.fc = nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d((1, 1)), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += self.down(x)
        return self.fc(torch.flatten(self.pool(self.relu(out)), 1))


class Functional(nn.Module):
    """The tutorial network: functions for activations, pools and the shape."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 3, padding=1)
        self.fc1, self.fc2 = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(torch.relu(self.conv2(x)), 3)
        return self.fc2(self.fc1(x.view(x.size(0), -1)).relu())


class Mixed(nn.Module):
    """A ReLU module at one place, a function at the other."""

    def __init__(self):
        super().__init__()
        self.a, self.act, self.b, self.c = nn.Linear(12, 6), nn.ReLU(), nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(F.relu(self.b(self.act(self.a(x)))))


class CalledTwice(nn.Module):
    """One convolution and one normalization, each called twice."""

    def __init__(self):
        super().__init__()
        self.stem, self.conv, self.bn = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.act1, self.act2, self.fc = nn.ReLU(), nn.ReLU(), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act1(self.bn(self.conv(self.stem(x))))
        x = self.act2(self.bn(self.conv(x)))
        return self.fc(x.mean((2, 3)))


def two_places() -> nn.Module:
    """One linear layer, one normalization and one ReLU, each registered at two places of a chain."""
    shared, norm, act = nn.Linear(6, 6), nn.BatchNorm1d(6), nn.ReLU()
    return nn.Sequential(nn.Linear(12, 6), norm, act, shared, act, shared, norm, nn.Linear(6, 3))


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(12, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.c.weight = self.b.weight
        self.out, self.relu = nn.Linear(6, 3), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.c(self.relu(self.b(F.relu(self.a(x))))))


class TiedFunction(nn.Module):
    """An autoencoder whose second half is the transposed weight of the first, read by a function."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(12, 6), nn.Linear(6, 5)
        self.act1, self.act2 = nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.act2(self.b(self.act1(self.a(x))))
        return F.linear(F.linear(x, self.b.weight.t()), self.a.weight.t())


class TwoPaths(nn.Module):
    """Two branches, one layer on both paths, and a difference and a product at the end."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.relu = nn.Linear(12, 6), nn.Linear(6, 6), nn.Linear(6, 3), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        return self.c(self.relu(self.b(F.relu(y)))) - 0.5 * self.c(y) * torch.sigmoid(self.c(-y))


class Norms(nn.Module):
    """Normalizations with settings of their own."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, bias=False), nn.BatchNorm2d(4, momentum=None)
        self.conv3, self.bn3 = nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4, eps=0.3)
        self.relu1, self.relu2, self.fc = nn.ReLU(), nn.ReLU(), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.relu2(self.bn2(self.conv2(x)))
        return self.fc(self.bn3(self.conv3(x)).flatten(1))


def geometry() -> nn.Module:
    """Padding modes, "same", ZeroPad2d, dilation, groups, a stride, and pools with ceil_mode."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.ZeroPad2d((1, 0, 0, 1)),
        nn.Conv2d(4, 4, (2, 3), padding="same", groups=2),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=4),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3, stride=2, padding=1, padding_mode="circular"),
        nn.ReLU(),
        nn.AvgPool2d(2, ceil_mode=True),
        nn.Flatten(),
        nn.Linear(24, 3),
    )


class Sums(nn.Module):
    """Normalizations before layers, no activation, and results that are added to what they are made from."""

    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)
        self.norms = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(2))
        self.convs = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1, bias=bias) for bias in (True, False))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for norm, conv in zip(self.norms, self.convs, strict=True):
            x = x + conv(norm(x))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Standardized(nn.Conv2d):
    """A convolution that computes something else: its weight is standardized first."""

    def forward(self, x: Tensor) -> Tensor:
        weight = (self.weight - self.weight.mean()) / self.weight.std()
        return self._conv_forward(x, weight, self.bias)


class Doubled(nn.Linear):
    """A layer that computes something else after its product."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x) + 1


class Shifted(nn.BatchNorm2d):
    """A normalization that adds one."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 1


class Softened(nn.ReLU):
    """A subclass of ReLU that is none."""

    def forward(self, x: Tensor) -> Tensor:
        return F.softplus(x)


def subclasses() -> nn.Module:
    """Subclasses of layers, normalizations and activations with a forward of their own."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        Shifted(4),
        nn.ReLU(),
        Standardized(4, 4, 3),
        nn.BatchNorm2d(4),
        Softened(),
        nn.Conv2d(4, 4, 3),
        nn.ReLU(),
        nn.Flatten(),
        Doubled(16, 6),
        nn.ReLU(),
        nn.Linear(6, 3),
    )


def other_activations() -> nn.Module:
    """ReLU6 and SiLU, GELU and a clamp between layers."""

    class Clamp(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.clamp(0, 1)

    return nn.Sequential(
        nn.Linear(12, 6), nn.ReLU6(), nn.Linear(6, 6), nn.SiLU(), nn.Linear(6, 6), Clamp(), nn.Linear(6, 3), nn.GELU()
    )


class Attention(nn.Module):
    """A transformer block with layers of its own: (N, L, K) inputs, products of two activations, LayerNorm, GELU."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(8, 8) for _ in range(4))
        self.up, self.down = nn.Linear(8, 12), nn.Linear(12, 8)
        self.norm1, self.norm2 = nn.LayerNorm(8), nn.LayerNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        weights = torch.softmax(self.q(y) @ self.k(y).transpose(1, 2) / 8**0.5, -1)
        x = x + self.o(weights @ self.v(y))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Encoder(nn.Module):
    """torch's own transformer layer, whose activation is inside, after an embedding of the input."""

    def __init__(self):
        super().__init__()
        self.embed, self.relu = nn.Linear(8, 8), nn.ReLU()
        self.block = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.block(self.relu(self.embed(x))))


class Named(nn.Module):
    """Modules named "input" and "output"."""

    def __init__(self):
        super().__init__()
        self.input, self.output, self.weight, self.act = nn.Linear(12, 6), nn.Linear(6, 3), nn.Linear(6, 6), nn.ReLU()
        self.norm = nn.BatchNorm1d(6)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(F.relu(self.norm(self.weight(self.act(self.input(x))))))


def one_layer() -> nn.Module:
    """The model is the layer."""
    return nn.Linear(12, 3)


def two_layers() -> nn.Module:
    """Nothing between the first and the last layer."""
    return nn.Sequential(OrderedDict(first=nn.Linear(12, 6), act=nn.ReLU(), last=nn.Linear(6, 3)))


class Branching(nn.Module):
    """A forward pass that looks at numbers, so that nobody can read it without running it."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.relu = nn.Linear(12, 6), nn.Linear(6, 6), nn.Linear(6, 3), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.a(x))
        if x.sum() > 0:
            x = self.relu(self.b(x))
        return self.c(x)


def chain() -> nn.Module:
    """What shift-adders know: convolutions with ReLU, a global average over 16 pixels, linear layers."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1, groups=4),
        nn.ReLU(),
        nn.Conv2d(4, 6, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 3),
    )


def sequence() -> nn.Module:
    """One-dimensional convolutions with normalizations, then an average."""

    class Mean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean(-1)

    return nn.Sequential(
        nn.Conv1d(3, 4, 3, padding=1, padding_mode="replicate"),
        nn.BatchNorm1d(4),
        nn.ReLU(),
        nn.Conv1d(4, 4, 3, dilation=2),
        nn.BatchNorm1d(4),
        nn.ReLU(),
        Mean(),
        nn.Linear(4, 3),
    )


def branches() -> nn.Module:
    """The blocks of MobileOne, one of them registered and called twice."""
    block = ConvBranches(4, 4, 3, groups=4, branches=2, shortcuts=True)
    return nn.Sequential(
        ConvBranches(3, 4, 3, branches=2, shortcuts=True), nn.ReLU(), block, nn.ReLU(), block, nn.Flatten(),
        nn.Linear(256, 3),
    )  # fmt: skip


def binary_net() -> nn.Module:
    """A network of signs with normalizations that have no affine part or a negative one."""
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs, affine in ((192, 70, True), (70, 66, False)):
        layers += [nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs, affine=affine), SignActivation()]
    return nn.Sequential(*layers, nn.Linear(66, 3))


IMAGES, ROWS, TOKENS, SERIES = (3, 8, 8), (12,), (5, 8), (3, 9)
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "shared ReLU, residual": (SharedReLU, IMAGES),
    "functional": (Functional, IMAGES),
    "module and function": (Mixed, ROWS),
    "called twice": (CalledTwice, IMAGES),
    "one object, two places": (two_places, ROWS),
    "tied weights": (Tied, ROWS),
    "weight read by a function": (TiedFunction, ROWS),
    "two paths": (TwoPaths, ROWS),
    "own settings of BN": (Norms, IMAGES),
    "padding, dilation, ceil": (geometry, IMAGES),
    "sums, no activation": (Sums, IMAGES),
    "subclasses": (subclasses, IMAGES),
    "ReLU6, SiLU, GELU": (other_activations, ROWS),
    "attention": (Attention, TOKENS),
    "torch's encoder layer": (Encoder, TOKENS),
    "input and output": (Named, ROWS),
    "one layer": (one_layer, ROWS),
    "two layers": (two_layers, ROWS),
    "branches on numbers": (Branching, ROWS),
    "chain": (chain, IMAGES),
    "Conv1d": (sequence, SERIES),
    "MobileOne blocks": (branches, IMAGES),
    "binary": (binary_net, IMAGES),
}


def make(name: str) -> tuple[nn.Module, Tensor]:
    """The network in evaluation mode and float64, and images (6, …) for it."""
    build, shape = NETWORKS[name]
    generator = torch.Generator().manual_seed(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build().double().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            size = module.running_mean.shape
            module.running_mean.copy_(0.3 * torch.randn(size, generator=generator, dtype=torch.float64))
            module.running_var.copy_(0.5 + torch.rand(size, generator=generator, dtype=torch.float64))
            if module.affine:
                module.weight.data.copy_(torch.randn(size, generator=generator, dtype=torch.float64))
                module.bias.data.copy_(0.3 * torch.randn(size, generator=generator, dtype=torch.float64))
    if name == "binary":
        quantize_weights(model, BinaryConnect, skip=())
    images = torch.randn(6, *shape, generator=generator, dtype=torch.float64)
    if name == "binary":  # its inputs are bytes, on a scale
        images = torch.randint(0, 256, (6, *shape), generator=generator).double() / 128 - 1
    return model, images
