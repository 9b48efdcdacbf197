"""The parts of a report that are text: scores, what was measured how, and what follows from it in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from hdrlab.report.model import Column, Difference, Method, Report, Score

REGIONS = {
    "": "Whole picture",
    "clipped": "Clipped",
    "ramp": "Ramp",
    "rest": "Rest",
    "mask": "Mask",
}
_KINDS = {
    "trained": "trained",
    "results": "another program",
    "classical": "classical",
    "baseline": "baseline",
    "oracle": "knows the reference",
}


def fragments(report: Report) -> Mapping[str, str]:
    """Return the fragments of HTML that the page's template names; everything given is escaped."""
    return {
        "lead": _lead(report),
        "alarm": _alarm(report.gates),
        "words": _items(_words(report)),
        "regions": _regions(report.columns),
        "scores": _table(report),
        "conventions": _conventions(report.columns),
        "methods": "".join(_method(method) for method in report.methods),
        "gates": "".join(_gate(*gate) for gate in report.gates) or "<li>No check was made.</li>",
        "said": "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in report.said.items()),
        "against": escape(report.against.title) if report.against else "none",
    }


def region_title(region: str) -> str:
    """Name a region for a reader."""
    return REGIONS.get(region, region.capitalize())


def number(value: float, digits: int, *, signed: bool = False) -> str:
    """Write a number with a true minus sign; "–" stands for one that does not exist."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:{'+' if signed else ''}.{digits}f}".replace("-", "−")


def _lead(report: Report) -> str:
    given = [score for row in report.scores.values() for score in row.values()]
    what = "photographs to HDR" if report.kind == "hdr" else "tone mapping of HDR pictures"
    parts = [f"{len(report.methods)} methods", what]
    if given:
        num, scenes = max(s.num for s in given), max(s.scenes for s in given)
        parts.append(f"{num} picture{'s' * (num != 1)} of {scenes} scene{'s' * (scenes != 1)}")
    return " · ".join(parts)


def _alarm(gates: Sequence[tuple[str, bool, str]]) -> str:
    failed = [name for name, passed, _ in gates if not passed]
    if not failed:
        return ""
    return (
        f'<p class="alarm" role="alert"><strong>{len(failed)} of {len(gates)} sanity checks failed:</strong> '
        f'{escape(", ".join(failed))}. Do not trust these scores. <a href="#gates">Details</a></p>'
    )


def _items(lines: Iterable[str]) -> str:
    return "".join(f"<li>{line}</li>" for line in lines)


def _words(report: Report) -> list[str]:
    """Say in sentences what the first column shows."""
    if not report.columns:
        return []
    column = report.columns[0]
    best = _best(report, column)
    if best is None:
        return []
    score = report.scores[best.name][column.name]
    digits = _digits(report, column)
    oracles = any(method.kind == "oracle" for method in report.methods)
    among = " of the methods that do not know the reference" if oracles else ""
    lines = [
        f"By {escape(column.title)}, <strong>{escape(best.title)}</strong> is best{among}: "
        f"{number(score.mean, digits)} {escape(column.unit)}, 95 % interval "
        f"{number(score.low, digits)} to {number(score.high, digits)}."
    ]
    against = report.against
    if against:
        verdicts = _verdicts(report, column)
        said = [f"{word}: {escape(', '.join(names))}" for word, names in verdicts.items() if names]
        if said:
            lines.append(f"Against {escape(against.title)}: {'; '.join(said)}.")
    return lines


def _verdicts(report: Report, column: Column) -> dict[str, list[str]]:
    verdicts: dict[str, list[str]] = {"better": [], "worse": [], "not significantly different": []}
    for method in report.methods:
        found = report.differences.get(method.name, {}).get(column.name)
        if found is not None:
            verdicts[_verdict(found, column)].append(method.title)
    return verdicts


def _verdict(difference: Difference, column: Column) -> str:
    if not difference.significant:
        return "not significantly different"
    return "better" if (difference.mean > 0) == column.higher_is_better else "worse"


def _best(report: Report, column: Column) -> Method | None:
    sign = 1 if column.higher_is_better else -1
    able = [
        (sign * report.scores[method.name][column.name].mean, -place, method)
        for place, method in enumerate(report.methods)
        if method.kind != "oracle" and column.name in report.scores.get(method.name, {})
    ]
    return max((row for row in able if not math.isnan(row[0])), default=(0, 0, None))[2]


def _digits(report: Report, column: Column) -> int:
    """Choose decimals so that an interval's half width has two digits."""
    widths = [
        (row[column.name].high - row[column.name].low) / 2
        for row in report.scores.values()
        if column.name in row
    ]
    widths = sorted(width for width in widths if math.isfinite(width) and width > 0)
    return min(max(1 - math.floor(math.log10(widths[len(widths) // 2])), 0), 5) if widths else 2


def _regions(columns: Sequence[Column]) -> str:
    present = list(dict.fromkeys(column.region for column in columns))
    if len(present) < 2:
        return ""
    buttons = "".join(
        f'<button type="button" data-region="{escape(region)}" aria-pressed="false">'
        f"{escape(region_title(region))}</button>"
        for region in present
    )
    return f'<div class="choice" role="group" aria-label="Region" id="regions">{buttons}</div>'


def _table(report: Report) -> str:
    heads = "".join(_head(column) for column in report.columns)
    rows = "".join(_row(report, place, method) for place, method in enumerate(report.methods))
    return (
        '<thead><tr><th scope="col" class="name"><button type="button">Method</button></th>'
        f"{heads}</tr></thead><tbody>{rows}</tbody>"
    )


def _head(column: Column) -> str:
    unit = f'<span class="unit">{escape(column.unit)}</span>' if column.unit else ""
    arrow = "higher is better" if column.higher_is_better else "lower is better"
    hint = f"{column.convention}\n{arrow[0].upper()}{arrow[1:]}."
    return (
        f'<th scope="col" data-region="{escape(column.region)}" data-name="{escape(column.name)}" '
        f'data-higher="{int(column.higher_is_better)}" title="{escape(hint)}"><button type="button">'
        f'{escape(column.title)} {unit}<span class="sense" aria-label="{arrow}">'
        f"{'↑' if column.higher_is_better else '↓'}</span></button></th>"
    )


def _row(report: Report, place: int, method: Method) -> str:
    cells = "".join(_cell(report, column, method) for column in report.columns)
    return (
        f'<tr data-place="{place}" data-kind="{method.kind}"><th scope="row" class="name" '
        f'title="{escape(method.description)}"><span class="swatch" data-method="{place}"></span>'
        f'<span class="title">{escape(method.title)}</span><span class="kind">{_KINDS[method.kind]}</span>'
        f"</th>{cells}</tr>"
    )


def _cell(report: Report, column: Column, method: Method) -> str:
    score = report.scores.get(method.name, {}).get(column.name)
    start = f'<td data-region="{escape(column.region)}"'
    if score is None:
        return f'{start} class="none">–</td>'
    digits = _digits(report, column)
    unit = f" {escape(column.unit)}" if column.unit else ""
    hint = (
        f"mean {number(score.mean, digits)}{unit}, median {number(score.median, digits)}, standard deviation "
        f"{number(score.std, digits)}; {score.num} pictures of {score.scenes} scenes, "
        f"{score.failures} failures"
    )
    failed = f'<span class="failed">{score.failures} failed</span>' if score.failures else ""
    best = " best" if method is _best(report, column) else ""
    return (
        f'{start} class="score{best}" data-value="{score.mean!r}" title="{hint}">'
        f'<span class="mean">{number(score.mean, digits)}</span>'
        f'<span class="interval">{number(score.low, digits)} to {number(score.high, digits)}</span>'
        f"{_bar(report, column, score)}"
        f'<span class="more">median {number(score.median, digits)}, std {number(score.std, digits)}</span>'
        f'<span class="num">n {score.num} · {score.scenes} scenes {failed}</span>'
        f"{_against(report, column, method, digits)}</td>"
    )


def _bar(report: Report, column: Column, score: Score) -> str:
    """Draw the interval on the range of the column's intervals, and a line where the baseline's mean is."""
    all_scores = [row[column.name] for row in report.scores.values() if column.name in row]
    ends = [end for s in all_scores for end in (s.low, s.high, s.mean) if math.isfinite(end)]
    if not ends or not all(math.isfinite(v) for v in (score.low, score.high, score.mean)):
        return ""
    start, span = min(ends), (max(ends) - min(ends)) or 1.0

    def share(value: float) -> float:
        return 100 * (value - start) / span

    base = report.scores.get(report.against.name, {}).get(column.name) if report.against else None
    line = (
        f'<i class="base" style="left:{share(base.mean):.1f}%"></i>'
        if base is not None and math.isfinite(base.mean)
        else ""
    )
    return (
        f'<span class="bar" aria-hidden="true">{line}<i class="range" style="left:{share(score.low):.1f}%;'
        f'width:{share(score.high) - share(score.low):.1f}%"></i>'
        f'<i class="dot" style="left:{share(score.mean):.1f}%"></i></span>'
    )


def _against(report: Report, column: Column, method: Method, digits: int) -> str:
    found = report.differences.get(method.name, {}).get(column.name)
    if found is None:
        return '<span class="versus base">differences are to this</span>' if method is report.against else ""
    verdict = _verdict(found, column)
    low, high = number(found.low, digits, signed=True), number(found.high, digits, signed=True)
    wins = f"{100 * found.wins:.0f} %"
    hint = f"95 % interval of the difference {low} to {high}; better on {wins} of the pictures"
    sign = {"better": "better", "worse": "worse"}.get(verdict, "same")
    text = "not significant" if sign == "same" else f"wins {wins}"
    mean = number(found.mean, digits, signed=True)
    return f'<span class="versus {sign}" title="{hint}"><b>{mean}</b> {text}</span>'


def _conventions(columns: Sequence[Column]) -> str:
    """List each figure once, with the regions on which it is measured and what is said of each."""
    figures: dict[str, list[Column]] = {}
    for column in columns:
        figures.setdefault(column.name.partition("@")[0], []).append(column)
    return "".join(_convention(name, of) for name, of in figures.items())


def _convention(name: str, columns: Sequence[Column]) -> str:
    first = columns[0]
    sense = "higher is better" if first.higher_is_better else "lower is better"
    regions = ", ".join(region_title(column.region).lower() for column in columns)
    said: dict[str, list[str]] = {}
    for column in columns:
        said.setdefault(column.convention, []).append(region_title(column.region))
    texts = [text if len(said) == 1 else f"{', '.join(of)}: {text}" for text, of in said.items()]
    heads = [first.unit, sense, regions]
    return (
        f"<dt>{escape(first.title)}<small> {escape(' · '.join(filter(None, heads)))}</small></dt>"
        f"<dd>{escape(chr(10).join(texts))} <small><code>{escape(name)}</code></small></dd>"
    )


def _method(method: Method) -> str:
    return (
        f"<dt>{escape(method.title)}<small> {_KINDS[method.kind]}</small></dt>"
        f"<dd>{escape(method.description)} <small><code>{escape(method.name)}</code></small></dd>"
    )


def _gate(name: str, passed: bool, seen: str) -> str:
    word = "passed" if passed else "failed"
    return f'<li class="{word}"><b>{word}</b> {escape(name)}: {escape(seen)}</li>'
