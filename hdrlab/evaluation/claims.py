"""Claimed beside measured: what a reproduction came to, as Markdown and as a page without scripts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, cast

from hdrlab.evaluation.plans import Claim, Plan, Scale

Scores = Mapping[str, Mapping[str, Any]]
"""A stage's scores by name: mean, low, high, num, scenes; listed=False for those that only claims show."""

Table = tuple[str, list[str], list[list[str]]]
"""Title, heads and rows of text."""

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 2rem }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #ddd; vertical-align: top }
th { border-bottom: 2px solid #888 }
"""


def scores_of(summary: Mapping[str, Any]) -> Scores:
    """Return the scores in a ``summary.json`` of hdrlab.evaluate.

    Of a comparison of methods they are the whole images' columns: COLUMN of the trained method,
    COLUMN_METHOD of another, and ``COLUMN gain over METHOD``, positive where the trained one is better.
    """
    if "methods" not in summary:
        return cast("Scores", summary["scores"])
    own = next(method["name"] for method in summary["methods"] if method["kind"] == "trained")
    signs = {
        c["name"]: 1 if c["higher_is_better"] else -1 for c in summary["columns"] if "@" not in c["name"]
    }
    found: dict[str, Mapping[str, Any]] = {}
    for method, scores in summary["scores"].items():
        ends, listed = ("", True) if method == own else (f"_{method}", False)
        for name in scores.keys() & signs.keys():
            found[name + ends] = {**scores[name], "listed": listed}
    for other, differences in summary["differences"][own].items():
        for name, score in differences.items():
            if name in signs:
                found[f"{name} gain over {other}"] = _gain(score, signs[name], summary["scores"][own][name])
    return dict(sorted(found.items()))


def _gain(difference: Mapping[str, Any], sign: int, score: Mapping[str, Any]) -> Mapping[str, Any]:
    low, high = sorted(sign * difference[end] for end in ("low", "high"))
    counts = {"num": score["num"], "scenes": score["scenes"], "listed": False}
    return {"mean": sign * difference["mean"], "low": low, "high": high, **counts}


def tables(plan: Plan, scale: Scale, steps: list[list[str]], scores: Mapping[str, Scores]) -> list[Table]:
    """Return everything a report shows.

    Args:
        plan: The plan.
        scale: The scale it was carried out at.
        steps: A row a training: stage, command, run, steps, minutes.
        scores: Scores by stage.
    """
    claims = [_claim_row(claim, scale, scores) for claim in plan.claims]
    measured = [
        [stage, name, _number(score["mean"]), _interval(score), str(score["num"]), str(score["scenes"])]
        for stage, of_stage in scores.items()
        for name, score in of_stage.items()
        if score.get("listed", True)
    ]
    return [
        (
            "Claimed and measured",
            ["metric", "claimed on", "claimed", "how sure", "measured", "verdict"],
            claims,
        ),
        ("Trainings", ["stage", "command", "run", "steps", "minutes"], steps),
        (
            "Scores of what was trained, on the test split",
            ["stage", "metric", "mean", "95 % interval", "images", "scenes"],
            measured,
        ),
    ]


def _claim_row(claim: Claim, scale: Scale, scores: Mapping[str, Scores]) -> list[str]:
    score = _measured(claim, scores)
    claimed = "" if claim.claimed is None else "a gain" if claim.claimed == "positive" else str(claim.claimed)
    claimed += f" ± {claim.spread}" if claim.spread is not None else ""
    shown = (
        f"{_number(score['mean'])} ({_interval(score)}; n = {score['num']})" if score else "not measured here"
    )
    return [claim.what, claim.data, claimed or "nothing", claim.sure, shown, verdict(claim, scale, score)]


def _measured(claim: Claim, scores: Mapping[str, Scores]) -> Mapping[str, Any] | None:
    stage, _, metric = (claim.measured or "").partition("/")
    return scores.get(stage, {}).get(metric)


def verdict(claim: Claim, scale: Scale, score: Mapping[str, Any] | None) -> str:
    """Return in words what a measurement says of a claim.

    Args:
        claim: The claim.
        scale: The scale; scores of some are not to be compared with a paper's.
        score: The measured score with mean and interval, or None.
    """
    if score is None:
        return "open"
    if claim.claimed == "positive":
        return "yes" if score["low"] > 0 else "not significant" if score["high"] > 0 else "no"
    if not isinstance(claim.claimed, (int, float)) or not scale.comparable:
        return "not to be compared"
    off = score["mean"] - claim.claimed
    if claim.tolerance is None:
        return f"off by {off:+.2f}"
    return f"off by {off:+.2f}: " + ("reproduced" if abs(off) <= claim.tolerance else "not reproduced")


def _number(value: float) -> str:
    size = abs(value)
    return f"{value:.2f}" if size >= 1 else f"{value:.{2 - math.floor(math.log10(size)) if size else 2}f}"


def _interval(score: Mapping[str, Any]) -> str:
    return f"{_number(score['low'])} … {_number(score['high'])}"


def markdown(plan: Plan, notes: Sequence[str], shown: Sequence[Table]) -> str:
    """Return the report as Markdown."""
    lines = [f"# {plan.title}: claimed and measured", "", plan.paper, ""]
    lines += [f"- {note}" for note in notes]
    for title, heads, rows in shown:
        cells = [heads, ["---"] * len(heads), *rows]
        lines += ["", f"## {title}", ""]
        lines += ["| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in cells]
    return "\n".join([*lines, "", *(f"- {remark}" for remark in plan.remarks), ""])


def page(plan: Plan, notes: Sequence[str], shown: Sequence[Table]) -> str:
    """Return the report as a page of HTML."""
    title = escape(f"{plan.title}: claimed and measured")
    head = f'<meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    parts = [f"<h1>{title}</h1><p>{escape(plan.paper)}</p>", _list(notes)]
    for name, heads, rows in shown:
        parts.append(f"<h2>{escape(name)}</h2><table>{_row('th', heads)}")
        parts += [_row("td", row) for row in rows]
        parts.append("</table>")
    body = "\n".join([*parts, _list(plan.remarks)])
    return f'<!doctype html><html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n'


def _row(cell: str, texts: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{cell}>{escape(text)}</{cell}>" for text in texts) + "</tr>"


def _list(texts: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ul>"
