"""One reader of networks: what a forward pass calls, where, how often, with which inputs, and what is shared.

:func:`read` traces a model with ``torch.fx`` and gives a :class:`Network`, a list of :class:`Call` in the order in
which they run. Whoever folds, converts, packs or counts asks it two things. *What does this call compute?* ``call.op``
has one name for a module, a function and a method that do the same: "relu" for ``nn.ReLU``, ``F.relu(x)`` and
``x.relu()``; all that is not in the table below is "other". *May I change this layer?* :meth:`Network.sharing` says
what else would change with it: a second call, a tied weight, a function that reads the weight.
"""

import itertools
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from fewbits.core.gradients import QuantizeGradient
from fewbits.core.quantizer import LAYERS, LinearOrConv, Quantizer

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d

# What a module of a class computes is told by these methods; a subclass that has its own computes something else.
_COMPUTING = ("forward", "_conv_forward", "_check_input_dim", "__call__")


@dataclass(frozen=True)
class _Operation:
    """A row of the vocabulary: the modules, functions and methods of one operation, and its settings in order."""

    op: str
    modules: tuple[type[nn.Module], ...] = ()
    functions: tuple[object, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)


_POOL = {"kernel_size": None, "stride": None, "padding": 0, "dilation": 1, "ceil_mode": False, "return_indices": False}
_VOCABULARY = (
    _Operation("linear", (nn.Linear,)),
    _Operation("conv1d", (nn.Conv1d,)),
    _Operation("conv2d", (nn.Conv2d,)),
    _Operation("batch_norm", BATCH_NORMS),
    _Operation("identity", (nn.Identity,)),
    _Operation("relu", (nn.ReLU,), (F.relu, F.relu_, torch.relu, torch.relu_, "relu", "relu_")),
    _Operation("relu6", (nn.ReLU6,), (F.relu6,)),
    _Operation("pad", (nn.ZeroPad2d,), (F.pad,), {"pad": None, "mode": "constant", "value": None}),
    _Operation("dropout", (nn.Dropout, nn.Dropout2d), (F.dropout, F.dropout2d), {"p": 0.5, "training": True}),
    _Operation("flatten", (nn.Flatten,), (torch.flatten, "flatten"), {"start_dim": 0, "end_dim": -1}),
    _Operation("reshape", (), (torch.reshape, "view", "reshape")),
    _Operation("max_pool2d", (nn.MaxPool2d,), (F.max_pool2d, torch.max_pool2d), _POOL),
    _Operation("average", (nn.AdaptiveAvgPool2d,), (F.adaptive_avg_pool2d,), {"output_size": None}),
    _Operation("add", (), (operator.add, operator.iadd, torch.add, "add", "add_"), {"other": None, "alpha": 1}),
)


@dataclass(eq=False)
class Call:
    """One call of a forward pass.

    Attributes:
        name: of a module its place, the first one where it is registered at several ("" is the model itself); of a
            function the name of its result in the graph. The names of two calls may be equal.
        op: a word of the vocabulary; or "quantizer", "input", "output", "parameter" (read by a function), "other".
        module: None for a function or method.
        inputs: the calls whose results it reads, in order, one that is read twice twice.
        settings: what else it is given, by name; for "reshape" ``shape``, for "output" ``value``.
        node: of the graph.
        users: the calls that read the result.
    """

    name: str
    op: str
    module: nn.Module | None
    inputs: tuple["Call", ...]
    settings: dict[str, Any]
    node: fx.Node
    users: list["Call"] = field(default_factory=list)

    def __str__(self) -> str:
        """Name and kind, for messages: ``layer1.conv (Conv2d)``."""
        if self.module is not None:
            kind = parametrize.type_before_parametrizations(self.module).__name__
        else:
            kind = self.op if self.op != "other" else getattr(self.node.target, "__name__", str(self.node.target))
        return f"{self.name or 'the model'} ({kind})"

    __repr__ = __str__

    @property
    def only_user(self) -> "Call | None":
        """The one call that reads the result; None if several do, or one that reads it more than once."""
        return self.users[0] if len(self.users) == 1 and self.users[0].inputs.count(self) == 1 else None

    @property
    def layer(self) -> LinearOrConv | None:
        """The linear or convolution layer that is called; None for anything else, a layer with its own forward too."""
        return self.module if isinstance(self.module, LAYERS) and self.op != "other" else None

    @property
    def batch_norm(self) -> BatchNorm | None:
        """The batch normalization that is called; None for anything else."""
        return self.module if isinstance(self.module, BATCH_NORMS) and self.op != "other" else None


