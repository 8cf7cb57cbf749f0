"""BinaryNet's two procedures without multiplications: batch normalization and AdaMax by shifts (courbariaux2016).

Wherever the usual procedures multiply two real numbers, one of the two is replaced by its approximate power of two,
:func:`fewbits.core.powers.ap2`; a multiplication by that is a shift.
"""

import math

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from fewbits.core.channels import per_channel
from fewbits.core.checks import check_float
from fewbits.core.graph import BATCH_NORMS, BatchNorm, is_plain, replace_module
from fewbits.core.powers import ap2


def _check_power_of_two(value: float, name: str) -> float:
    if not (0 < value < math.inf and math.frexp(value)[0] == 0.5):
        raise ValueError(f"{name} must be a power of two, got {value}")
    return value


class ShiftBatchNorm(nn.Module):
    """Shift-based batch normalization, for one, two or no spatial axes.

    With ``C = x - mean`` the variance is ``mean(C * AP2(C))`` and the output
    ``C * AP2(1 / sqrt(var + eps)) * AP2(weight) + bias``. Left as they are: the mean, whose division by the number of
    values is a shift if that number is a power of two, and the inverse square root, one per channel.

    Train mode uses the batch's statistics and moves the running ones by ``momentum``; eval mode uses the running ones,
    or again the batch's with ``running=False``, as the paper's released code does: the answer for one image then
    depends on the others. The running variance is the biased,
    shift-based one above. In the backward pass AP2 counts as the identity, so gradients are those of ordinary batch
    normalization with these approximations in place; the paper gives no rule, and this pass does multiply.

    NaN and ±Inf in ``x`` spread to their channel, as in ``nn.BatchNorm2d``.

    Args:
        num_features: channels C.
        eps: added to the variance.
        momentum: share of the new value in the running statistics, a power of two.
        running: use the running statistics in eval mode.
    Raises:
        ValueError: ``momentum`` is not a power of two.
    Source: courbariaux2016 Sec. 1.4; book eq-binary-shift-bn
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 2**-3, running: bool = True):
        super().__init__()
        self.num_features, self.eps, self.running = num_features, eps, running
        self.momentum = _check_power_of_two(momentum, "momentum")
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.running_mean: Tensor
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.running_var: Tensor
        self.register_buffer("running_var", torch.ones(num_features))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize ``x`` (N, C), (N, C, L) or (N, C, H, W), channel by channel.

        Raises:
            ValueError: ``x`` has another number of axes or channels, or one value per channel where the batch's
                statistics are needed.
        """
        if check_float(x).dim() not in (2, 3, 4) or x.shape[1] != self.num_features:
            raise ValueError(f"x must be (N, {self.num_features}, ...) with 2 to 4 axes, got {tuple(x.shape)}")
        axes = [axis for axis in range(x.dim()) if axis != 1]
        if self.training or not self.running:
            if x.numel() == self.num_features:
                raise ValueError(f"x must have more than one value per channel, got {tuple(x.shape)}")
            mean = x.mean(axes)
            centered = x - per_channel(mean, x.dim(), 1)
            variance = (centered * ap2(centered)).mean(axes)  # courbariaux2016 Sec. 1.4
            if self.training:
                with torch.no_grad():
                    self.running_mean += self.momentum * (mean - self.running_mean)
                    self.running_var += self.momentum * (variance - self.running_var)
        else:
            centered, variance = x - per_channel(self.running_mean, x.dim(), 1), self.running_var
        normalized = centered * per_channel(ap2(torch.rsqrt(variance + self.eps)), x.dim(), 1)
        # courbariaux2016 Sec. 1.4
        return normalized * per_channel(ap2(self.weight), x.dim(), 1) + per_channel(self.bias, x.dim(), 1)

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, running={self.running}"


