"""The parts of a report that are text: scores, what was measured how, and what follows from it in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from hdrlab.evaluation.benchmark import Benchmark, Method
from hdrlab.evaluation.bootstrap import Summary
from hdrlab.evaluation.summary import Results
from hdrlab.metrics.names import Metric

REGIONS = {"": "Whole image", "clipped": "Clipped", "ramp": "Ramp", "rest": "Rest", "mask": "Mask"}
_KINDS = {
    "trained": "trained",
    "results": "another program",
    "classical": "classical",
    "baseline": "baseline",
    "oracle": "knows the reference",
}


def fragments(benchmark: Benchmark, results: Results, notes: Mapping[str, str]) -> Mapping[str, str]:
    """Return the fragments of HTML that the page's template names; everything given is escaped."""
    metrics = measured(benchmark, results)
    titles = {method.name: method.title for method in benchmark.methods}
    failures = [
        f"<tr><td>{escape(titles[name])}</td><td>{escape(image)}</td><td>{escape(reason)}</td></tr>"
        for name, failed in results.failures.items()
        for image, reason in failed
    ]
    return {
        "lead": _lead(benchmark, results),
        "words": "".join(f"<li>{line}</li>" for line in _words(benchmark, results, metrics)),
        "regions": _regions(metrics),
        "scores": _table(benchmark, results, metrics),
        "failures": "".join(failures) or '<tr><td colspan="3">None.</td></tr>',
        "num_failures": str(len(failures)),
        "conventions": _conventions(metrics),
        "methods": "".join(map(_method, benchmark.methods)),
        "notes": "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in notes.items()),
        "baseline": escape(titles[benchmark.baseline]),
    }


def measured(benchmark: Benchmark, results: Results) -> list[Metric]:
    """Return the metrics that apply to some image."""
    found = {name for row in results.scores.values() for name in row}
    return [metric for metric in benchmark.metrics if metric.name in found]


def region_title(region: str) -> str:
    """Name a region for a reader."""
    return REGIONS.get(region, region.capitalize())


def hint(metric: Metric) -> str:
    """Explain a metric in sentences."""
    sense = "Higher is better." if metric.higher_is_better else "Lower is better."
    return f"{metric.heading[:-2]}: {metric.convention}. {sense}"


