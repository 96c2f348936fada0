"""Sums of exponentials in log space, in operations that every engine has and does rightly. A leaf.

Exporters write `torch.logaddexp` as the logarithm of a sum of exponentials, which is -inf below
-90, and `torch.nn.functional.logsigmoid` as the logarithm of a sigmoid: neither keeps its tails.
"""

import torch


def log_add_exp(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Compute log(exp(left) + exp(right)); either may be -inf, and both."""
    zero = torch.zeros((), dtype=left.dtype, device=left.device)
    gap = torch.where(left == right, zero, left - right).abs()
    return torch.maximum(left, right) + torch.log1p(torch.exp(-gap))


def log_sum_exp(values: torch.Tensor) -> torch.Tensor:
    """Compute log Σ_k exp(values_k) of each row, (n, 1); one value at least is finite."""
    largest = values.amax(1, keepdim=True)
    return largest + torch.log(torch.exp(values - largest).sum(1, keepdim=True))


def log_sigmoids(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute log σ(values) and log σ(-values)."""
    rest = torch.log1p(torch.exp(-values.abs()))
    return torch.clamp(values, max=0.0) - rest, torch.clamp(-values, max=0.0) - rest


def softmax(values: torch.Tensor) -> torch.Tensor:
    """Compute exp(values) / Σ_k exp(values_k) of each row; one value at least is finite."""
    powers = torch.exp(values - values.amax(1, keepdim=True))
    return powers / powers.sum(1, keepdim=True)