@dataclass(eq=False)
class Network:
    """What :func:`read` found: ``calls`` in order, and ``graph``, whose modules are those of ``root``.

    ``root`` is the model, or an ``nn.Sequential`` around it where the model is a layer itself.
    """

    model: nn.Module
    root: nn.Module
    graph: fx.Graph
    calls: list[Call]

    def __post_init__(self) -> None:
        self._readers: dict[int, list[Call]] = {}  # the calls that use a parameter or buffer, by its id
        for call in self.calls:
            for tensor in _tensors(call, self.root):
                self._readers.setdefault(id(tensor), []).append(call)

    def calls_of(self, module: nn.Module) -> list[Call]:
        """All calls of one module object, at whatever places it is registered."""
        return [call for call in self.calls if call.module is module]

    def sharers(self, call: Call) -> list[Call]:
        """Other calls that use a parameter or buffer of the module of ``call``, first of all those of the module."""
        again = [other for other in self.calls if other.module is call.module and other is not call]
        users = (other for tensor in _tensors(call, self.root) for other in self._readers[id(tensor)])
        return list(dict.fromkeys([*again, *(other for other in users if other is not call)]))

    def sharing(self, call: Call) -> str:
        """Why the module of ``call`` cannot be changed for this call alone; "" if it can."""
        others = self.sharers(call)
        if others and others[0].module is call.module:
            return f"{call} is called more than once"
        return f"{call} shares a parameter with {others[0]}" if others else ""

    def chain(self) -> list[Call]:
        """The calls between input and output, if each reads the result of the one before and nothing else.

        Raises:
            ValueError: a result is read twice or not at all, a call reads two (an addition, a second input), a module
                is called twice or shares a parameter, or the output is more than one tensor; the message names it.
        """
        for before, call in itertools.pairwise(self.calls):
            if call.inputs != (before,):
                read = " and ".join(map(str, call.inputs)) or "nothing"
                raise ValueError(f"{call} reads {read}, not just the result of {before}: model is no chain")
            if before.only_user is not call:
                readers = " and ".join(map(str, before.users)) or "nothing"
                raise ValueError(f"the result of {before} is read by {readers}, not once: model is no chain")
            if call.layer is not None and (reason := self.sharing(call)):
                raise ValueError(f"{reason}: model is no chain")
        if self.calls[-1].settings.get("value") is not self.calls[-2].node:
            raise ValueError("model must return one tensor")
        return self.calls[1:-1]

    @torch.no_grad()
    def shapes(self, example: Tensor) -> dict[Call, torch.Size]:
        """Runs the network once, in the mode it is in: the shape of the result of each call that gives one tensor."""
        runner = _Shapes(self.root, graph=self.graph)
        runner.run(example)
        return {call: runner.found[call.node] for call in self.calls if call.node in runner.found}


def read(model: nn.Module, leaves: tuple[type[nn.Module], ...] = ()) -> Network:
    """Read a forward pass, without running it on numbers.

    Layers and quantizers are calls, whatever they do inside; so are modules of ``torch.nn``, those of the classes
    ``leaves``, and small ones (without parts) that cannot be looked into. Other modules are looked into. Nothing is
    changed in ``model``.

    A call that changes its input in place is read as what it amounts to: later calls read its result.

    Raises:
        ValueError: the forward pass cannot be traced, e.g. as it branches on values; the message names the module.
    """
    tracer = _Tracer(leaves)
    root = nn.Sequential(model) if tracer.is_leaf_module(model, "") else model
    try:
        graph = tracer.trace(root)
    except Exception as error:
        place = tracer.failed or type(model).__name__
        raise ValueError(f"{place}: the forward pass cannot be read without running it: {error}") from error
    _redirect_in_place(graph, root)
    _rewrite(graph, root)
    names = {module: name for name, module in model.named_modules()}
    calls: dict[fx.Node, Call] = {}
    for node in graph.nodes:
        module = _called(node, root)
        op, settings = _meaning(node, module)
        inputs = tuple(calls[source] for source in _sources(node))
        call = Call(node.name if module is None else names[module], op, module, inputs, settings, node)
        for source in dict.fromkeys(inputs):
            source.users.append(call)
        calls[node] = call
    return Network(model, root, graph, list(calls.values()))


def is_plain(module: object, kinds: type[nn.Module] | tuple[type[nn.Module], ...]) -> bool:
    """Whether a module computes what its class among ``kinds`` computes.

    A subclass with a forward of its own does not, nor does a module with hooks. Parametrized layers do.
    """
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    if not isinstance(module, kinds) or not isinstance(module, nn.Module):
        return False
    base = next(kind for kind in kinds if isinstance(module, kind))
    same = all(getattr(type(module), name, None) is getattr(base, name, None) for name in _COMPUTING)
    return same and "forward" not in vars(module) and not module._forward_hooks and not module._forward_pre_hooks