def number(value: float, digits: int, *, signed: bool = False) -> str:
    """Write a number with a true minus sign; "–" stands for one that does not exist."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:{'+' if signed else ''}.{digits}f}".replace("-", "−")


def _lead(benchmark: Benchmark, results: Results) -> str:
    what = "photographs to HDR" if benchmark.task == "reconstruct" else "tone mapping of HDR images"
    scenes = max((score.scenes for row in results.scores.values() for score in row.values()), default=0)
    return f"{len(benchmark.methods)} methods · {what} · {results.num} images of {scenes} scenes"


def _words(benchmark: Benchmark, results: Results, metrics: Sequence[Metric]) -> list[str]:
    """Say in sentences what the first metric shows."""
    titles = {method.name: escape(method.title) for method in benchmark.methods}
    lines = [f"{titles[one]} is identical to {titles[other]}." for one, other in results.identical.items()]
    metric = metrics[0] if metrics else None
    best = metric and results.best(benchmark, metric)
    if not metric or not best:
        return lines
    score = results.scores[best][metric.name]
    digits = _digits(results, metric)
    oracles = any(method.kind == "oracle" for method in benchmark.methods)
    among = " of the methods that do not know the reference" if oracles else ""
    lines.append(
        f"By {escape(metric.title)}, <strong>{titles[best]}</strong> is best{among}: "
        f"{number(score.mean, digits)} {escape(metric.unit)}, 95 % interval "
        f"{number(score.low, digits)} to {number(score.high, digits)}."
    )
    verdicts: dict[str, list[str]] = {}
    for name, others in results.differences.items():
        if found := others.get(benchmark.baseline, {}).get(metric.name):
            word = {"not significant": "not significantly different"}.get(found.verdict, found.verdict)
            verdicts.setdefault(word, []).append(titles[name])
    summary = "; ".join(f"{word}: {', '.join(names)}" for word, names in sorted(verdicts.items()))
    return [*lines, *([f"Against {titles[benchmark.baseline]}: {summary}."] if summary else [])]


def _digits(results: Results, metric: Metric) -> int:
    """Choose decimals so that an interval's half width has two digits."""
    if metric.unit == "%":
        return 0
    found = [row[metric.name] for row in results.scores.values() if metric.name in row]
    widths = sorted(width for one in found if 0 < (width := (one.high - one.low) / 2) < math.inf)
    return min(max(1 - math.floor(math.log10(widths[len(widths) // 2])), 0), 5) if widths else 2


def _regions(metrics: Sequence[Metric]) -> str:
    present = list(dict.fromkeys(metric.region for metric in metrics))
    if len(present) < 2:
        return ""
    buttons = "".join(
        f'<button type="button" data-region="{escape(region)}" aria-pressed="false">'
        f"{escape(region_title(region))}</button>"
        for region in present
    )
    return f'<div class="choice" role="group" aria-label="Region" id="regions">{buttons}</div>'


def _table(benchmark: Benchmark, results: Results, metrics: Sequence[Metric]) -> str:
    rows = "".join(_row(benchmark, results, metrics, *one) for one in enumerate(benchmark.methods))
    return (
        '<thead><tr><th scope="col" class="name"><button type="button">Method</button></th>'
        f"{''.join(map(_head, metrics))}</tr></thead><tbody>{rows}</tbody>"
    )


def _head(metric: Metric) -> str:
    unit = f'<span class="unit">{escape(metric.unit)}</span>' if metric.unit else ""
    region = f'<span class="region">{escape(region_title(metric.region))}</span>' if metric.region else ""
    sense, arrow = ("higher", "↑") if metric.higher_is_better else ("lower", "↓")
    return (
        f'<th scope="col" data-region="{escape(metric.region)}" data-name="{escape(metric.name)}" '
        f'data-higher="{int(metric.higher_is_better)}" title="{escape(hint(metric))}"><button type="button">'
        f'{escape(metric.title)} {unit}<span class="sense" aria-label="{sense} is better">{arrow}</span>'
        f"{region}</button></th>"
    )


def _row(
    benchmark: Benchmark, results: Results, metrics: Sequence[Metric], place: int, method: Method
) -> str:
    cells = "".join(_cell(benchmark, results, metric, method) for metric in metrics)
    same = results.identical.get(method.name)
    title = next((other.title for other in benchmark.methods if other.name == same), "")
    identical = f'<span class="kind">identical to {escape(title)}</span>' if same else ""
    num = len(results.failures.get(method.name, ()))
    failed = f'<a class="failed" href="#failures">{num} failed</a>' if num else ""
    return (
        f'<tr data-place="{place}" data-kind="{method.kind}"><th scope="row" class="name" '
        f'title="{escape(method.description)}"><span class="swatch" data-method="{place}"></span>'
        f'<span class="title">{escape(method.title)}</span><span class="kind">{_KINDS[method.kind]}</span>'
        f"{identical}{failed}</th>{cells}</tr>"
    )


def _cell(benchmark: Benchmark, results: Results, metric: Metric, method: Method) -> str:
    score = results.scores[method.name].get(metric.name)
    missing = results.undefined(method.name, metric.name)
    start = f'<td data-region="{escape(metric.region)}"'
    undefined = f'<span class="failed">undefined on {missing}</span>' if missing else ""
    if score is None:
        return f'{start} class="none" title="{escape(hint(metric))}">{undefined or "–"}</td>'
    digits = _digits(results, metric)
    unit = f" {escape(metric.unit)}" if metric.unit else ""
    mean, low, high = (number(value, digits) for value in (score.mean, score.low, score.high))
    text = (
        f"{method.title}, {metric.title}: mean {mean}{unit} over {score.num} images of {score.scenes} "
        f"scenes, 95 % interval {low} to {high}, median {number(score.median, digits)}, standard deviation "
        f"{number(score.std, digits)}. {metric.convention}."
    )
    best = " best" if method.name == results.best(benchmark, metric) else ""
    return (
        f'{start} class="score{best}" data-value="{score.mean!r}" title="{escape(text)}">'
        f'<span class="mean">{mean}</span><span class="interval">{low} to {high}</span>'
        f"{_bar(benchmark, results, metric, score)}"
        f'<span class="more">median {number(score.median, digits)}, std {number(score.std, digits)}</span>'
        f'<span class="num">n {score.num} · {score.scenes} scenes {undefined}</span>'
        f"{_difference(benchmark, results, metric, method, digits)}</td>"
    )


def _bar(benchmark: Benchmark, results: Results, metric: Metric, score: Summary) -> str:
    """Draw the interval on the range of the column's intervals, and a line where the baseline's mean is."""
    found = [row[metric.name] for row in results.scores.values() if metric.name in row]
    ends = [end for one in found for end in (one.low, one.high, one.mean) if math.isfinite(end)]
    if not all(math.isfinite(value) for value in (score.low, score.high, score.mean)):
        return ""
    start, span = min(ends), (max(ends) - min(ends)) or 1.0

    def share(value: float) -> str:
        return f"{100 * (value - start) / span:.1f}%"

    base = results.scores[benchmark.baseline].get(metric.name)
    line = f'<i class="base" style="left:{share(base.mean)}"></i>' if base else ""
    return (
        f'<span class="bar" aria-hidden="true">{line}<i class="range" style="left:{share(score.low)};'
        f'width:{share(start + score.high - score.low)}"></i>'
        f'<i class="dot" style="left:{share(score.mean)}"></i></span>'
    )


def _difference(benchmark: Benchmark, results: Results, metric: Metric, method: Method, digits: int) -> str:
    if method.name == benchmark.baseline:
        return '<span class="versus base">differences are to this</span>'
    found = results.differences.get(method.name, {}).get(benchmark.baseline, {}).get(metric.name)
    if found is None:
        return ""
    low, high = number(found.low, digits, signed=True), number(found.high, digits, signed=True)
    wins = f"{100 * found.wins:.0f} %"
    lost = f"; undefined on {found.lost} images, which it loses" if found.lost else ""
    text = f"Mean difference, image by image, to the method that does nothing, over {found.num} images; "
    text += f"95 % interval {low} to {high}; better on {wins} of the images{lost}"
    kind = found.verdict if found.verdict in ("better", "worse") else "same"
    label = found.verdict if found.verdict == "identical" else f"wins {wins}"
    if found.verdict == "not significant":
        label += f", {found.verdict}"
    mean = number(found.mean, digits, signed=True)
    return f'<span class="versus {kind}" title="{escape(text)}"><b>{mean}</b> {label}</span>'


def _conventions(metrics: Sequence[Metric]) -> str:
    """List each metric once, with the regions on which it is measured and what each means."""
    of: dict[str, list[Metric]] = {}
    for metric in metrics:
        of.setdefault(metric.name.partition("@")[0], []).append(metric)
    return "".join(_convention(name, each) for name, each in of.items())


def _convention(name: str, metrics: Sequence[Metric]) -> str:
    first = metrics[0]
    sense = "higher is better" if first.higher_is_better else "lower is better"
    regions = ", ".join(region_title(metric.region).lower() for metric in metrics)
    texts: dict[str, list[str]] = {}
    for metric in metrics:
        texts.setdefault(metric.convention, []).append(region_title(metric.region))
    lines = [text if len(texts) == 1 else f"{', '.join(of)}: {text}" for text, of in texts.items()]
    heads = [first.unit, sense, regions]
    return (
        f"<dt>{escape(first.title)}<small> {escape(' · '.join(filter(None, heads)))}</small></dt>"
        f"<dd>{escape(chr(10).join(lines))} <small><code>{escape(name)}</code></small></dd>"
    )


def _method(method: Method) -> str:
    return (
        f"<dt>{escape(method.title)}<small> {_KINDS[method.kind]}</small></dt>"
        f"<dd>{escape(method.description)} <small><code>{escape(method.name)}</code></small></dd>"
    )
