"""One protocol for whatever is stored: every quantizer of the book, one file, and networks that any method has made."""

import copy

import pytest
import torch
from strategies import same_bits
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from fewbits.binary import BinaryConnect, SignActivation, XnorWeights
from fewbits.compensation import FP8Quantizer, MXQuantizer, NVFP4Quantizer
from fewbits.core import container
from fewbits.core.codes import Codes, StoredForm
from fewbits.core.quantizer import (
    KeptCodes,
    Quantizer,
    attach_codes,
    encode_parameters,
    encode_weights,
    plain_state,
    quantize_weights,
    remove_quantizer,
    stored_bits,
    stored_state,
    weight_layers,
)
from fewbits.inq import Inq, InqQuantizer, PartlyFrozen
from fewbits.learned_step import LSQ
from fewbits.logarithmic import LogQuantizer
from fewbits.low_bitwidth import AP2Quantizer, DoReFaActivation, DoReFaWeights, LinearQuantizer
from fewbits.mixed_precision import DistributionQuantizer, LearnedBits, learn_weight_bits
from fewbits.ternary import TTQ, TWN, ExactTernary
from fewbits.uniform import UniformQuantizer
from fewbits.vector import DeepCompression, ProductQuantizer, SharedWeights, SoftSharing, share_weights

X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


def learned(channel_axis: int | None) -> LearnedBits:
    quantizer = LearnedBits(channel_axis)
    quantizer.fit(X, 4)
    return quantizer


def lsq() -> LSQ:
    quantizer = LSQ(4)
    quantizer.fit(X)
    return quantizer


def frozen() -> PartlyFrozen:
    part = PartlyFrozen(X, 0, 5)
    part.frozen.fill_(True)
    part.fixed.copy_(InqQuantizer(5, 0)(X))
    return part


QUANTIZERS = {
    "uniform": lambda: UniformQuantizer(4),
    "uniform, asymmetric, per channel": lambda: UniformQuantizer(5, symmetric=False, channel_axis=0),
    "BinaryConnect": BinaryConnect,
    "sign": SignActivation,
    "XNOR": XnorWeights,
    "TWN": TWN,
    "TTQ": TTQ,
    "exact ternary": ExactTernary,
    "DoReFa weights": lambda: DoReFaWeights(3),
    "DoReFa activation": lambda: DoReFaActivation(3),
    "QNN linear": lambda: LinearQuantizer(4),
    "QNN AP2": lambda: AP2Quantizer(4),
    "LSQ": lsq,
    "logarithmic": lambda: LogQuantizer(4),
    "INQ": lambda: InqQuantizer(5),
    "INQ, frozen": frozen,
    "learned bits": lambda: learned(None),
    "learned bits, filter-wise": lambda: learned(0),
    "distribution": lambda: DistributionQuantizer(0.3),
    "shared": lambda: SharedWeights(X, 4),
    "product": lambda: ProductQuantizer(X, 3, 4),
    "FP8, per channel": lambda: FP8Quantizer("E5M2", channel_axis=0),
    "MXFP4": lambda: MXQuantizer(block=3),
    "NVFP4": NVFP4Quantizer,
    "kept": lambda: KeptCodes(UniformQuantizer(4).encode(X)),
}


def all_subclasses(kind: type) -> set[type]:
    return {kind for child in kind.__subclasses__() for kind in (child, *all_subclasses(child))}


def test_no_quantizer_is_left_out():
    # A name that is not public is a base class of others.
    package = {kind for kind in all_subclasses(Quantizer) if kind.__module__.startswith("fewbits.")}
    package = {kind for kind in package if not kind.__name__.startswith("_")}
    assert {type(make()) for make in QUANTIZERS.values()} == package


@pytest.mark.parametrize("name", QUANTIZERS)
def test_what_a_quantizer_stores_answers_to_the_protocol(name):
    quantizer = QUANTIZERS[name]()
    form = quantizer.encode(X)
    assert isinstance(form, StoredForm)
    assert quantizer.complete
    assert form.shape == X.shape
    assert same_bits(form.decode(), quantizer(X))
    assert form.levels is None or isinstance(form.levels, torch.Tensor)
    assert form.zero_point is None or form.levels is None
    assert form.scale.is_floating_point()
    assert 8 * len(form.packed()) >= int(torch.as_tensor(form.bits).min()) * form.values.numel()
    back = container.from_bytes(container.to_bytes({"w": form}))["w"]
    assert isinstance(back, StoredForm)
    assert back.values.tolist() == form.values.tolist()
    assert same_bits(back.decode(), form.decode())
    if type(form) is type(back):  # codes of a method of their own come back as plain codes
        assert back.packed() == form.packed()
        assert back.nbits == form.nbits


def test_other_objects_do_not_answer_to_it():
    assert not isinstance(X, StoredForm)
    assert not isinstance(container, StoredForm)


# --- Networks ---------------------------------------------------------------------------------------------------------


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4)).eval()


WEIGHTS, OTHERS = 3 * 2 * 9 + 4 * 12, (3 + 4) + 2 * 3  # biases; gamma and beta


