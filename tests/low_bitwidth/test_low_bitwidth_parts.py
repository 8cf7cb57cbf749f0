"""The other parts of the experiment: training on bits, four roundings on CIFAR-100, words."""

import argparse
import dataclasses

import pandas as pd
import pytest
import torch

from fewbits import evidence
from fewbits.core.quantizer import encode_weights, weight_quantizers
from fewbits.data import Dataset, load
from fewbits.experiments import __main__ as cli
from fewbits.experiments.low_bitwidth import bit_training, cifar, words
from fewbits.experiments.low_bitwidth.claims import cifar_claims, word_claims
from fewbits.experiments.low_bitwidth.networks import stochastic
from fewbits.low_bitwidth import LinearQuantizer
from fewbits.low_bitwidth.bit_planes import BitPlaneConv2d
from fewbits.nets import CharLSTM


def by_slug(claims) -> dict:
    for claim in claims:
        evidence.validate(claim)
    return {claim["id"].split("/")[1]: claim for claim in claims}


# --- on bits ----------------------------------------------------------------------------------------------------------


def test_two_steps_on_bits_and_simulated_leave_the_same_network():
    data = load("mnist5k")
    few = dataclasses.replace(data, train_images=data.train_images[:160], train_labels=data.train_labels[:160])
    model, differing = bit_training.train_twins(few, epochs=1)
    assert differing == 0
    assert sum(isinstance(layer, BitPlaneConv2d) for layer in model) == 3


def test_the_claim_on_bits_asks_for_equality_and_for_a_network_that_learned():
    words_of = {
        values: evidence.word(by_slug(bit_training.bit_claims(*values))["bit-planes"])
        for values in ((0, 900), (1, 900), (0, 849))
    }
    assert list(words_of.values()) == ["holds", "does not hold", "does not hold"]


# --- roundings --------------------------------------------------------------------------------------------------------


def test_stochastic_rounding_on_a_grid_with_0_has_the_right_mean():
    g = torch.tensor([[1.0, -0.5, 0.1, 0.0], [0.0, 0.0, 0.0, 0.0], [8.0, -8.0, 3.0, -1.0]], dtype=torch.float64)
    torch.manual_seed(0)
    draws = torch.stack([stochastic(g, 3) for _ in range(4000)])
    m = g.abs().amax(1, keepdim=True)
    assert set((3 * draws[:, 0]).unique().round().tolist()) <= {-3, -2, -1, 0, 1, 2, 3}
    # Hoeffding: the mean of 4,000 draws that lie m / 3 apart strays further with probability 2e-8.
    assert ((draws.mean(0) - g).abs() <= 0.0165 * m).all()
    assert (draws[:, [0, 2], 0] == g[[0, 2], 0]).all()  # the largest stays


def test_networks_on_cifar_have_the_bits_of_their_setting():
    torch.manual_seed(0)
    model = cifar.network(1, 2, 4, "zero, noise")
    quantizers = list(weight_quantizers(model))
    assert [quantizer.bits for _, quantizer, _ in quantizers] == [1] * 5
    x = torch.rand(2, 3, 16, 16)
    model(x).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert not list(weight_quantizers(cifar.network(32, 32, 32, "none")))


