"""ResNet-18 for ImageNet and for small images, and the thin ResNets for CIFAR-10."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with batch normalization, added to the input: (N, inputs, H, W) to (N, outputs, H', W').

    Where the shape changes, the input passes a 1×1 convolution with batch normalization first.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, activation: Callable[[], nn.Module]):
        super().__init__()
        self.conv1, self.bn1 = _convolution(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs)
        self.relu1 = activation()
        self.conv2, self.bn2 = _convolution(outputs, outputs, 3), nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(_convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
        self.relu2 = activation()

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(y + shortcut)


class ResNet18(nn.Module):
    """ResNet-18 (He et al. 2016): a stem, four stages of two :class:`BasicBlock`, average pool, linear classifier.

    Input (N, ``in_channels``, H, W), output (N, ``classes``) logits. The stages have 64, 128, 256 and 512 channels; all
    but the first halve the image. The layers have the names that torchvision gives them.

    Args:
        stem: "imagenet" for a 7×7 convolution of stride 2 and a max-pool, which leave a quarter of height and width;
            "cifar" for a 3×3 convolution of stride 1 that keeps the size.
        activation: called without arguments at each use; gives a fresh module.
    Raises:
        ValueError: ``stem`` is neither.
    """

    def __init__(
        self,
        in_channels: int = 3,
        classes: int = 1000,
        stem: str = "imagenet",
        activation: Callable[[], nn.Module] = nn.ReLU,
    ):
        super().__init__()
        if stem not in ("imagenet", "cifar"):
            raise ValueError(f"stem must be 'imagenet' or 'cifar', got {stem!r}")
        large = stem == "imagenet"
        self.conv1 = _convolution(in_channels, 64, 7, 2) if large else _convolution(in_channels, 64, 3)
        self.bn1, self.relu = nn.BatchNorm2d(64), activation()
        self.maxpool = nn.MaxPool2d(3, 2, 1) if large else nn.Identity()
        self.layer1 = self._stage(64, 64, 1, activation)
        self.layer2 = self._stage(64, 128, 2, activation)
        self.layer3 = self._stage(128, 256, 2, activation)
        self.layer4 = self._stage(256, 512, 2, activation)
        self.avgpool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.fc = nn.Linear(512, classes)

    @staticmethod
    def _stage(inputs: int, outputs: int, stride: int, activation: Callable[[], nn.Module]) -> nn.Sequential:
        return nn.Sequential(
            BasicBlock(inputs, outputs, stride, activation), BasicBlock(outputs, outputs, 1, activation)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x))


class ThinBlock(nn.Module):
    """Two 3×3 convolutions with batch normalization, added to the input, for :class:`ResNet20`.

    Where the shape changes, the shortcut takes every second pixel and fills new channels with zeros (He et al. 2016,
    option A): it has no parameters.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, activation: Callable[[], nn.Module]):
        super().__init__()
        self.conv1, self.bn1 = _convolution(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs)
        self.relu1 = activation()
        self.conv2, self.bn2 = _convolution(outputs, outputs, 3), nn.BatchNorm2d(outputs)
        self.relu2 = activation()
        self.stride, self.new = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        if self.stride != 1 or self.new:
            shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.new // 2, self.new // 2))
        y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(y + shortcut)


class ResNet20(nn.Module):
    """ResNet-20 for CIFAR-10 (He et al. 2016): three stages of 16, 32 and 64 channels, 269,722 parameters.

    Input (N, ``in_channels``, 32, 32), output (N, ``classes``) logits.

    Args:
        activation: called without arguments at each use; gives a fresh module.
        blocks: in each of the three stages; 3 for ResNet-20, 5, 7 and 9 for 32, 44 and 56 layers.
    """

    def __init__(
        self, in_channels: int = 3, classes: int = 10, activation: Callable[[], nn.Module] = nn.ReLU, blocks: int = 3
    ):
        super().__init__()
        self.conv1, self.bn1, self.relu = _convolution(in_channels, 16, 3), nn.BatchNorm2d(16), activation()
        stages, inputs = [], 16
        for outputs in (16, 32, 64):
            for index in range(blocks):
                stride = 2 if outputs > 16 and index == 0 else 1
                stages.append(ThinBlock(inputs, outputs, stride, activation))
                inputs = outputs
        self.blocks = nn.Sequential(*stages)
        self.avgpool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.fc = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.avgpool(self.blocks(self.relu(self.bn1(self.conv1(x))))))
