"""Fixtures for tests of several files: the browser, of which a process can have only one, figures, folded networks."""

from collections.abc import Callable, Iterator

import matplotlib.pyplot as plt
import pytest
import torch
from browsing import launched
from figure_rules import faults
from playwright.sync_api import Browser
from torch import nn

from fewbits.bn_folding import fold_model
from fewbits.experiments.bn_folding.run import separable_net
from fewbits.mobileone import MobileNetV1, reparameterize
from fewbits.nets import MLP, VGGSmall
from fewbits.plots import use_theme


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    try:
        with launched() as browser:
            yield browser
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.fixture
def book_theme() -> Iterator[None]:
    """Figures as a chapter draws them. Afterwards all that were drawn must keep the rules; then they are closed, and
    matplotlib's settings are what they were.
    """
    with plt.rc_context():
        plt.close("all")
        use_theme()
        yield
        found = {number: faults(plt.figure(number)) for number in plt.get_fignums()}
        plt.close("all")
    assert not any(found.values()), found


FOLDED: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "MLP": (lambda: MLP((9, 5, 4, 3)), (1, 3, 3)),
    "VGG-small": (lambda: VGGSmall(1, 8, 3, (4, 4, 4, 4, 4, 4), batch_norm=False), (1, 8, 8)),
    "MobileNet": (lambda: reparameterize(MobileNetV1(1, 3, (4, 8), (1, 1)).eval()), (1, 8, 8)),
    "separable": (lambda: fold_model(separable_net().eval()), (1, 28, 28)),
}


@pytest.fixture(params=FOLDED)
def folded_network(request) -> tuple[nn.Module, tuple[int, ...]]:
    """A small network in float64, without batch normalization, in evaluation mode; and the shape of an image."""
    torch.manual_seed(0)
    build, shape = FOLDED[request.param]
    return build().double().eval(), shape
