"""All that a user can see of a network, which must stay as it was."""

import hashlib
from typing import Any

import torch
from torch import nn

HOOKS = [name for name in vars(nn.Module()) if name.endswith("hooks")]


def put_in_disorder(network: nn.Module) -> None:
    """Leave a network in disorder: some of its parts train, some have hooks, some are frozen."""
    for number, part in enumerate(network.modules()):
        part.training = number % 3 != 1
    for number, weight in enumerate(network.parameters()):
        weight.requires_grad_(number % 2 == 0)
    network.register_forward_hook(user_hook)


def user_hook(_module: nn.Module, _inputs: Any, _output: Any) -> None:
    """Do nothing: a hook of the user."""


def state(network: nn.Module) -> dict[str, Any]:
    """Return all that a user can see of a network."""
    parts = list(network.modules())
    return {
        "weights and buffers": {
            name: hashlib.sha256(_bytes(tensor)).hexdigest()
            for name, tensor in [*network.named_parameters(), *network.named_buffers()]
        },
        "training flags": [part.training for part in parts],
        "hooks": [[list(getattr(part, hooks)) for hooks in HOOKS] for part in parts],
        "gradients": [(p.requires_grad, p.grad is None) for p in network.parameters()],
        "attributes": [sorted(vars(part)) for part in parts],
    }


def _bytes(tensor: torch.Tensor) -> memoryview:
    return tensor.detach().reshape(-1).contiguous().view(torch.uint8).numpy().data


def check_same_state(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Check that a network is as it was."""
    changed = [what for what in before if before[what] != after[what]]
    assert not changed, f"changed: {', '.join(changed)}"
