"""One calibration for every kind of activation quantizer: by hand, several kinds in one network, shared ones."""

import pytest
import torch
from torch import nn

from fewbits.core.quantizer import calibrate, quantize_weights
from fewbits.learned_step import LSQ
from fewbits.logarithmic import LogQuantizer, full_scale_of_max
from fewbits.low_bitwidth import DoReFaActivation
from fewbits.mixed_precision import LearnedBits
from fewbits.uniform import UniformQuantizer

IMAGES = torch.tensor([[0.5, 2.0], [0.0, 6.0]])


class Double(nn.Module):
    def forward(self, x):
        return 2 * x


def test_each_kind_is_fitted_by_its_own_rule_to_what_no_other_has_rounded():
    uniform, log, step = UniformQuantizer(2, signed=False), LogQuantizer(3, signed=False), LSQ(4, signed=False)
    model = nn.Sequential(uniform, Double(), log, Double(), step)
    assert calibrate(model, IMAGES) is model
    assert (uniform.low.item(), uniform.high.item()) == (0, 6)
    assert int(log.fsr) == full_scale_of_max(2 * IMAGES, log) == 5  # 12 is nearest to 2^4 on the log scale
    expected = LSQ(4, signed=False)
    expected.fit(4 * IMAGES)
    assert step.started
    assert torch.equal(step.step_size, expected.step_size)


def test_options_reach_the_rule():
    uniform, learned = UniformQuantizer(8), LearnedBits(signed=False, min_bits=1)
    calibrate(nn.Sequential(uniform), IMAGES, range_of=lambda x: (x.min() - 1, x.max() + 1))
    assert (uniform.low.item(), uniform.high.item()) == (-1, 7)
    calibrate(nn.Sequential(learned), IMAGES, bits=3)
    assert int(learned.bits()) == 3


def test_only_the_kind_that_is_asked_for():
    uniform, log = UniformQuantizer(4), LogQuantizer(4)
    calibrate(nn.Sequential(uniform, log), IMAGES, UniformQuantizer)
    assert not uniform.low.isnan()
    assert log.fsr.isnan()


def test_a_quantizer_that_has_nothing_to_fit_does_its_work_meanwhile():
    """DoReFa's activation clips at 1, and what follows must see that."""
    uniform = UniformQuantizer(4, signed=False)
    calibrate(nn.Sequential(DoReFaActivation(2), uniform), IMAGES)
    assert uniform.high == 1
    with pytest.raises(ValueError, match="no activation quantizer to calibrate"):
        calibrate(nn.Sequential(DoReFaActivation(2)), IMAGES)


@pytest.mark.parametrize("make", [UniformQuantizer, LogQuantizer])
def test_a_shared_quantizer_is_fitted_to_all_its_inputs(make):
    """Not to the last one, which is smaller here."""
    shared, once = make(4), make(4)
    calibrate(nn.Sequential(shared, nn.Hardtanh(), shared), IMAGES)
    calibrate(nn.Sequential(once), IMAGES)
    assert torch.equal(shared(IMAGES), once(IMAGES))


def test_weights_are_left_alone():
    model = quantize_weights(nn.Sequential(nn.Linear(2, 2), LogQuantizer(4)), lambda: LogQuantizer(4), skip=())
    calibrate(model, IMAGES)
    assert model[0].parametrizations.weight[0].fsr.isnan()
    assert not model[1].fsr.isnan()


class InPlace(nn.Module):
    """Changes the result of its quantizers afterwards, as ``y += shortcut`` and ``nn.ReLU(inplace=True)`` do."""

    def __init__(self):
        super().__init__()
        self.first, self.second = UniformQuantizer(8), UniformQuantizer(8)

    def forward(self, x):
        y = self.first(x)
        y += 100
        return self.second(x + 0 * y)


def test_what_changes_in_place_later_is_seen_as_it_was():
    model, images = InPlace(), torch.tensor([[-2.0, 5.0]])
    calibrate(model, images)
    assert (model.first.low.item(), model.first.high.item()) == (-2, 5)
    assert (model.second.low.item(), model.second.high.item()) == (-2, 5)
    assert images.tolist() == [[-2, 5]]
