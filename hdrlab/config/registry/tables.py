"""The parts that hdrlab brings, by what a command line calls them; plug-ins add theirs to the same tables."""

from __future__ import annotations

import inspect
from collections import ChainMap
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from hdrlab.config.registry import Parameter, Part, Registry, parameter

# ---------------------------------------------------------------------------------------- tone mapping


@dataclass(frozen=True)
class Operator(Part):
    """A tone-mapping operator.

    Its function takes linear pixels [H, W, 3], at least 0, not all 0 and in any unit, to display light:
    linear, 1 = the display's white.

    Attributes:
        package: What it imports of an extra.
        memory: Bytes that it takes for each pixel beside the image, its result among them.
    """

    package: str | None = None
    memory: int = 60

    @property
    def is_global(self) -> bool:
        """Whether it shows any part of an image that it knows the scene of."""
        return "scene" in inspect.signature(self.apply).parameters


_KEY = parameter(
    "where the average luminance comes to lie; null: 0.18, middle grey (1 for log and drago)", above=0
)
_WHITE = parameter(
    "what becomes white, 1 being diffuse white; null: the brightest of reinhard, 11.2 of filmic", above=0
)


def _operator(place: str, summary: str, package: str | None = None, **parameters: Parameter) -> Operator:
    module = place.partition(":")[0]
    memory = 16 if module in ("local", "gradient") else 12 if package is None else 100
    return Operator(f"hdrlab.tonemapping.{place}", summary, parameters, package, memory)


OPERATORS: Registry[Operator] = Registry(
    "operator",
    {
        "gamma": _operator(
            "global_curves:gamma",
            "linear light, 0.3 % clipped",
            clipped=parameter("share of samples that is white; null: 0.003", least=0, most=1),
        ),
        "log": _operator("global_curves:log", "Stockham 1972, logarithm", key=_KEY),
        "reinhard": _operator("global_curves:reinhard", "Reinhard 2002, global", key=_KEY, white=_WHITE),
        "reinhard_local": _operator(
            "local:reinhard_local",
            "Reinhard 2002, local",
            key=_KEY,
            sharpening=parameter("more settles on smaller surroundings; null: 8"),
        ),
        "drago": _operator(
            "global_curves:drago",
            "Drago 2003, adaptive logarithm",
            key=_KEY,
            bias=parameter("below 0.85 is brighter, above darker", above=0, most=1),
        ),
        "durand": _operator(
            "local:durand",
            "Durand 2002, bilateral filter",
            base_contrast=parameter("contrast to which what is large is compressed; null: 100", above=1),
        ),
        "filmic": _operator("global_curves:filmic", "Hable 2010, filmic curve", key=_KEY, white=_WHITE),
        "aces": _operator("film:aces", "ACES 2.0, OpenColorIO", key=_KEY),
        "agx": _operator("film:agx", "AgX, Sobotka", key=_KEY),
        "neutral": _operator("film:neutral", "Khronos PBR Neutral", key=_KEY),
        "bt2390": _operator("film:bt2390", "ITU-R BT.2390", key=_KEY),
        "bt2446": _operator("film:bt2446", "ITU-R BT.2446, method A", key=_KEY),
        "fattal": _operator(
            "gradient:fattal",
            "Fattal 2002, gradients",
            strength=parameter("less compresses more; null: 0.9", above=0, most=1),
        ),
        "mertens": _operator(
            "gradient:mertens",
            "Mertens 2007, exposure fusion",
            step=parameter("stops between the exposures; null: 2", least=0.5),
        ),
        "mantiuk08": _operator(
            "vision:mantiuk08",
            "Mantiuk 2008, display adaptive",
            enhancement=parameter("factor on the scene's contrasts; null: 1", above=0),
            display_peak=parameter("the display's, in cd/m²; null: 200", above=1),
        ),
        "ferradans": _operator(
            "vision:ferradans",
            "Ferradans 2011, eye and brain",
            rho=parameter("less is brighter; null: -2"),
        ),
        "opencv_reinhard": _operator("foreign:opencv_reinhard", "Reinhard 2005, OpenCV", "cv2"),
        "opencv_drago": _operator("foreign:opencv_drago", "Drago 2003, OpenCV", "cv2"),
        "opencv_mantiuk": _operator("foreign:opencv_mantiuk", "Mantiuk 2006, OpenCV", "cv2"),
        **{
            f"colour_{name}": _operator(f"foreign:colour_{name}", f"{summary}, colour-hdri", "colour_hdri")
            for name, summary in {
                "simple": "x / (1 + x)",
                "logarithmic": "logarithm",
                "exponential": "exponential",
                "exponentiation": "power",
                "schlick1994": "Schlick 1994",
                "tumblin1999": "Tumblin 1999",
                "reinhard2004": "Reinhard 2005",
                "filmic": "Hable 2010",
            }.items()
        },
    },
)
"""Of colour-hdri's operators those are left out that are curves of others here: gamma, normalisation and
logarithmic mapping."""