def test_an_inq_network_is_counted_before_and_after_it_is_finished():
    model = network()
    inq = Inq(model, biases=True)
    everything = 32 * (WEIGHTS + OTHERS)
    inq.step(0.5)
    assert stored_bits(model) == everything  # half of a tensor has no codes yet
    with pytest.raises(ValueError, match=r"^0\.weight: 50\.0% of the elements are frozen: it has codes after step"):
        encode_weights(model)
    inq.step(1.0)
    bits = 5 * (WEIGHTS + 7) + 4 * 32 + 32 * 6
    assert stored_bits(model) == bits
    codes = inq.encode()
    assert list(codes) == list(encode_parameters(model)) == ["0.weight", "0.bias", "4.weight", "4.bias"]
    assert list(encode_weights(model)) == ["0", "4"]
    model = attach_codes(inq.finish(), codes)
    assert stored_bits(model) == bits
    assert all(encode_parameters(model)[name] is form for name, form in codes.items())
    assert torch.equal(model[0].weight, codes["0.weight"].decode())


def test_shared_soft_shared_and_learned_models_are_counted():
    shared = network()
    share_weights(shared, lambda _, weight: SharedWeights(weight, 4))
    assert stored_bits(shared) == 2 * WEIGHTS + 2 * (4 + 1) * 32 + 32 * OTHERS
    product = network()
    share_weights(product, lambda _, weight: ProductQuantizer(weight, 3, 2))
    assert stored_bits(product) == 1 * WEIGHTS // 3 + 2 * (2 * 3) * 32 + 32 * OTHERS
    soft = network()
    sharing = SoftSharing(soft, 0.1, 10, components=4)
    with pytest.raises(ValueError, match="call quantize first"):
        sharing.encode()
    means = len(sharing.quantize(0.1).all_means())
    attach_codes(soft, sharing.encode())
    assert stored_bits(soft) == (means - 1).bit_length() * WEIGHTS + 2 * (means + 1) * 32 + 32 * OTHERS
    learned_bits = learn_weight_bits(network(), 3)
    assert stored_bits(learned_bits) == 3 * WEIGHTS + 7 * (32 + 4) + 32 * OTHERS
    for model in (shared, product, soft, learned_bits):
        for name, form in encode_weights(model).items():
            assert torch.equal(form.decode(), model.get_submodule(name).weight)


def test_soft_shared_weights_that_were_trained_on_are_refused():
    sharing = SoftSharing(network(), 0.1, 10, components=4)
    sharing.quantize(0.1)
    assert sharing.encode()["4.weight"].shape == (4, 12)
    with torch.no_grad():
        sharing.model[4].weight[1, 2] += 0.01
    with pytest.raises(ValueError, match=r"4\.weight: the weights have changed since quantize"):
        sharing.encode()


@pytest.mark.parametrize("method", ["inq", "shared", "product", "learned", "uniform", "weight_norm"])
def test_any_network_goes_through_a_file(method, tmp_path):
    model = network()
    if method == "inq":
        Inq(model, biases=True).step(1.0)
    elif method == "learned":
        learn_weight_bits(model, 4)
    elif method == "uniform":
        quantize_weights(model, lambda: UniformQuantizer(3), skip=())
    elif method == "weight_norm":
        parametrizations.weight_norm(model[4])
    else:
        kind = {"shared": lambda _, w: SharedWeights(w, 4), "product": lambda _, w: ProductQuantizer(w, 2, 4)}[method]
        share_weights(model, kind)
    state = stored_state(model)
    assert state.keys() == network().state_dict().keys()
    assert sum(isinstance(item, StoredForm) for item in state.values()) == len(encode_parameters(model))
    path = tmp_path / "net.fewbits"
    container.save(path, state)
    plain = network(1)
    plain.load_state_dict(container.load_tensors(path))
    images = torch.randn(5, 2, 4, 4)
    with torch.no_grad():
        assert torch.equal(plain(images), model(images))
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in plain_state(model).items())
    codes = {name: item for name, item in container.load(path).items() if isinstance(item, StoredForm)}
    again = attach_codes(network(2), codes)
    assert all(same_bits(form.decode(), encode_parameters(model)[name].decode()) for name, form in codes.items())
    assert all(torch.equal(plain_state(again)[name], plain.state_dict()[name]) for name in codes)


def test_a_compressed_network_with_batch_normalization_is_saved(tmp_path):
    compression = DeepCompression(network())
    compression.prune(0.5)
    compression.share(4)
    compression.save(tmp_path / "net.fewbits")
    back = container.load(tmp_path / "net.fewbits")
    assert back["1.num_batches_tracked"].dtype == torch.int64
    assert torch.equal(back["4.weight"], compression.model[4].weight)


# --- Tied weights, copies, states -------------------------------------------------------------------------------------


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)
        self.second.weight = self.first.weight
        self.again = self.first

    def forward(self, x):
        return self.again(self.second(self.first(x)))