def test_cifar_claims_by_hand():
    """Out of 50: nothing lost at 6 bits, 3 at 4 bits with noise, 30 without, 0.5 and 0.2 on the grid with 0."""
    lost = {"none": 0, "noise": 3, "nearest": 30, "zero": 0.5, "zero, noise": 0.2}
    rows = [
        (*setting, seed, 60.0 if setting[0] == 32 else 50 + seed - lost[setting[3]] * (setting[2] == 4))
        for setting in cifar.SETTINGS
        for seed in (0, 1)
    ]
    columns = ["weight_bits", "activation_bits", "gradient_bits", "rounding", "seed", "accuracy"]
    table = pd.DataFrame(rows, columns=columns)
    claims = by_slug(cifar_claims(table))
    assert {name: claim["parts"][0]["values"] for name, claim in claims.items()} == {
        "cifar-noise": [27, 27],
        "cifar-6-bit-gradients": [0, 0],
        "cifar-4-bit-gradients": [3, 3],
        "cifar-zero": [0.5, 0.5],
        "cifar-zero-and-noise": [0.2, 0.2],
        "cifar-zero-beats-no-zero": [2.8, 2.8],
    }
    assert {evidence.word(claim) for claim in claims.values()} == {"carries over", "holds"}
    one = by_slug(cifar_claims(table[(table.seed == 0) | (table.rounding != "nearest")]))
    assert one["cifar-noise"]["parts"][0]["runs"] == ["seed 0"]


# --- words ------------------------------------------------------------------------------------------------------------


def test_words_by_hand():
    assert words.words("The Lord's day, and THE 12!") == ["the", "lord's", "day", ",", "and", "the", "!"]
    train, valid, test = words.encoded("a a b a b c c a d e", size=3)
    assert torch.cat([train, valid, test]).tolist() == [1, 1, 2, 1, 2, 0, 0, 1, 0, 0]
    assert (len(train), len(valid), len(test)) == (8, 1, 1)
    with pytest.raises(ValueError, match="text has 2 different words"):
        words.encoded("a b a b a b a b a b", size=4)


def test_looking_words_up_is_the_product_with_one_hot_vectors():
    torch.manual_seed(0)
    plain, looking = CharLSTM(11, 5), words.WordLSTM(11, 5)
    looking.load_state_dict(plain.state_dict())
    codes = torch.randint(11, (2, 7))
    torch.testing.assert_close(looking(codes), plain(codes))


def test_every_operand_of_the_word_lstm_has_4_bits(monkeypatch):
    monkeypatch.setattr(words, "VOCABULARY", 20)
    monkeypatch.setattr(words, "HIDDEN", 6)
    for method in words.METHODS[1:]:
        model = words.build(method)
        codes = encode_weights(model)
        assert set(codes) == {"input", "recurrent", "output"}
        assert all(form.bits == 4 and (torch.frexp(form.scale).mantissa == 0.5).all() for form in codes.values())
        rows = {form.scale.numel() for form in codes.values()}
        assert rows == ({1} if method == "linear" else {24, 20})
        assert model.activation.bits == 4
    assert isinstance(words.build("linear").activation, LinearQuantizer)
    assert not list(weight_quantizers(words.build("float")))


