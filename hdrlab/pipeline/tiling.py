"""The chain on images that do not fit into memory as a whole: tile by tile, and without seams.

Each net runs over the whole image before the next one starts, since each needs another margin (halo)
around its tiles. A halo as wide as the net sees and an origin on the grid of its coarsest maps make a tile's
inside what it is in the whole image. Crops end where the image ends, so that borders are padded there
and only there. Linearization is global: its maps are summed up over tiles, and their mean gives one curve.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from hdrlab.errors import ResourceError
from hdrlab.nets.compact import (
    CompactDequantizationNet,
    CompactHallucinationNet,
    CompactLinearizationNet,
)
from hdrlab.nets.layers import require_maps
from hdrlab.nets.linearization import LinearizationNet
from hdrlab.ops.heap import give_back_idle
from hdrlab.ops.response import apply_response
from hdrlab.pipeline.singlehdr import (
    Nets,
    Reconstruction,
    dequantize,
    hallucinate,
    highlight,
    refine,
    require_nets,
)

MULTIPLE = 32
LEAST_SIDE = 128
DEFAULT_MEMORY = 1.6e9
MAX_TILES_PER_SIDE = 256
BACKBONE_STRIDE = 8

Progress = Callable[[int, int], None]
"""Called with the number of finished tiles and of all."""


@dataclass(frozen=True)
class TileRule:
    """What the tiles of one step must be.

    Attributes:
        halo: Pixels around a tile that its inside depends on.
        multiple: Tiles start on multiples of this.
        bytes_per_pixel: Peak need of the step in float32 on a CPU, measured at full width as resident memory,
            what lies idle between blocks included.
    """

    halo: int
    multiple: int
    bytes_per_pixel: int


RULES = {
    "dequantization": TileRule(128, 16, 420),
    "linearization": TileRule(32, BACKBONE_STRIDE, 360),
    "response": TileRule(0, 1, 170),
    "hallucination": TileRule(192, 32, 640),
    "refinement": TileRule(128, 16, 520),
}
"""The steps in their order."""

COMPACT_RULES = {
    "dequantization": TileRule(32, 16, 1500),
    "linearization": TileRule(0, 1, 1),
    "response": TileRule(0, 1, 1000),
    "hallucination": TileRule(2, 1, 1000),  # the closing of the gains' weights sees two pixels further
    "refinement": RULES["refinement"],
}
"""Those of the compact nets, which look at the whole image once, shrunk, for its response and highlights.

