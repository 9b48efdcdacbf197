"""What the nets share: their base class, input checks, weight assignment, initialisers and one batch norm."""

from __future__ import annotations

import difflib
import math
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import wraps
from types import MappingProxyType
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from hdrlab.errors import WeightsError
from hdrlab.ops.free_sizes import is_free
from hdrlab.ops.winograd import TILE, convolve_winograd, winograd_kernel

LEAST_TILES = 32
"""Fewer do not make up for a kernel four times as large."""


class Net(nn.Module):
    """A net that knows what it is; `build_net` fills the first three attributes.

    Its maps lie in memory with the channels last, where convolutions are fastest; see `layout`.

    Attributes:
        name: Its name in `build_net`.
        preset: The preset it was built with.
        options: The options that were given beyond the preset.
        autocast: Half precision that the net computes in, float16 or bfloat16; None: as its weights are.
            Only the net does so: what it gives out has the precision of what it was given.
        layout: How weights and maps lie in memory.
    """

    name: str = ""
    preset: str = ""
    options: Mapping[str, object] = {}
    autocast: torch.dtype | None = None
    layout: torch.memory_format = torch.channels_last

    def __init_subclass__(cls) -> None:
        """Wrap the forward of every net."""
        super().__init_subclass__()
        # Not the call: torch.compile, which sees the forward, would else autocast its backward pass as well.
        if "forward" in vars(cls):
            cls.forward = in_own_precision(cls.forward)

    def fold(self) -> Self:
        """Make the net ready for inference, in place: what is constant becomes part of the convolutions.

        It then computes the same with fewer steps, but can neither be trained nor saved.
        """
        self.eval().requires_grad_(False)
        for module in list(self.modules()):
            if isinstance(module, Foldable):
                module.fold_constants()
            elif isinstance(module, Conv3x3) and self.autocast is None:
                module.settle()
        return self


class Foldable:
    """A part of a net that computes the same with fewer steps once its weights are settled."""

    @abstractmethod
    def fold_constants(self) -> None:
        """Compute what depends on weights and statistics only."""


def in_own_precision(forward: Callable[[Any, Tensor], Tensor]) -> Callable[[Any, Tensor], Tensor]:
    """Run a net's forward as its `autocast` says, channels last."""

    @wraps(forward)
    def wrapped(self: Net, x: Tensor) -> Tensor:
        if x.ndim == 4:
            x = x.contiguous(memory_format=self.layout)
        if self.autocast is None:
            return forward(self, x)
        with torch.autocast(x.device.type, self.autocast, cache_enabled=False):
            out = forward(self, x)
        return out.to(x.dtype)

    return wrapped


class Conv3x3(nn.Conv2d):
    """Convolution 3×3, zero-padded, that a folded net computes in Winograd's tiles where they pay.

    Attributes:
        spread: Its kernel in the form of `winograd_kernel`; None where it is not worth it, or not yet known.
    """

    spread: Tensor | None

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__(cin, cout, 3, padding=1)
        self.register_buffer("spread", None, persistent=False)

    @torch.no_grad()
    def settle(self) -> None:
        """Prepare for inference, with weights that do not change any more."""
        pays = min(self.in_channels, self.out_channels) >= 64 and self.in_channels + self.out_channels > 128
        if pays and self.weight.device.type == "cpu":
            self.spread = winograd_kernel(self.weight)

    def by_tiles(self, x: Tensor, slope: float) -> Tensor | None:
        """Do as `convolve_leaky`.

        Args:
            x: Maps [B, C, H, W] of any range.
            slope: Factor on negative values, in [0, 1].

        Returns:
            Maps [B, K, H, W] of any range; None where tiles are not the way for those given.
        """
        if self.spread is None or torch.is_grad_enabled() or x.dtype != self.spread.dtype:
            return None
        height, width = x.shape[-2:]
        if not _computes_here(x) or height % TILE or width % TILE or height * width < LEAST_TILES * TILE**2:
            return None
        return convolve_winograd(x, self.spread, self.bias, slope)


def convolve_leaky(conv: nn.Module, x: Tensor, slope: float = 0.0) -> Tensor:
    """Convolve maps and apply a leaky ReLU.

    Args:
        conv: An `nn.Conv2d`, zero-padded.
        x: Maps [B, C, H, W] of any range.
        slope: Factor on negative values, at least 0; 0 for a ReLU.

    Returns:
        Maps [B, K, h, w] of any range.
    """
    assert isinstance(conv, nn.Conv2d)
    if _is_watched(conv):
        return _leaky(conv(x), slope)
    if isinstance(conv, Conv3x3) and (made := conv.by_tiles(x, slope)) is not None:
        return made
    if not _fuses(x, conv.weight) or _has_any_global_hook():  # type: ignore[no-untyped-call]
        return _leaky(conv(x), slope)
    return conv2d_leaky(
        x, conv.weight, conv.bias, slope, conv.stride, conv.padding, conv.dilation, conv.groups
    )