def test_the_part_on_words_records_its_rows_and_claims(monkeypatch, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text(" ".join(f"{'abcdefg'[i % 7]} {'xyz'[i % 3]}" for i in range(400)))
    monkeypatch.setenv("FEWBITS_RESULTS", str(tmp_path))
    monkeypatch.setattr(evidence.records, "code_version", lambda: "a" * 40)
    monkeypatch.setattr(words, "run_folder", lambda name: tmp_path / name)
    for name, value in (("VOCABULARY", 8), ("HIDDEN", 4), ("EPOCHS", 2), ("WINDOW", 5)):
        monkeypatch.setattr(words, name, value)
    with pytest.raises(SystemExit, match="--text"):
        words.run_words(argparse.Namespace(text=None), "a command")
    options = {"text": str(text), "seeds": 1, "held_out": False}
    words.run_words(argparse.Namespace(**options, minutes=0), "a command")
    assert not any(part["values"] for claim in evidence.load("low_bitwidth") for part in claim["parts"])
    words.run_words(argparse.Namespace(**options, minutes=None), f"a command --text {text}")
    table = evidence.rows(words.TABLE)
    assert set(table.command) == {"a command --text text.txt"}
    assert table.method.tolist() == list(words.METHODS)
    assert (2**table.bits_per_word).tolist() == pytest.approx(table.perplexity.tolist(), rel=1e-4)
    assert set(by_slug(evidence.load("low_bitwidth"))) == {"words-linear", "words-powers"}


def test_the_recipe_for_words_is_chosen_on_the_validation_part(monkeypatch, tmp_path, capsys):
    text = tmp_path / "text.txt"
    kept = " ".join(f"{'abcdefg'[i % 7]} {'xyz'[i % 3]}" for i in range(360))
    text.write_text(f"{kept} {'rare ' * 80}")  # the test part alone is foreign
    monkeypatch.setenv("FEWBITS_RESULTS", str(tmp_path))
    monkeypatch.setattr(evidence.records, "code_version", lambda: "a" * 40)
    monkeypatch.setattr(words, "run_folder", lambda name: tmp_path / name)
    for name, value in (("VOCABULARY", 8), ("HIDDEN", 4), ("WINDOW", 5), ("RECIPES", ((1, 0.01), (2, 0.02)))):
        monkeypatch.setattr(words, name, value)
    options = argparse.Namespace(text=str(text), seeds=1, held_out=True, minutes=None)
    words.run_words(options, "a command")
    table = evidence.rows(f"{words.TABLE}_held_out")
    assert table[["method", "epochs", "lr"]].values.tolist() == [["float", 1, 0.01], ["float", 2, 0.02]]
    assert "0.02" in capsys.readouterr().out
    text.write_text(f"{kept} {'a x ' * 40}")
    words.run_words(options, "a command")
    scores = evidence.rows(f"{words.TABLE}_held_out").bits_per_word
    assert scores[:2].tolist() == scores[2:].tolist()  # whatever the test part is
    assert not (tmp_path / "low_bitwidth.json").exists()


def test_other_parts_choose_nothing_on_held_out_data():
    with pytest.raises(SystemExit, match="--held-out is for the part words, not for cifar"):
        cli.main(["low_bitwidth", "--part", "cifar", "--held-out"])


def test_word_claims_by_hand():
    bits = {"float": 6.0, "linear": 6.05, "powers, scale per row": 6.2}
    rows = [(method, seed, value + seed) for method, value in bits.items() for seed in (0, 1)]
    claims = by_slug(word_claims(pd.DataFrame(rows, columns=["method", "seed", "bits_per_word"])))
    assert {name: (claim["parts"][0]["values"], evidence.word(claim)) for name, claim in claims.items()} == {
        "words-linear": ([0.05, 0.05], "carries over"),
        "words-powers": ([0.2, 0.2], "does not carry over"),
    }


def tiny() -> Dataset:
    labels = torch.arange(16) % 10
    images = torch.rand(16, 3, 16, 16)
    return Dataset("cifar100", images, labels, images, labels, tuple("0123456789"))


def test_the_part_on_cifar_records_its_rows_and_claims(monkeypatch, tmp_path):
    monkeypatch.setenv("FEWBITS_RESULTS", str(tmp_path))
    monkeypatch.setattr(evidence.records, "code_version", lambda: "a" * 40)
    monkeypatch.setattr(cifar, "run_folder", lambda name: tmp_path / name)
    monkeypatch.setattr(cifar, "prepared", lambda name: tiny())
    monkeypatch.setattr(cifar, "SETTINGS", cifar.SETTINGS[1:3])
    monkeypatch.setattr(cifar, "EPOCHS", 2)
    cifar.run_cifar(argparse.Namespace(seeds=1, minutes=0), "a command")
    assert not any(part["values"] for claim in evidence.load("low_bitwidth") for part in claim["parts"])
    cifar.run_cifar(argparse.Namespace(seeds=1, minutes=None), "a command")
    assert evidence.rows(cifar.TABLE).rounding.tolist() == ["none", "noise"]
    assert len(by_slug(evidence.load("low_bitwidth"))["cifar-4-bit-gradients"]["parts"][0]["values"]) == 1