def test_tied_weights_are_counted_once():
    model = Tied()
    assert stored_bits(model) == 32 * 64
    quantize_weights(model, lambda: LSQ(4), skip=())
    assert stored_bits(model) == 4 * 64 + 32
    assert model.first.parametrizations.weight[0] is model.second.parametrizations.weight[0]
    model = Tied()
    share_weights(model, lambda _, weight: SharedWeights(weight, 4))
    assert stored_bits(model) == 2 * 64 + 4 * 32 + 32
    assert model.first.parametrizations.weight[0] is model.second.parametrizations.weight[0]
    model = attach_codes(Tied(), {"first.weight": UniformQuantizer(4).encode(torch.randn(8, 8))})
    assert stored_bits(model) == 4 * 64 + 32
    assert torch.equal(model.first.weight, model.second.weight)


def test_quantizers_that_differ_are_counted_each():
    model = Tied()
    for layer, bits in ((model.first, 4), (model.second, 3)):
        parametrize.register_parametrization(layer, "weight", UniformQuantizer(bits))
    assert stored_bits(model) == (4 + 3) * 64 + 2 * 32


def test_a_copy_keeps_its_quantizers_when_those_of_the_model_go():
    model = quantize_weights(network(), lambda: UniformQuantizer(3), skip=())
    copied, images = copy.deepcopy(model), torch.randn(2, 2, 4, 4)
    expected = model(images)
    for layer in weight_layers(model).values():
        remove_quantizer(layer)
        assert type(layer) in (nn.Conv2d, nn.Linear)
    assert torch.equal(model(images), expected)
    assert torch.equal(copied(images), expected)
    assert list(encode_weights(copied)) == ["0", "4"]
    third = copy.deepcopy(copied)
    # What torch does takes the attribute off the class, which the copies share.
    parametrize.remove_parametrizations(copied[4], "weight")
    with pytest.raises(AttributeError, match="weight"):
        third(images)


def test_a_copy_of_an_inq_network_survives_finish():
    model = network()
    inq = Inq(model, biases=True)
    inq.step(1.0)
    copied, images = copy.deepcopy(model), torch.randn(2, 2, 4, 4)
    expected = model(images)
    inq.finish()
    assert torch.equal(copied(images), expected)
    assert stored_bits(copied) < stored_bits(model)
    assert not parametrize.is_parametrized(model[0])
    model[0].weight.data.zero_()
    assert torch.equal(copied(images), expected)


def test_the_zero_of_a_codebook_is_part_of_the_state():
    a, b = nn.Sequential(nn.Linear(8, 8)), nn.Sequential(nn.Linear(8, 8))
    with torch.no_grad():
        b[0].weight[0] = 0  # pruned: its codebook begins with a zero
    share_weights(a, lambda _, weight: SharedWeights(weight, 4))
    share_weights(b, lambda _, weight: SharedWeights(weight, 5))
    assert not torch.equal(a[0].weight, b[0].weight)
    b.load_state_dict(a.state_dict())
    assert torch.equal(a[0].weight, b[0].weight)


def test_attached_codes_belong_to_their_network():
    codes = {"4.weight": UniformQuantizer(4).encode(torch.randn(4, 12))}
    model = attach_codes(network(), codes)
    same = attach_codes(network(1), codes)
    same.load_state_dict(model.state_dict())
    other = attach_codes(network(), {"4.weight": UniformQuantizer(4).encode(torch.randn(4, 12))})
    with pytest.raises(RuntimeError, match="not what the attached codes stand for: use attach_codes"):
        other.load_state_dict(model.state_dict())
    model(torch.randn(2, 2, 4, 4)).sum().backward()
    assert model[4].parametrizations.weight.original.grad is None
    assert model[4].bias.grad is not None


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ({"5.weight": (4, 12)}, r"codes name '5\.weight', which is no plain weight or bias of a layer"),
        ({"1.weight": (3,)}, r"codes name '1\.weight', which is no plain weight"),
        ({"4.weight": (12, 4)}, r"4\.weight has shape \(4, 12\) in model, its codes \(12, 4\)"),
        ({"0.bias": (3,), "4.weight": (2,)}, r"4\.weight has shape"),
    ],
)
def test_codes_that_do_not_fit_a_network_change_nothing(codes, message):
    model = network()
    with pytest.raises(ValueError, match=message):
        attach_codes(model, {name: UniformQuantizer(4).encode(torch.ones(shape)) for name, shape in codes.items()})
    assert encode_parameters(model) == {}
    attach_codes(model, {"4.weight": UniformQuantizer(4).encode(torch.ones(4, 12))})
    with pytest.raises(ValueError, match=r"codes name '4\.weight', which is no plain weight"):
        attach_codes(model, encode_parameters(model))


def test_a_scale_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"scale must be broadcastable to values, got shapes \(3,\) and \(2,\)"):
        Codes(torch.tensor([1, 2]), 4, torch.ones(3))
    with pytest.raises(ValueError, match=r"scale must be broadcastable to values"):
        Codes(torch.tensor([1, 2]), 4, torch.ones(1, 1))
    with pytest.raises(ValueError, match=r"zero_point must be broadcastable to values"):
        Codes(torch.tensor([1, 2]), 4, torch.ones(()), torch.zeros(3, dtype=torch.int32))