def conv2d_leaky(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    slope: float,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] | str = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> Tensor:
    """Do as `torch.nn.functional.conv2d`, and apply a leaky ReLU.

    In float32 on a processor oneDNN does both in one pass over memory.

    Args:
        x: Maps [B, C, H, W] of any range.
        weight: Kernel [K, C / groups, h, w] of any range.
        bias: [K] of any range, or None.
        slope: Factor on negative values, at least 0; 0 for a ReLU.
        stride: As there, a pair.
        padding: As there, a pair.
        dilation: As there, a pair.
        groups: As there.

    Returns:
        Maps [B, K, H', W'] of any range.
    """
    if not _fuses(x, weight):
        return _leaky(F.conv2d(x, weight, bias, stride, padding, dilation, groups), slope)
    fused: Tensor = _LeakyConvolution.apply(  # type: ignore[no-untyped-call]
        x, weight, bias, slope, (stride, padding, dilation), groups
    )
    return fused


class _LeakyConvolution(torch.autograd.Function):
    """Convolution and leaky ReLU in one pass; gradients as those of one after the other, to the bit."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        slope: float,
        shape: tuple[Sequence[int], ...],
        groups: int,
    ) -> Tensor:
        stride, padding, dilation = shape
        activation = ("leaky_relu", [slope]) if slope else ("relu", [])
        out: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, weight, bias, padding, stride, dilation, groups, *activation, ""
        )
        ctx.save_for_backward(x, weight, out)
        ctx.sizes = None if bias is None else list(bias.shape)
        ctx.slope, ctx.shape, ctx.groups = slope, shape, groups
        return out

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, out = ctx.saved_tensors
        inner = torch.ops.aten.leaky_relu_backward(slopes[0], out, ctx.slope, True)
        wanted = [*ctx.needs_input_grad[:2], ctx.needs_input_grad[2] and ctx.sizes is not None]
        stride, padding, dilation = ctx.shape
        made = torch.ops.aten.convolution_backward(
            inner, x, weight, ctx.sizes, stride, padding, dilation, False, [0, 0], ctx.groups, wanted
        )
        return (*made, None, None, None)


def _leaky(y: Tensor, slope: float) -> Tensor:
    return F.leaky_relu(y, slope, inplace=True) if slope else F.relu_(y)


def _is_watched(conv: nn.Module) -> bool:
    """Say whether hooks wait for what a module alone gives out."""
    return bool(conv._forward_hooks or conv._forward_pre_hooks or conv._backward_hooks)


def _computes_here(x: Tensor) -> bool:
    """Say whether a processor is to compute with maps [B, C, H, W] as they are: in no graph, no halves."""
    asked = torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling()
    return x.device.type == "cpu" and not asked and not is_free(x)


def _fuses(x: Tensor, weight: Tensor) -> bool:
    if x.dtype != torch.float32 or weight.dtype != torch.float32:
        return False
    return _computes_here(x) and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


def require_choice(
    kind: str, value: str, allowed: Collection[str], aliases: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Refuse a word that is not among the allowed ones, naming the nearest.

    Args:
        kind: What the word chooses, for the message.
        value: The word.
        allowed: The legal words.
        aliases: Other words for these, which the message explains.

    Raises:
        WeightsError: The word is not allowed.
    """
    if value in allowed:
        return
    near = difflib.get_close_matches(str(value), allowed, n=1, cutoff=0.4)
    meant = aliases.get(str(value)) or next(iter(near), "")
    hint = f"; did you mean {meant}?" if meant else ""
    raise WeightsError(f"unknown {kind} {value!r}: choose one of {', '.join(allowed)}{hint}")


def require_maps(x: Tensor, channels: int, multiple: int = 1, least: int = 1) -> None:
    """Refuse tensors that a net cannot take.

    Args:
        x: The tensor of any range, to be [B, channels, H, W].
        channels: Number of channels.
        multiple: H and W must be multiples of this.
        least: Smallest H and W.

    Raises:
        ValueError: The shape does not fit.
    """
    if x.ndim != 4 or x.shape[1] != channels:
        raise ValueError(f"expected a tensor [B, {channels}, H, W], got {list(x.shape)}")
    height, width = x.shape[-2:]
    if min(height, width) < least or height % multiple or width % multiple:
        rule = f"multiples of {multiple}" if multiple > 1 else f"at least {least}"
        raise ValueError(f"height and width must be {rule}, got {height}×{width}: pad or resize the image")