LEARNED = "iqatm"
"""The operator that is trained nets."""

EVERY_OPERATOR: Mapping[str, Any] = ChainMap(OPERATORS, {LEARNED: None})  # type: ignore[arg-type]

# ------------------------------------------------------------------------------------------- expansion


@dataclass(frozen=True)
class Expansion(Part):
    """A way to expand a photograph without nets.

    Its function takes linearised pixels [H, W, 3] in [0, 1] to linear ones, 1 = the photograph's clipping
    point.

    Attributes:
        title: What tables call it.
    """

    title: str = ""


def _expansion(place: str, title: str, summary: str, **parameters: Parameter) -> Expansion:
    return Expansion(f"hdrlab.tonemapping.inverse.{place}", summary, parameters, title)


EXPANSIONS: Registry[Expansion] = Registry(
    "method",
    {
        "srgb": _expansion("global_curves:srgb", "Do nothing", "the inverse sRGB curve alone"),
        "landis": _expansion(
            "global_curves:landis",
            "Landis 2002",
            "lifts the upper half of the range by a power",
            power=parameter("how late the lift begins; null: 2", above=0),
            threshold=parameter("light from which it lifts; null: 0.5", least=0, most=0.99),
            peak=parameter("what white becomes; null: 10", least=1),
        ),
        "akyuz": _expansion(
            "global_curves:akyuz",
            "Akyüz 2007",
            "stretches the range linearly",
            exponent=parameter("of akyuz, null: 1; of huo, null: 0.86", above=0),
        ),
        "masia": _expansion("global_curves:masia", "Masia 2017", "a power from the image's key"),
        "kovaleski": _expansion(
            "local:kovaleski",
            "Kovaleski 2014",
            "lifts overexposed regions up to their edges",
            boost=parameter("factor on what is clipped; null: 4", least=1),
        ),
        "huo": _expansion(
            "local:huo",
            "Huo 2014",
            "undoes the retina's local adaptation",
            exponent=parameter("of akyuz, null: 1; of huo, null: 0.86", above=0),
        ),
    },
)

NETS_METHOD, AVERAGE = "nets", "average"
ENDS: Mapping[str, str | None] = {NETS_METHOD: None, AVERAGE: None, f"{AVERAGE}_kovaleski": "kovaleski"}
"""Further methods, and the expansion that each ends with; those called average begin with the average
camera's response instead of sRGB's."""

METHODS: Mapping[str, Any] = ChainMap(EXPANSIONS, ENDS)  # type: ignore[arg-type]


def expansion_of(method: str) -> str | None:
    """Name the expansion that a method ends with."""
    return ENDS.get(method, method)


# ------------------------------------------------------------------------------------- metrics and losses


@dataclass(frozen=True)
class Score(Part):
    """A metric that comparisons take beside their own, by ``metrics=``.

    A plug-in's function takes a result and its reference [1, 3, H, W] to a number; of hdrlab's rows it opens
    an installation of the user's, see `hdrlab.metrics.external`.

    Attributes:
        task: What it judges: of ``reconstruct`` it gets absolute light in cd/m², brought to one scale; of
            ``tonemap`` the display-encoded result in [0, 1], and the linear HDR image.
        title: For heads of tables.
        unit: Such as "dB".
        higher_is_better: Whether a larger number is the better one.
        package: Its module and its name in the package index, where it is one.
        toolbox: The file of the user's toolbox that computes it, where there is one.
    """

    task: Literal["reconstruct", "tonemap"] = "reconstruct"
    title: str = ""
    unit: str = ""
    higher_is_better: bool = True
    package: tuple[str, str] | None = None
    toolbox: str | None = None


