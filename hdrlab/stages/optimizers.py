"""Adam as TensorFlow computes it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

WARMUP = 100
"""Steps, but at most a tenth of a training, in which a cosine schedule rises."""


@dataclass(frozen=True)
class CosineWay:
    """The share of the learning rate at a step: a short linear rise, then a cosine to zero.

    Attributes:
        steps: Length of the training.
    """

    steps: int

    def __call__(self, step: int) -> float:
        """Return the share at a step."""
        rise = max(1, min(WARMUP, self.steps // 10))
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, self.steps - rise))))


class TensorFlowAdam(torch.optim.Optimizer):
    """Adam in its "epsilon-hat" form: w ← w − lr · √(1 − β₂ᵗ) / (1 − β₁ᵗ) · m / (√v + ε).

    `torch.optim.Adam` adds ε after the bias correction of √v, which is another step for gradients below
    about 1e-6 and early in a training.

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate ≥ 0.
        betas: Decay of the first and of the second moment, both in [0, 1).
        eps: ε > 0 (TF1 1e-8, Keras 1e-7).

    Raises:
        ValueError: A number is outside its range.

    Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization", section 2.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        if not lr >= 0:
            raise ValueError(f"lr = {lr} must not be negative")
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas = {betas} must lie in [0, 1)")
        if not eps > 0:
            raise ValueError(f"eps = {eps} must be positive")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step along the gradients.

        Args:
            closure: Evaluates the model again and returns the loss.

        Returns:
            The closure's loss, None without a closure.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._step_group(group)
        return loss

    def _step_group(self, group: dict[str, Any]) -> None:
        params = [p for p in cast(list[Tensor], group["params"]) if p.grad is not None]
        if not params:
            return
        grads = [cast(Tensor, p.grad) for p in params]
        states = [self._advance(p) for p in params]
        means = [state["exp_avg"] for state in states]
        squares = [state["exp_avg_sq"] for state in states]
        beta1, beta2 = group["betas"]

        torch._foreach_lerp_(means, grads, 1 - beta1)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, grads, grads, value=1 - beta2)
        denominators = torch._foreach_sqrt(squares)
        torch._foreach_add_(denominators, group["eps"])
        sizes = [
            -group["lr"] * math.sqrt(1 - beta2 ** state["step"]) / (1 - beta1 ** state["step"])
            for state in states
        ]
        torch._foreach_addcdiv_(params, means, denominators, sizes)

    def _advance(self, param: Tensor) -> dict[str, Any]:
        """Return the state of a parameter with its step counted, a fresh one on the first step."""
        state = cast(dict[str, Any], self.state[param])
        if not state:
            state["step"] = 0
            state["exp_avg"] = torch.zeros_like(param, memory_format=torch.preserve_format)
            state["exp_avg_sq"] = torch.zeros_like(param, memory_format=torch.preserve_format)
        state["step"] += 1
        return state