def scaled(channels: int, width: float) -> int:
    """Scale a channel count of a paper, keeping at least 4.

    Args:
        channels: Channels at width 1.
        width: Factor > 0.

    Returns:
        The scaled count.

    Raises:
        ValueError: The factor is not positive and finite.
    """
    if not (width > 0 and math.isfinite(width)):
        raise ValueError(f"width={width}: the factor on channel counts must be above 0; 1 is the paper's net")
    return max(4, round(channels * width))


def glorot_init(module: nn.Module) -> None:
    """Draw every convolution and dense layer below `module` as Keras does: Glorot uniform, biases 0.

    Args:
        module: Changed in place.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def truncated_normal_init(conv: nn.Conv2d | nn.ConvTranspose2d, std: float, bias: float = 0.0) -> None:
    """Draw the kernel from a normal cut off at two deviations.

    Args:
        conv: Changed in place.
        std: Deviation before the cut.
        bias: What every bias becomes.
    """
    nn.init.trunc_normal_(conv.weight, std=std, a=-2 * std, b=2 * std)
    if conv.bias is not None:
        nn.init.constant_(conv.bias, bias)


def require_shapes(targets: Mapping[str, Tensor], sources: Mapping[str, Tensor], what: str) -> None:
    """Refuse weights in which names are missing or shapes differ.

    Args:
        targets: Tensors of the expected shapes, by name, of any values; meta tensors will do.
        sources: The weights by name, of any shape; further names are allowed.
        what: What they should be, for the message.

    Raises:
        WeightsError: Something does not fit; the message lists all of it.
    """
    problems = []
    for name, target in targets.items():
        if name not in sources:
            problems.append(f"{name} is missing, expected {list(target.shape)}")
        elif sources[name].shape != target.shape:
            problems.append(f"{name} has {list(sources[name].shape)}, expected {list(target.shape)}")
    if problems:
        summary = f"{len(problems)} of {len(targets)} weights do not fit {what}:"
        raise WeightsError("\n  ".join([summary, *problems]))


@torch.no_grad()
def assign_tensors(targets: Mapping[str, Tensor], sources: Mapping[str, Tensor], what: str) -> None:
    """Copy tensors by name, all or none.

    Args:
        targets: Tensors to overwrite, by name; their dtype and device are kept.
        sources: Values by name; further names are allowed.
        what: What is loaded, for the message.

    Raises:
        WeightsError: Names are missing or shapes differ; the message lists all of them.
    """
    require_shapes(targets, sources, what)
    for name, target in targets.items():
        target.copy_(sources[name])


def scale_and_shift(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Return the weights [C] and [C] by which a batch norm in evaluation mode scales and shifts channels."""
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return scale, norm.bias - norm.running_mean * scale


def scale_outputs(conv: nn.Conv2d | nn.ConvTranspose2d, scale: Tensor, shift: Tensor) -> None:
    """Make a convolution give `scale` times what it gave, plus `shift`; in place.

    Args:
        conv: Changed; gets a bias if it has none.
        scale: Factors [K] of any range.
        shift: Addends [K] of any range.
    """
    outputs = (1, -1, 1, 1) if isinstance(conv, nn.ConvTranspose2d) else (-1, 1, 1, 1)
    conv.weight.mul_(scale.view(outputs))
    bias = shift if conv.bias is None else conv.bias * scale + shift
    conv.bias = nn.Parameter(bias, requires_grad=False)


class BiasedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm whose running variance averages the biased batch variance (÷ N), as TensorLayer's does.

    PyTorch normalises with the biased variance but averages the unbiased one (÷ (N − 1)); the difference
    shows where a batch has few cells, such as 1/32 resolution.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise maps [B, C, H, W] of any range."""
        if not self.training:
            return super().forward(x)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        # Autograd keeps the tensors given to batch_norm, so the buffers themselves are changed afterwards.
        mean, var = self.running_mean.clone(), self.running_var.clone()
        out = F.batch_norm(x, mean, var, self.weight, self.bias, True, self.momentum, self.eps)
        with torch.no_grad():
            count = x.numel() // x.shape[1]
            self.running_mean.copy_(mean)
            self.running_var.mul_((1 - self.momentum) / count).add_(var, alpha=(count - 1) / count)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        return out
