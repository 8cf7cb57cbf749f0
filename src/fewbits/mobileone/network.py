"""MobileNet-V1 and MobileOne for small images: the networks of yokota2024.

Both are depthwise separable networks, and the same network at inference: each convolution has a bias and is followed by
an activation. They differ in training. MobileNet-V1 has one convolution with batch normalization there; MobileOne
(vasu2023) has several side by side, whose outputs are added. All of them are linear once the statistics are frozen, so
:func:`reparameterize` adds them up to one convolution.
"""

import copy
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewbits.core.batch_norm import factor_and_offset, running_statistics
from fewbits.core.channels import per_channel
from fewbits.core.graph import replace_module
from fewbits.mobileone.moments import depthwise_moments, patch_moments


class ConvBranches(nn.Module):
    """A sum of parallel branches, each with batch normalization: what MobileOne trains in place of a convolution.

    The branches are: ``branches`` convolutions; with ``shortcuts`` also a 1×1 one if the kernel is larger (the scale
    branch), and the input itself if input and output have the same shape. Input (N, inputs, H, W), output
    (N, outputs, ⌈H / stride⌉, ⌈W / stride⌉).

    With ``merged``, a training step merges the branches *before* the convolution. Mean and variance of a linear map
    follow from the mean and the covariance of the numbers that it sees, for a 1×1 convolution the channels of a pixel,
    for a depthwise 3×3 one the window in its channel (:mod:`fewbits.mobileone.moments`). So the statistics of every
    branch are known without running it; each is then a kernel and a bias, and those are added. Output, gradients and
    running statistics are the same, up to rounding, and take less time. Other grouped convolutions run branch by branch
    all the same, and so does everything if a normalization is frozen or has settings of its own. In evaluation mode
    without gradients the one convolution of :meth:`reparameterize` is run.

    Args:
        kernel: odd; the padding keeps the size at stride 1.
        groups: as in ``nn.Conv2d``.
        branches: convolutions with the full kernel, at least 1.
    Source: vasu2023 Sec. 3.3; own (training with merged branches); book eq-mobileone-moments
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        branches: int = 1,
        shortcuts: bool = False,
        merged: bool = False,
    ):
        super().__init__()
        if branches < 1:
            raise ValueError(f"branches must be at least 1, got {branches}")
        kernels = [kernel] * branches + [1] * (shortcuts and kernel > 1)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False) for size in kernels
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(outputs) for _ in kernels)
        self.identity = nn.BatchNorm2d(inputs) if shortcuts and inputs == outputs and stride == 1 else None
        self.shape = {"in_channels": inputs, "out_channels": outputs, "kernel_size": kernel, "stride": stride}
        self.shape |= {"padding": kernel // 2, "groups": groups}
        self.depthwise = groups == inputs == outputs and kernel == 3
        self.merged = merged

    def forward(self, x: Tensor) -> Tensor:
        if self.merged and self._merges_in_training():
            return self._forward_merged(x)
        if self.merged and not torch.is_grad_enabled() and not any(module.training for module in self.modules()):
            return self.reparameterize()(x)
        outputs = [norm(convolution(x)) for convolution, norm in zip(self.convolutions, self.norms, strict=True)]
        if self.identity is not None:
            outputs.append(self.identity(x))
        return sum(outputs[1:], start=outputs[0])

    def _merges_in_training(self) -> bool:
        """Whether :meth:`_forward_merged` computes what the branches would: each norm in train mode, with one eps."""
        norms = [norm for norm in (*self.norms, self.identity) if isinstance(norm, nn.BatchNorm2d)]
        usual = all(
            norm.training and norm.affine and norm.running_mean is not None and norm.momentum is not None
            for norm in norms
        )
        same_eps = len({norm.eps for norm in norms}) <= 1
        return self.training and usual and same_eps and (self.shape["groups"] == 1 or self.depthwise)

    def _kernels(self) -> list[tuple[Tensor, nn.BatchNorm2d]]:
        """Every branch as (kernel, batch normalization); kernels (outputs, inputs / groups, kernel, kernel)."""
        size = self.shape["kernel_size"]
        pairs = []
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            if not (isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)):
                kinds = f"{type(convolution).__name__} and {type(norm).__name__}"
                raise TypeError(f"a branch to merge must be nn.Conv2d and nn.BatchNorm2d, got {kinds}")
            pairs.append((F.pad(convolution.weight, [(size - convolution.kernel_size[0]) // 2] * 4), norm))
        if self.identity is not None:
            unit = torch.empty_like(pairs[0][0])
            nn.init.dirac_(unit, groups=self.shape["groups"])
            pairs.append((unit, self.identity))
        return pairs

    def _forward_merged(self, x: Tensor) -> Tensor:
        kernels, norms = zip(*self._kernels(), strict=True)
        stride, padding = self.shape["stride"], self.shape["padding"]
        with torch.autocast(x.device.type, enabled=False):  # statistics want all the digits of float32
            x = x.to(kernels[0].dtype)
            if self.depthwise:
                mean, covariance = depthwise_moments(x, stride)
            else:
                mean, covariance = (moment[None] for moment in patch_moments(x, self.shape["kernel_size"], stride))
            rows = torch.stack([kernel.flatten(1) for kernel in kernels])  # (branches, outputs, n)
            grouped = rows.unflatten(1, (len(mean), -1))  # (branches, groups, outputs / groups, n)
            means = (grouped @ mean[:, :, None]).flatten(1)
            # book eq-mobileone-moments
            variances = (grouped @ covariance * grouped).sum(3).flatten(1).clamp_min(0)  # rounding may pass below 0
            gamma, beta = (torch.stack([getattr(norm, kind) for norm in norms]) for kind in ("weight", "bias"))
            scale = gamma / torch.sqrt(variances + norms[0].eps)
            kernel = (scale.unsqueeze(2) * rows).sum(0).reshape(kernels[0].shape)
            bias = (beta - scale * means).sum(0)
        y = F.conv2d(x, kernel, bias, stride, padding, groups=self.shape["groups"])
        count = y.numel() // y.shape[1]
        if count == 1:
            raise ValueError("a batch normalization in train mode needs more than one value per channel")
        self._update_statistics(norms, means.detach(), variances.detach() * count / (count - 1))
        return y

    @staticmethod
    @torch.no_grad()
    def _update_statistics(norms: Sequence[nn.BatchNorm2d], means: Tensor, variances: Tensor) -> None:
        """What a BN does in training; its running variance is the unbiased one."""
        for norm, mean, variance in zip(norms, means, variances, strict=True):
            running_mean, running_var = running_statistics(norm)
            if norm.momentum is None or norm.num_batches_tracked is None:
                raise ValueError("the batch normalization of a merged branch needs a momentum")
            running_mean.lerp_(mean, norm.momentum)
            running_var.lerp_(variance, norm.momentum)
            norm.num_batches_tracked += 1

    @torch.no_grad()
    def reparameterize(self) -> nn.Conv2d:
        """One convolution, with a bias, that does what the branches do in evaluation mode.

        Raises:
            ValueError: this module is in train mode, where a branch depends on the batch, or a normalization keeps no
                running statistics.
            TypeError: a branch has another normalization than ``nn.BatchNorm2d``, or is no convolution.
        Source: vasu2023 Sec. 3.3; ioffe2015 Alg. 2 (line 11, each branch); book eq-mobileone-merge
        """
        if any(module.training for module in self.modules()):
            raise ValueError("the network is in train mode, where it depends on the batch: call .eval() first")
        shape, branches = self.shape, self._kernels()
        convolution = nn.Conv2d(
            shape["in_channels"],
            shape["out_channels"],
            shape["kernel_size"],
            shape["stride"],
            shape["padding"],
            groups=shape["groups"],
        ).to(branches[0][0])
        kernel, bias = torch.zeros_like(convolution.weight), convolution.weight.new_zeros(shape["out_channels"])
        for weight, norm in branches:
            mean, variance = running_statistics(norm)
            gamma, beta = factor_and_offset(norm)
            scale = gamma / torch.sqrt(variance + norm.eps)
            kernel = kernel + weight * per_channel(scale, 4)  # vasu2023 Sec. 3.3
            bias = bias + beta - scale * mean
        convolution.weight.copy_(kernel)
        convolution.bias = nn.Parameter(bias.to(convolution.weight))
        return convolution.eval()


# --- Networks --------------------------------------------------------------------------------------------------------


class _SeparableNet(nn.Module):
    """Stem, stages of depthwise separable blocks, average pool, linear classifier; see :class:`MobileOne`."""

    def __init__(self, in_channels, classes, widths, depths, activation, convolution):
        super().__init__()
        if len(widths) != len(depths) or min(*widths, *depths) < 1:
            raise ValueError(f"widths and depths must be as many positive numbers, got {widths} and {depths}")
        layers = [convolution(in_channels, widths[0], 3), activation()]
        inputs = widths[0]
        for stage, (outputs, depth) in enumerate(zip(widths, depths, strict=True)):
            for block in range(depth):
                stride = 2 if stage and not block else 1
                layers += [convolution(inputs, inputs, 3, stride, groups=inputs), activation()]
                layers += [convolution(inputs, outputs, 1), activation()]
                inputs = outputs
        self.features = nn.Sequential(*layers)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.pool(self.features(x)))


class MobileNetV1(_SeparableNet):
    """MobileNet-V1 of yokota2024: the network of :class:`MobileOne`, one convolution with BN at each place.

    Source: howard2017 Sec. 3.1; yokota2024 Table 1 (its count)
    """

    def __init__(
        self,
        in_channels: int = 3,
        classes: int = 100,
        widths: Sequence[int] = (32, 64, 128, 256),
        depths: Sequence[int] = (1, 4, 5, 1),
        activation: Callable[[], nn.Module] = nn.ReLU,
    ):
        super().__init__(in_channels, classes, widths, depths, activation, ConvBranches)


class MobileOne(_SeparableNet):
    """MobileOne in training, MobileNet-V1 at inference (vasu2023), for small images as in yokota2024.

    A 3×3 stem of stride 1, then stages of blocks; a block is a depthwise 3×3 and a 1×1 convolution. Every stage but the
    first begins with stride 2. Input (N, ``in_channels``, H, W), output (N, ``classes``) logits. With the defaults
    :func:`reparameterize` leaves 159,236 parameters: at 32 bits the 5,095,552 and at 5 bits the 796,180 of the paper,
    which gives no structure, only these two numbers.

    Args:
        widths: channels of each stage; the stem has those of the first.
        depths: blocks of each stage.
        branches: k, convolutions side by side; a scale and an identity branch come in addition (:class:`ConvBranches`).
        activation: called without arguments for each convolution; gives a fresh module.
        merged: train with the branches merged, which is faster; see :class:`ConvBranches`.
    Raises:
        ValueError: ``branches`` is below 1, or ``widths`` and ``depths`` are not as many positive numbers.
    Source: vasu2023 Sec. 3.3; yokota2024 Sec. 2.2; yokota2024 Table 1 (its counts)
    """

    def __init__(
        self,
        in_channels: int = 3,
        classes: int = 100,
        widths: Sequence[int] = (32, 64, 128, 256),
        depths: Sequence[int] = (1, 4, 5, 1),
        branches: int = 4,
        activation: Callable[[], nn.Module] = nn.ReLU,
        merged: bool = False,
    ):
        convolution = partial(ConvBranches, branches=branches, shortcuts=True, merged=merged)
        super().__init__(in_channels, classes, widths, depths, activation, convolution)


def reparameterize(model: nn.Module) -> nn.Module:
    """A copy of ``model`` in which every :class:`ConvBranches` has become one ``nn.Conv2d`` with a bias.

    It computes the same, up to rounding, as ``model`` in evaluation mode; names stay.

    Raises:
        ValueError: ``model`` is in train mode, or has nothing to reparameterize.
    Source: vasu2023 Sec. 3.3
    """
    model = copy.deepcopy(model)
    places = [module for module in model.modules() if isinstance(module, ConvBranches)]
    if not places:
        raise ValueError("model has no ConvBranches to reparameterize")
    for module in places:
        merged = module.reparameterize()
        if module is model:
            return merged
        replace_module(model, module, merged)  # at every place where it is registered
    return model
