import os
from collections import OrderedDict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from fewbits.nets import MLP, VGGSmall
from fewbits.training import checkpoint, load_model, load_state, save_model, save_state

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int8, torch.uint8, torch.bool]


def same(a, b):
    """Equality of trees that also compares types, dtypes, shapes and the order of dict keys."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return [*map(repr, a)] == [*map(repr, b)] and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def test_same_notices_small_differences():
    assert not same({1: 2}, {"1": 2})
    assert not same((1,), [1])
    assert not same(1, True)
    assert not same(torch.zeros(()), torch.zeros(1))
    assert not same(torch.zeros(1), torch.zeros(1, dtype=torch.int64))


tensors = st.builds(
    lambda dtype, shape: torch.randint(0, 2, shape).to(dtype),
    st.sampled_from(DTYPES),
    st.lists(st.integers(0, 3), max_size=4),
)
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | tensors
trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.integers() | st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(tree=trees)
def test_any_tree_comes_back(tmp_path_factory, tree):
    path = tmp_path_factory.getbasetemp() / "tree.safetensors"
    save_state(path, tree)
    assert same(load_state(path), tree)


def test_int_and_string_keys_stay_apart(tmp_path):
    tree = {0: torch.tensor(1.0), "0": torch.tensor(2.0), "tensor": {"dict": [torch.tensor(3)]}}
    save_state(tmp_path / "x", tree)
    assert same(load_state(tmp_path / "x"), tree)


def test_views_and_shared_memory_are_copied(tmp_path):
    base = torch.arange(12.0).view(3, 4)
    parameter = nn.Parameter(base.clone())
    tree = [base, base.T, base[:, ::2], base[0].expand(5, 4), parameter, parameter]
    save_state(tmp_path / "x", tree)
    loaded = load_state(tmp_path / "x")
    assert all(torch.equal(a, b) for a, b in zip(tree, loaded, strict=True))
    assert len({tensor.untyped_storage().data_ptr() for tensor in loaded}) == len(loaded)
    assert not loaded[4].requires_grad


@pytest.mark.parametrize(
    "tensor",
    [torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last), torch.rand(2, 3, 4).transpose(0, 2), torch.rand(3)],
)
def test_dense_memory_order_is_kept(tmp_path, tensor):
    save_state(tmp_path / "x", tensor)
    loaded = load_state(tmp_path / "x")
    assert torch.equal(loaded, tensor)
    assert loaded.stride() == tensor.stride()


def test_special_floats_come_back(tmp_path):
    save_state(tmp_path / "x", [float("nan"), float("inf"), -0.0, 0.1 + 0.2, torch.tensor([float("nan"), -0.0])])
    nan, inf, zero, number, tensor = load_state(tmp_path / "x")
    assert nan != nan
    assert (inf, str(zero), number) == (float("inf"), "-0.0", 0.1 + 0.2)
    assert tensor[0].isnan()
    assert tensor[1].signbit()


def test_optimizer_state_comes_back(tmp_path):
    model = MLP((4, 3, 2))
    optimizer = torch.optim.Adam(model.parameters(), betas=(0.8, 0.9))
    model(torch.rand(5, 4)).sum().backward()
    optimizer.step()
    save_state(tmp_path / "x", optimizer.state_dict())
    assert same(load_state(tmp_path / "x"), optimizer.state_dict())


@pytest.mark.parametrize(
    ("tree", "place"),
    [
        ({"a": [1, {2}]}, r"tree\['a'\]\[1\] is a set"),
        ({"a": nn.Linear(1, 1)}, r"tree\['a'\] is a Linear"),
        ({"a": {(1, 2): 3}}, r"tree\['a'\]: key \(1, 2\) is a tuple"),
        ({True: 3}, "key True is a bool"),
    ],
)
def test_other_types_are_refused_by_place(tmp_path, tree, place):
    with pytest.raises(TypeError, match=place):
        save_state(tmp_path / "x", tree)
    assert not list(tmp_path.iterdir())


def test_every_truncation_is_noticed(tmp_path):
    path = tmp_path / "cut.safetensors"
    save_state(path, {"a": torch.arange(5), "b": 3})
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"cut\.safetensors"):
            load_state(path)


def test_foreign_files_are_refused(tmp_path):
    path = tmp_path / "foreign.safetensors"
    torch.save({"a": torch.zeros(2)}, path)  # a pickle
    with pytest.raises(ValueError, match=r"foreign\.safetensors: not a complete safetensors file"):
        load_state(path)
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match=r"foreign\.safetensors: .* not one that save_state wrote"):
        load_state(path)
    for structure in ("{", '{"tensor": "gone", "order": []}', '{"tensor": "a", "order": [0, 1]}', '{"other": 1}'):
        save_file({"a": torch.zeros(2)}, path, {"fewbits.state": structure})
        with pytest.raises(ValueError, match=r"foreign\.safetensors: its structure"):
            load_state(path)
    with pytest.raises(FileNotFoundError, match=r"missing\.safetensors"):
        load_state(tmp_path / "missing.safetensors")


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch, step):
    path = tmp_path / "x"
    save_state(path, "old")

    def fail(*_):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(*((os, "fsync", fail) if step == "fsync" else (checkpoint.Path, "replace", fail)))
        with pytest.raises(OSError, match="disk full"):
            save_state(path, "new")
    assert load_state(path) == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_loaded_tensors_survive_a_new_file(tmp_path):
    save_state(tmp_path / "x", torch.ones(1000))
    loaded = load_state(tmp_path / "x")
    (tmp_path / "x").write_bytes(b"")
    assert loaded.sum() == 1000


def test_model_comes_back_and_the_file_is_plain(tmp_path):
    torch.manual_seed(0)
    model, other = (VGGSmall(1, 8, 3, (2,) * 6) for _ in range(2))
    model.to(memory_format=torch.channels_last)
    save_model(model, tmp_path / "m.safetensors")
    load_model(other, tmp_path / "m.safetensors")
    assert same(dict(other.state_dict()), dict(model.state_dict()))
    assert load_file(tmp_path / "m.safetensors").keys() == model.state_dict().keys()


def test_model_with_tied_weights_comes_back(tmp_path):
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    expected = model[0].weight.detach().clone()
    save_model(model, tmp_path / "m")
    nn.init.zeros_(model[0].weight)
    load_model(model, tmp_path / "m")
    assert model[1].weight is model[0].weight
    assert torch.equal(model[0].weight, expected)


def test_load_model_casts_to_the_models_dtype(tmp_path):
    model = MLP((4, 3, 2))
    save_model(model, tmp_path / "m")
    double = MLP((4, 3, 2)).double()
    load_model(double, tmp_path / "m")
    assert double[1].weight.dtype == torch.float64
    assert torch.equal(double[1].weight, model[1].weight.double())


def test_load_model_names_everything_that_does_not_fit_and_changes_nothing(tmp_path):
    model = MLP((4, 3, 2))
    before = OrderedDict((name, value.clone()) for name, value in model.state_dict().items())
    state = {name: value + 1 for name, value in before.items() if name != "1.bias"}
    save_file(state | {"3.weight": torch.zeros(2, 9), "extra": torch.zeros(1)}, tmp_path / "bad.safetensors")
    expected = r"bad\.safetensors does not fit the model: 3\.weight is \(2, 9\), the model has \(2, 3\); "
    with pytest.raises(ValueError, match=expected + r"missing 1\.bias; unexpected extra"):
        load_model(model, tmp_path / "bad.safetensors")
    assert same(dict(model.state_dict()), dict(before))
    with pytest.raises(FileNotFoundError, match="none"):
        load_model(model, tmp_path / "none")


def test_save_model_refuses_extra_state(tmp_path):
    class Stateful(nn.Linear):
        def get_extra_state(self):
            return {"step": 3}

    with pytest.raises(TypeError, match="_extra_state is a dict"):
        save_model(nn.Sequential(Stateful(1, 1)), tmp_path / "m")