They need a fifth of these bytes: small tiles, whose maps stay near the processor, are faster.
"""


@dataclass(frozen=True)
class Span:
    """One tile along one axis: where its inside lies, and where it is cut out with its halo."""

    start: int
    stop: int
    outer_start: int
    outer_stop: int

    @property
    def place(self) -> slice:
        """The inside, in the image."""
        return slice(self.start, self.stop)

    @property
    def outer(self) -> slice:
        """The inside with its halo, in the image."""
        return slice(self.outer_start, self.outer_stop)

    def inner(self, stride: int = 1) -> slice:
        """The inside, in maps of the crop that have one cell for `stride` pixels."""
        return slice((self.start - self.outer_start) // stride, (self.stop - self.outer_start) // stride)


Tile = tuple[Span, Span]
"""Rows and columns."""


@torch.no_grad()
def reconstruct_tiled(
    ldr: Tensor,
    nets: Nets,
    tile: int | None = None,
    memory: float = DEFAULT_MEMORY,
    progress: Progress | None = None,
) -> Reconstruction:
    """Reconstruct HDR images as `hdrlab.pipeline.reconstruct` does, in bounded memory, without gradients.

    The images stay on the device of `ldr`; each tile is computed where its net is.

    Args:
        ldr: Display-encoded photographs [B, 3, H, W], nominally in [0, 1]; H and W are multiples of 32.
        nets: As in `reconstruct`, in evaluation mode.
        tile: Side of the tiles without halo, a multiple of 32; None: the least work that fits into `memory`.
        memory: Bytes that a tile's maps may take, the images themselves apart.
        progress: Called after each tile.

    Returns:
        The images of all steps; up to rounding those of the whole image.

    Raises:
        WeightsError: A net is missing.
        ResourceError: The tile size is illegal, or a net is in training mode.
        ValueError: The shape does not fit.
    """
    return _chain(ldr, nets, tile, memory, progress, keep=True)


@torch.no_grad()
def result_tiled(
    ldr: Tensor, nets: Nets, memory: float = DEFAULT_MEMORY, progress: Progress | None = None
) -> tuple[Tensor, Tensor]:
    """Return the `result` and the `curve` of `reconstruct_tiled`, in less memory for images.

    Args:
        ldr: See there, as for what follows.
        nets: See there.
        memory: See there.
        progress: See there.

    Raises:
        WeightsError: See there.
        ResourceError: See there.
        ValueError: See there.
    """
    done = _chain(ldr, nets, None, memory, progress, keep=False)
    return done.result, done.curve


def _chain(
    ldr: Tensor, nets: Nets, tile: int | None, memory: float, progress: Progress | None, *, keep: bool
) -> Reconstruction:
    """Carry the chain out; where C is not to be kept, and nothing needs it, B takes its place."""
    require_nets(nets)
    require_maps(ldr, 3, multiple=MULTIPLE)
    _require_inference(nets)
    steps = [step for step in RULES if step == "response" or step in nets]
    compact = _is_compact(nets)
    rules = COMPACT_RULES if compact else RULES
    plans = {step: plan_tiles(step, ldr, tile, memory, rules) for step in steps}
    if compact:
        plans["linearization"] = plans["linearization"][:1]
    count = _counter(sum(len(plan) for plan in plans.values()), progress)

    def advance() -> None:
        if not compact:  # whose tiles are small, and many
            give_back_idle()
        count()

    def run(step: str, function: Step, sources: Sequence[Tensor], *targets: Tensor) -> None:
        _run_tiles(
            function,
            sources,
            targets,
            plans[step],
            _device(nets, step, ldr),
            advance,
        )
        if compact:
            give_back_idle()

    dequantized = torch.empty_like(ldr)
    run("dequantization", partial(_alone, dequantize, nets["dequantization"]), [ldr], dequantized)
    if compact:
        curve = nets["linearization"](dequantized.to(_device(nets, "linearization", ldr))).to(ldr.device)
        advance()
    else:
        curve = _curve(nets["linearization"], dequantized, plans["linearization"], advance)
    linear = torch.empty_like(ldr) if keep or "refinement" in nets else dequantized
    run("response", lambda crop: (apply_response(crop, curve),), [dequantized], linear)
    alpha = torch.empty_like(ldr[:, :1])
    if isinstance(nets["hallucination"], CompactHallucinationNet):
        hdr = nets["hallucination"](linear.to(_device(nets, "hallucination", ldr))).to(ldr.device)
        run("hallucination", partial(highlight, nets["hallucination"]), [linear, hdr], alpha, hdr)
    else:
        hdr = torch.empty_like(ldr)
        run("hallucination", partial(hallucinate, nets["hallucination"]), [linear], alpha, hdr)
    refined = None
    if "refinement" in nets:
        refined = torch.empty_like(ldr)
        run("refinement", partial(_alone, refine, nets["refinement"]), [hdr, linear, dequantized], refined)
    return Reconstruction(dequantized, curve, linear, alpha, hdr, refined)


@torch.no_grad()
def dequantize_tiled(net: nn.Module, ldr: Tensor, memory: float = DEFAULT_MEMORY) -> Tensor:
    """Return C [B, 3, H, W] of photographs, sides multiples of 32: the first step of `reconstruct_tiled`."""
    rules = COMPACT_RULES if isinstance(net, CompactDequantizationNet) else RULES
    dequantized = torch.empty_like(ldr)
    tiles = plan_tiles("dequantization", ldr, None, memory, rules)
    device = next(net.parameters()).device
    _run_tiles(partial(_alone, dequantize, net), [ldr], [dequantized], tiles, device, lambda: None)
    return dequantized


def least_memory(nets: Nets) -> float:
    """Return the bytes that `reconstruct_tiled` needs at least for maps, whatever the image.

    They are those of a tile that still takes reasonable time: smaller ones are hardly more than margin.
    """
    rules = COMPACT_RULES if _is_compact(nets) else RULES
    return max(
        (LEAST_SIDE + 2 * rule.halo) ** 2 * rule.bytes_per_pixel
        for step, rule in rules.items()
        if step in nets
    )


def _is_compact(nets: Nets) -> bool:
    return isinstance(nets["linearization"], CompactLinearizationNet)


Step = Callable[..., tuple[Tensor, ...]]


def _alone(function: Callable[..., Tensor], net: nn.Module, *crops: Tensor) -> tuple[Tensor, ...]:
    return (function(net, *crops),)


def _run_tiles(
    function: Step,
    sources: Sequence[Tensor],
    targets: Sequence[Tensor],
    tiles: Iterable[Tile],
    device: torch.device,
    advance: Callable[[], None],
) -> None:
    """Fill the targets with the insides of what the function makes of each crop of the sources."""
    for rows, columns in tiles:
        crops = [source[..., rows.outer, columns.outer].to(device) for source in sources]
        for target, result in zip(targets, function(*crops), strict=True):
            inside = result[..., rows.inner(), columns.inner()]
            target[..., rows.place, columns.place] = inside.to(target.device)
            del result, inside
        advance()


def _curve(net: nn.Module, image: Tensor, tiles: Iterable[Tile], advance: Callable[[], None]) -> Tensor:
    """Run the linearization net, its maps summed in double precision."""
    linearization = cast(LinearizationNet, net)
    device = next(linearization.parameters()).device
    total = torch.zeros(0)
    for rows, columns in tiles:
        maps = linearization.backbone(image[..., rows.outer, columns.outer].to(device))
        inside = maps[..., rows.inner(BACKBONE_STRIDE), columns.inner(BACKBONE_STRIDE)]
        dtype = torch.promote_types(maps.dtype, torch.float32)
        summed = inside.sum(dim=(2, 3), dtype=dtype).cpu().double()
        total = summed if total.numel() == 0 else total + summed
        advance()
    cells = image.shape[-2] * image.shape[-1] / BACKBONE_STRIDE**2
    feature = (total / cells).to(dtype).to(device)
    return linearization.curve_from_feature(feature).curve.to(image.device)


def plan_tiles(
    step: str, ldr: Tensor, tile: int | None, memory: float, rules: Mapping[str, TileRule] | None = None
) -> list[Tile]:
    """Cut an image into the tiles of one step.

    Args:
        step: A key of the rules.
        ldr: The images [B, C, H, W], display-encoded.
        tile: Side of a tile, or None for the cut with the least work that fits into `memory`.
        memory: Bytes a tile may take.
        rules: What the tiles must be; None: `RULES`.

    Returns:
        Tiles that cover the image once.

    Raises:
        ResourceError: The side is no positive multiple of 32.
    """
    rule = (RULES if rules is None else rules)[step]
    height, width = ldr.shape[-2:]
    if tile is not None:
        if tile < MULTIPLE or tile % MULTIPLE:
            raise ResourceError(
                f"tile={tile}: the side of a tile must be a multiple of {MULTIPLE}, for example 512"
            )
        return _grid(_spans(height, tile, rule), _spans(width, tile, rule))
    pixels = memory / (rule.bytes_per_pixel * len(ldr) * ldr.element_size() / 4)
    rows, columns = _cuts(height, rule), _cuts(width, rule)
    fitting = [(row, column) for row in rows for column in columns if row.largest * column.largest <= pixels]
    if not fitting:
        return _grid(rows[-1].spans, columns[-1].spans)
    row, column = min(fitting, key=lambda pair: pair[0].total * pair[1].total)
    return _grid(row.spans, column.spans)


@dataclass(frozen=True)
class _Cut:
    """One way to cut an axis: the spans, the longest of them with its halo, and all of them together."""

    spans: list[Span]
    largest: int
    total: int


def _grid(rows: Sequence[Span], columns: Sequence[Span]) -> list[Tile]:
    return [(row, column) for row in rows for column in columns]


def _cuts(size: int, rule: TileRule) -> list[_Cut]:
    """All ways to cut one axis evenly, from one span on."""
    sides = (MULTIPLE * math.ceil(size / number / MULTIPLE) for number in range(1, MAX_TILES_PER_SIDE + 1))
    cuts = []
    for side in dict.fromkeys(sides):
        spans = _spans(size, side, rule)
        lengths = [span.outer_stop - span.outer_start for span in spans]
        cuts.append(_Cut(spans, max(lengths), sum(lengths)))
    return cuts


def _spans(size: int, side: int, rule: TileRule) -> list[Span]:
    assert side % rule.multiple == rule.halo % rule.multiple == 0
    return [
        Span(
            start,
            min(start + side, size),
            max(start - rule.halo, 0),
            min(start + side + rule.halo, size),
        )
        for start in range(0, size, side)
    ]


def _device(nets: Nets, step: str, ldr: Tensor) -> torch.device:
    return next(nets[step].parameters()).device if step in nets else ldr.device


def _require_inference(nets: Nets) -> None:
    training = [name for name in RULES if name in nets and nets[name].training]
    if training:
        raise ResourceError(
            f"{', '.join(training)}: in training mode, where batch norm would see tiles alone; call eval()"
        )


def _counter(total: int, progress: Progress | None) -> Callable[[], None]:
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    return advance