def use_shift_batch_norm(model: nn.Module) -> nn.Module:
    """Replace every ``nn.BatchNorm1d`` and ``nn.BatchNorm2d`` inside ``model`` by a fresh :class:`ShiftBatchNorm`.

    In place, before training: parameters and running statistics start anew. Kept are ``eps`` and the mode; without
    ``affine`` weight and bias stay 1 and 0; the momentum becomes its approximate power of two, 1/8 for torch's 0.1.

    Raises:
        ValueError: there is none, one has a forward of its own, no running statistics, or ``momentum=None``; the
            message names it.
    Source: own (exchange of modules)
    """
    norms = {name: norm for name, norm in model.named_modules() if isinstance(norm, BATCH_NORMS) and norm is not model}
    if not norms:
        raise ValueError("model has no batch normalization to replace")
    made = {norm: _shift_based(name, norm) for name, norm in norms.items()}
    for norm, new in made.items():  # one that is registered at two places stays one
        replace_module(model, norm, new)
    return model


def _shift_based(name: str, norm: BatchNorm) -> ShiftBatchNorm:
    if not is_plain(norm, BATCH_NORMS):
        raise ValueError(f"{name} ({type(norm).__name__}) has a forward of its own, or hooks")
    if norm.running_mean is None or norm.momentum is None:
        raise ValueError(f"{name} must have running statistics and a momentum")
    new = ShiftBatchNorm(norm.num_features, norm.eps, float(ap2(torch.tensor(norm.momentum)))).to(norm.running_mean)
    new.weight.requires_grad_(norm.affine)
    new.bias.requires_grad_(norm.affine)
    return new.train(norm.training)


class ShiftAdaMax(Optimizer):
    """AdaMax by shifts: Adam with the largest recent gradient in place of its mean square.

    For each step t with gradient g::

        m += (1 - beta1) * (g - m)                                1 - beta1 = 2^-3
        v  = max(v - (1 - beta2) * v, |g| + eps)                  1 - beta2 = 2^-10
        parameter -= AP2(lr / (1 - beta1^t)) * m / AP2(v)

    Every tensor is multiplied or divided by powers of two only; what is left are one division and one power of scalars
    per step. ``lr`` may be any number, but acts through its AP2: a schedule moves in octaves. ``eps``, which the paper
    does not have, keeps a parameter still whose gradient has always been 0. A sparse gradient is refused by torch.

    Args:
        params: parameters, or groups of them.
        lr: learning rate, > 0.
        betas: (beta1, beta2), both with ``1 - beta`` a power of two.
        eps: > 0.
    Raises:
        ValueError: ``lr`` or ``eps`` is not positive, or ``1 - beta`` not a power of two.
    Source: courbariaux2016 Sec. 1.5; courbariaux2016 Alg. 4
    """

    def __init__(self, params, lr: float = 2**-10, betas: tuple = (1 - 2**-3, 1 - 2**-10), eps: float = 1e-8):
        if not (lr > 0 and eps > 0):
            raise ValueError(f"lr and eps must be positive, got {lr} and {eps}")
        for beta, name in zip(betas, ("1 - beta1", "1 - beta2"), strict=True):
            _check_power_of_two(1 - beta, name)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure=None):
        """Move all parameters that have a gradient.

        Args:
            closure: computes the loss and its gradients again, or None.
        Returns:
            The loss of ``closure``, or None.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, **group)
        return loss

    def _move(
        self, parameter: Tensor, gradient: Tensor, *, lr: float, betas: tuple[float, float], eps: float, **_
    ) -> None:
        state = self.state[parameter]
        if not state:
            state.update(step=0, m=torch.zeros_like(parameter), v=torch.zeros_like(parameter))
        state["step"] += 1
        lr_of_step = lr / (1 - betas[0] ** state["step"])
        parameter -= adamax_move(gradient, state["m"], state["v"], lr_of_step, *betas, eps)


def adamax_move(
    gradient: Tensor,
    m: Tensor,
    v: Tensor,
    lr_of_step: float,
    beta1: float,
    beta2: float,
    eps: float,
) -> Tensor:
    """What one step of :class:`ShiftAdaMax` subtracts from a parameter.

    Args:
        gradient, m, v: of one shape; the running mean m and the recent maximum v are brought up to date in place.
        lr_of_step: the learning rate divided by ``1 - beta1^t``.
    Source: courbariaux2016 Alg. 4
    """
    # courbariaux2016 Alg. 4
    m += (1 - beta1) * (gradient - m)
    torch.maximum(v - (1 - beta2) * v, gradient.abs() + eps, out=v)
    rate = ap2(torch.tensor(lr_of_step, dtype=torch.float64)).item()
    return rate * (m / ap2(v))