def replace_module(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put ``new`` at every place of ``model`` where ``old`` is registered, in place."""
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            if child is old:
                setattr(parent, name, new)


def function_name(call: Call) -> str:
    """Name of the function of torch or method of a tensor that is called: "leakyrelu" for ``F.leaky_relu_``, or ""."""
    target = call.node.target
    name = target if isinstance(target, str) else getattr(target, "__name__", "")
    of_torch = any(getattr(space, name, None) is target for space in (torch, F))
    known = call.node.op == "call_method" or (call.node.op == "call_function" and of_torch)
    return name.replace("_", "") if known else ""


# --- Tracing ----------------------------------------------------------------------------------------------------------


class _Proxy(fx.Proxy):
    """Records ``x += y`` as such. That of torch takes it for ``x = x + y``, which leaves other names of x alone."""


def _recorder(function: Callable) -> Callable:
    def record(self: _Proxy, other: object) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", function, (self, other), {})

    return record


_IN_PLACE = ("iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow", "imatmul")
for _name in _IN_PLACE:
    setattr(_Proxy, f"__{_name}__", _recorder(getattr(operator, _name)))


class _Tracer(fx.Tracer):
    def __init__(self, leaves: tuple[type[nn.Module], ...]):
        super().__init__()
        self.leaves = (Quantizer, QuantizeGradient, *LAYERS, *BATCH_NORMS, *leaves)
        self.failed = ""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, self.leaves) or super().is_leaf_module(module, name)

    def path_of_module(self, module: nn.Module) -> str:
        for name, each in self.root.named_modules():
            if each is module:
                return name
        raise NameError("it calls a module that is no part of it")

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    def call_module(self, module: nn.Module, forward: Callable, args: tuple, kwargs: dict) -> Any:
        before = len(self.graph.nodes)
        try:
            return super().call_module(module, forward, args, kwargs)
        except Exception:
            if next(module.children(), None) is not None:
                self.failed = self.failed or self.path_of_module(module)
                raise
            # A small module that looks at values or calls an autograd function: one call.
            for node in reversed(list(self.graph.nodes)[before:]):
                if node.op != "get_attr":  # torch keeps these for later
                    self.graph.erase_node(node)
            return self.create_proxy("call_module", self.path_of_module(module), args, kwargs)


class _Shapes(fx.Interpreter):
    def run(self, *args: Any, **kwargs: Any) -> Any:
        self.found: dict[fx.Node, torch.Size] = {}
        return super().run(*args, **kwargs)

    def run_node(self, node: fx.Node) -> Any:
        result = super().run_node(node)
        if isinstance(result, Tensor):
            self.found[node] = result.shape
        return result


# --- One vocabulary ---------------------------------------------------------------------------------------------------


def _redirect_in_place(graph: fx.Graph, root: nn.Module) -> None:
    """Later readers of a tensor that a call changes in place read the result of that call."""
    order = {node: index for index, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        if node.op == "call_module":
            in_place = getattr(_called(node, root), "inplace", False)
        elif node.op in ("call_function", "call_method"):
            name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
            in_place = name in _IN_PLACE or (name.endswith("_") and name[-2:] != "__") or node.kwargs.get("inplace")
        else:
            continue
        if in_place and node.all_input_nodes:
            changed, here = node.all_input_nodes[0], order[node]
            for reader in list(changed.users):
                if order[reader] > here:
                    reader.replace_input_with(changed, node)


def _rewrite(graph: fx.Graph, root: nn.Module) -> None:
    """``x.view(x.size(0), -1)`` becomes ``x.flatten(1)``, and a mean over rows and columns an average pool."""
    for node in list(graph.nodes):
        if node.target in ("view", "reshape", torch.reshape) and _keeps_batch(node, root):
            _replace(graph, node, "flatten", 1)
        elif node.target in ("mean", torch.mean):
            given = dict(zip(("dim", "keepdim", "dtype"), node.args[1:], strict=False)) | node.kwargs
            axes = given.get("dim")
            if isinstance(axes, tuple | list) and set(axes) in ({2, 3}, {-1, -2}) and given.get("dtype") is None:
                pooled = _replace(graph, node, F.adaptive_avg_pool2d, 1)
                if not given.get("keepdim", False):
                    _replace(graph, pooled, "flatten", 1, keep=True)
    for node in reversed(list(graph.nodes)):  # what only asked for the size of the batch
        if not node.users and node.target in ("size", getattr, operator.getitem):
            graph.erase_node(node)


def _called(node: fx.Node, root: nn.Module) -> nn.Module | None:
    return root.get_submodule(str(node.target)) if node.op == "call_module" else None


def _replace(graph: fx.Graph, node: fx.Node, target: Any, setting: int, keep: bool = False) -> fx.Node:
    """Put ``target(x, setting)`` in the place of a node that reads x; with ``keep`` after the node, which is then x."""
    kind = "call_method" if isinstance(target, str) else "call_function"
    with graph.inserting_after(node):
        new = graph.create_node(kind, target, (node if keep else node.all_input_nodes[0], setting))
    for reader in [user for user in node.users if user is not new]:
        reader.replace_input_with(node, new)
    if not keep:
        graph.erase_node(node)
    return new


def _keeps_batch(node: fx.Node, root: nn.Module) -> bool:
    """Whether the new shape is (batch of the tensor itself, or of one that it was made from, -1)."""
    shape = _new_shape(node)
    if len(shape) != 2 or shape[1] != -1 or not isinstance(shape[0], fx.Node):
        return False
    size = shape[0]
    if size.target == "size" and size.args[1:] == (0,):
        source = size.args[0]
    elif size.target is operator.getitem and size.args[1] == 0 and isinstance(size.args[0], fx.Node):
        inner = size.args[0]
        whole = inner.target == "size" and len(inner.args) == 1
        source = inner.args[0] if whole or (inner.target is getattr and inner.args[1] == "shape") else None
    else:
        return False
    x = node.all_input_nodes[0]
    while x is not source:
        op, settings = _meaning(x, _called(x, root))
        if not x.all_input_nodes or op in ("other", "reshape") or settings.get("start_dim", 1) != 1:
            return False
        x = x.all_input_nodes[0]
    return True


def _new_shape(node: fx.Node) -> tuple:
    shape = node.args[1:] or tuple(node.kwargs.values())
    return tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape


def _meaning(node: fx.Node, module: nn.Module | None) -> tuple[str, dict[str, Any]]:
    """Operation and settings of a node."""
    if node.op in ("placeholder", "get_attr", "output"):
        settings = {"value": node.args[0]} if node.op == "output" else {}
        return {"placeholder": "input", "get_attr": "parameter", "output": "output"}[node.op], settings
    if isinstance(module, Quantizer):
        return "quantizer", {}
    for row in _VOCABULARY:
        if module is not None:
            if is_plain(module, row.modules):
                # what a function calls pad is padding in a module, which has no mode
                attributes = {name: "padding" if name == "pad" else name for name in row.settings}
                return _checked(
                    row.op, {name: getattr(module, attributes[name], row.settings[name]) for name in row.settings}
                )
        elif node.target in row.functions:
            if row.op == "reshape":
                return "reshape", {"shape": _new_shape(node)}
            given = dict(zip(row.settings, node.args[1:], strict=False)) | node.kwargs
            return _checked(row.op, row.settings | {name: given[name] for name in row.settings if name in given})
    return "other", {}


def _checked(op: str, settings: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Narrower words where the settings say so."""
    if op == "dropout" and (not settings["training"] or settings["p"] == 0):
        return "identity", {}
    if op == "average":
        return ("global_average" if settings["output_size"] in (1, (1, 1), [1, 1]) else "other"), {}
    if op == "pad":
        sides = settings["pad"]
        rows_and_columns = isinstance(sides, tuple | list) and len(sides) == 4 and all(type(n) is int for n in sides)
        zeros = settings["mode"] == "constant" and settings["value"] in (None, 0)
        return (op, {"padding": tuple(sides)}) if rows_and_columns and zeros else ("other", {})
    if op == "add":
        return op, {"alpha": settings["alpha"]}
    if op == "max_pool2d":
        if settings["return_indices"]:
            return "other", {}
        stride = settings["kernel_size"] if settings["stride"] in (None, ()) else settings["stride"]
        return op, {name: settings[name] for name in _POOL if name != "return_indices"} | {"stride": stride}
    return op, settings


def _sources(node: fx.Node) -> list[fx.Node]:
    """The nodes that a node reads, in the order of its arguments, with repetitions."""
    found: list[fx.Node] = []

    def note(source: fx.Node) -> fx.Node:
        found.append(source)
        return source

    fx.node.map_arg((node.args, node.kwargs), note)
    return found


def _tensors(call: Call, root: nn.Module) -> Iterator[Tensor]:
    """Parameters and buffers that a call uses."""
    if call.module is not None:
        return itertools.chain(call.module.parameters(), call.module.buffers())
    if call.op == "parameter" and call.users:
        value = operator.attrgetter(str(call.node.target))(root)
        return iter([value] if isinstance(value, Tensor) else [])
    return iter(())