_EXTERNAL = "hdrlab.metrics.external"
SCORES: Registry[Score] = Registry(
    "metric",
    {
        "cvvdp": Score(f"{_EXTERNAL}:open_cvvdp", "ColorVideoVDP", package=("pycvvdp", "cvvdp")),
        "flip": Score(f"{_EXTERNAL}:open_flip", "HDR-FLIP", package=("flip_evaluator", "flip-evaluator")),
        "hdrvdp2": Score(f"{_EXTERNAL}:open_hdrvdp2", "HDR-VDP-2", toolbox="hdrvdp.m"),
        "hdrvdp3": Score(f"{_EXTERNAL}:open_hdrvdp3", "HDR-VDP-3", toolbox="hdrvdp3.m"),
    },
)

LOSSES: Registry[Part] = Registry("loss", {})
"""Terms that any stage can take beside its own, by ``stage.loss.NAME=WEIGHT``: functions of the batch and of
what ``forward`` made of it to a scalar."""

# ------------------------------------------------------------------------------------------------- nets


class NetRow(NamedTuple):
    """A net under one preset.

    Attributes:
        target: Its class, or the place of it.
        options: What the preset sets of it.
        like: The preset whose other nets it works with; empty: its own.
    """

    target: Any
    options: Mapping[str, Any]
    like: str = ""


def _net(name: str, target: str, **presets: Mapping[str, Any]) -> dict[str, NetRow]:
    rows = {f"{name}/{preset}": NetRow(target, options) for preset, options in presets.items()}
    if "compact" in presets:  # whose nets are other classes
        small = f"hdrlab.nets.compact:Compact{target.partition(':')[2]}"
        rows[f"{name}/compact"] = NetRow(small, presets["compact"])
    return rows


NETS: Registry[NetRow] = Registry(
    "net",
    {
        **_net(
            "dequantization",
            "hdrlab.nets.unet:DequantizationNet",
            default={"upsampling": "half_pixel"},
            official={"upsampling": "legacy"},
            tf2={"upsampling": "half_pixel"},
            compact={},
        ),
        **_net(
            "linearization",
            "hdrlab.nets.linearization:LinearizationNet",
            default={"histogram": "paper", "bn_momentum": 0.001},
            official={"histogram": "authors", "bn_momentum": 0.001},
            tf2={"histogram": "paper", "bn_momentum": 0.01},
            compact={},
        ),
        **_net(
            "hallucination",
            "hdrlab.nets.hallucination:HallucinationNet",
            default={"variant": "authors"},
            official={"variant": "authors"},
            tf2={"variant": "tf2"},
            compact={},
        ),
        **_net(
            "refinement",
            "hdrlab.nets.unet:RefinementNet",
            default={"upsampling": "half_pixel", "final_relu": False, "identity_init": True},
            official={"upsampling": "legacy", "final_relu": False, "identity_init": False},
            tf2={"upsampling": "half_pixel", "final_relu": True, "identity_init": False},
        ),
        **_net("tmo_bottom", "hdrlab.nets.tone_mapping:ToneBottomNet", default={}, official={}),
        **_net("tmo_high", "hdrlab.nets.tone_mapping:ToneHighNet", default={}, official={}),
        **_net("tmo_merge", "hdrlab.nets.tone_mapping:ToneMergeNet", default={}, official={}),
    },
)
"""The nets, as name/preset: ``default`` follows the paper, ``official`` and ``tf2`` two code bases for their
checkpoints, ``compact`` is the small chain that ships."""


class Presets(Collection[str]):
    """The presets of one net, or of all."""

    def __init__(self, net: str = "") -> None:
        self.net = net

    def __iter__(self) -> Iterator[str]:
        names = (name.split("/") for name in NETS)
        return iter(dict.fromkeys(preset for net, preset in names if self.net in ("", net)))

    def __contains__(self, preset: object) -> bool:
        return any(preset == one for one in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def net_names() -> tuple[str, ...]:
    """List the nets there are."""
    return tuple(dict.fromkeys(name.partition("/")[0] for name in NETS))


def like(preset: str) -> str:
    """Return the preset whose nets one works with: of hdrlab's own presets itself."""
    named = (row.like for name, row in NETS.items() if name.endswith(f"/{preset}"))
    return next(filter(None, named), preset)
