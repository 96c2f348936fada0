"""Networks that were captured as graphs of operations, by `torch.export` or `torch.fx`. A leaf."""

from typing import Any

from torch import fx, nn

_TRAINING_AT = {  # where an operation is told that it trains: its name -> place among its arguments
    "alpha_dropout": 2,
    "batch_norm": 5,
    "dropout": 2,
    "feature_dropout": 2,
    "native_batch_norm": 5,
    "native_dropout": 2,
    "_native_batch_norm_legit": 5,
    "_native_batch_norm_legit_functional": 5,
}


def portable(module: nn.Module) -> nn.Module:
    """Return a network that can be copied and pickled; of an exported one the bare graph.

    A graph of `torch.export` checks its inputs by functions that cannot be pickled. Without them
    it computes the same, for inputs of the shapes it was made for.

    Parameters
    ----------
    module : torch.nn.Module
        The network.

    Returns
    -------
    torch.nn.Module
        The network itself, or a graph that shares its tensors.

    Raises
    ------
    TypeError
        If it was captured in training mode, which no call of ``eval`` changes.
    """
    for name, part in module.named_modules():
        if isinstance(part, fx.GraphModule) and (node := _training_node(part)) is not None:
            raise TypeError(
                f"the network{f' in {name!r}' if name else ''} was captured in training mode: its "
                f"operation {node.name!r} trains whatever mode is set, so that rows depend on "
                "their batch. Call eval() on the network before it is exported or traced"
            )
    return _bare(module) if isinstance(module, fx.GraphModule) and _is_exported(module) else module


def is_graph(module: nn.Module) -> bool:
    """Tell whether a network is an exported graph, which is pickled with its tensors in place."""
    return isinstance(module, fx.GraphModule) and _is_exported(module)


def has_graph(module: nn.Module) -> bool:
    """Tell whether a network has a graph, a linked list that only C's pickler can follow."""
    return any(isinstance(part, fx.GraphModule) for part in module.modules())


def told(module: nn.Module) -> list[Any]:
    """Return what tells the structure of a network with graphs, which change when pickled."""
    parts = module.named_modules(remove_duplicate=False)
    return [
        [name, part.code]
        if isinstance(part, fx.GraphModule)
        else [name, type(part), {key: vars(part)[key] for key in vars(part) if key != "_modules"}]
        for name, part in parts
    ]


def _is_exported(module: fx.GraphModule) -> bool:
    return any(str(node.target).startswith("aten.") for node in module.graph.nodes)


def _training_node(module: fx.GraphModule) -> fx.Node | None:
    """Return the first operation of a network in use that trains."""
    graph: Any = getattr(module, "eval_graph", module.graph)  # torchvision's have one a mode
    return next((node for node in graph.nodes if _trains(node)), None)


def _trains(node: fx.Node) -> bool:
    if node.op != "call_function":
        return False
    words = str(node.target).split(".") if str(node.target).startswith("aten.") else None
    name = words[1].rstrip("_") if words else getattr(node.target, "__name__", "")
    at = _TRAINING_AT.get(name)
    told: Any = node.kwargs.get("training", node.kwargs.get("train"))
    if told is None and at is not None and at < len(node.args):
        told = node.args[at]
    if name == "scaled_dot_product_attention":
        told = node.kwargs.get("dropout_p", node.args[4] if len(node.args) > 4 else 0) != 0
    return told is True


def _bare(module: fx.GraphModule) -> fx.GraphModule:
    """Return the same operations in a graph of one's own, without checks of the inputs."""
    graph = fx.Graph()
    copied: dict[fx.Node, fx.Node] = {}
    for node in module.graph.nodes:
        if node.op == "output":
            graph.output(fx.node.map_arg(node.args[0], copied.__getitem__))
        elif node.op != "call_module" or node.users:  # a check gives nothing that others use
            copied[node] = graph.node_copy(node, copied.__getitem__)
    return fx.GraphModule(module, graph)
