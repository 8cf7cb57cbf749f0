"""The character LSTM against torch's own, and the text that it reads."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fewbits.core.quantizer import quantize_weights, weight_layers
from fewbits.data import PATH, bits_per_character, load_text, windows
from fewbits.low_bitwidth import LinearQuantizer
from fewbits.nets import CharLSTM, count_parameters


def with_torchs_lstm(model: CharLSTM, codes: torch.Tensor) -> torch.Tensor:
    """The logits of ``model``, computed by ``nn.LSTM`` with the same weights."""
    lstm = nn.LSTM(model.input.in_features, model.output.in_features, batch_first=True).to(model.input.weight.dtype)
    lstm.load_state_dict(
        {
            "weight_ih_l0": model.input.weight,
            "weight_hh_l0": model.recurrent.weight,
            "bias_ih_l0": model.input.bias,
            "bias_hh_l0": torch.zeros_like(model.input.bias),
        }
    )
    states, _ = lstm(F.one_hot(codes, model.input.in_features).to(model.input.weight.dtype))
    return model.output(states).transpose(1, 2)


def test_it_is_torchs_lstm():
    torch.manual_seed(0)
    model = CharLSTM(7, 5).double()
    codes = torch.randint(7, (3, 11))
    logits = model(codes)
    assert logits.shape == (3, 7, 11)
    torch.testing.assert_close(logits, with_torchs_lstm(model, codes))


def test_quantized_weights_are_used_in_all_three_layers():
    torch.manual_seed(0)
    model = quantize_weights(CharLSTM(7, 5).double(), lambda: LinearQuantizer(3, None), skip=())
    assert list(weight_layers(model)) == ["input", "recurrent", "output"]
    codes = torch.randint(7, (3, 11))
    torch.testing.assert_close(model(codes), with_torchs_lstm(model, codes))
    model(codes).square().sum().backward()
    latent = [layer.parametrizations.weight.original for layer in weight_layers(model).values()]
    assert all(weight.grad.abs().sum() > 0 for weight in latent)


def test_every_state_that_is_multiplied_goes_through_the_activation():
    class Recorder(nn.Module):
        def __init__(self):
            super().__init__()
            self.seen = []
            self.quantizer = LinearQuantizer(3)

        def forward(self, h):
            self.seen.append(self.quantizer(h))
            return self.seen[-1]

    model = CharLSTM(7, 5, Recorder).double()
    logits = model(torch.randint(7, (3, 4)))
    states = torch.stack(model.activation.seen, dim=1)
    torch.testing.assert_close(logits, model.output(states).transpose(1, 2))
    assert ((4 * states).round() == 4 * states).all()
    assert len(model.activation.seen) == 4


def test_a_prediction_does_not_see_what_follows():
    model = CharLSTM(7, 5)
    codes = torch.randint(7, (2, 9))
    changed = codes.clone()
    changed[:, 6:] = (changed[:, 6:] + 1) % 7
    difference = (model(codes) - model(changed)).abs().sum((0, 1))
    assert (difference[:6] == 0).all()
    assert (difference[6:] > 0).all()


def test_parameters_and_forget_bias():
    model = CharLSTM(72, 128)
    assert count_parameters(model) == 72 * 512 + 512 + 128 * 512 + 128 * 72 + 72
    assert (model.input.bias[128:256] == 1).all()


@pytest.mark.parametrize("sizes", [(0, 4), (4, 0)])
def test_bad_sizes_are_refused(sizes):
    with pytest.raises(ValueError, match="characters and hidden must be positive"):
        CharLSTM(*sizes)


# --- The text -------------------------------------------------------------------------------------------------------


def test_the_text_is_read_whole():
    text = load_text()
    assert len(text.train) == 133_628
    assert len(text.train) + len(text.test) == 148_476
    assert len(text.alphabet) == 72
    whole = text.decode(torch.cat([text.train, text.test]))
    assert whole == PATH.read_text("ascii")
    assert "Down the Rabbit-Hole" in whole


def test_another_text_is_refused(tmp_path):
    copy = tmp_path / "alice.txt"
    copy.write_bytes(PATH.read_bytes())
    assert torch.equal(load_text(copy).train, load_text().train)
    copy.write_bytes(PATH.read_bytes().replace(b"Alice", b"Alise", 1))
    with pytest.raises(ValueError, match=r"alice\.txt is not the text"):
        load_text(copy)
    with pytest.raises(FileNotFoundError):
        load_text(tmp_path / "none.txt")


def test_windows():
    inputs, targets = windows(torch.arange(10), 3)
    assert inputs.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert targets.tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    inputs, targets = windows(torch.arange(9), 3)
    assert targets.tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize("length", [0, 10])
def test_windows_that_do_not_fit_are_refused(length):
    with pytest.raises(ValueError, match="length must lie between 1 and 9"):
        windows(torch.arange(10), length)


def test_bits_per_character_of_what_can_be_computed_by_hand():
    class Fixed(nn.Module):
        """The same probabilities for the next of three characters, wherever it stands."""

        def forward(self, codes):
            assert not self.training
            logits = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64).log()
            return logits[:, None].expand(len(codes), 3, codes.shape[1])

    model = Fixed()
    codes = torch.tensor([0, 0, 0, 1, 2, 0, 1, 0, 0])  # as targets: 0, 0, 1, 2, 0, 1, 0, 0
    assert bits_per_character(model, codes, lanes=2) == pytest.approx((5 * 1 + 3 * 2) / 8)
    assert model.training
    flat = CharLSTM(72, 4)
    for parameter in flat.parameters():
        nn.init.zeros_(parameter)
    assert bits_per_character(flat, load_text().test[:200], lanes=4) == pytest.approx(math.log2(72), abs=1e-5)
