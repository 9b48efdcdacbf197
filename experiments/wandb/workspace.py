"""Lays out a project's page in Weights & Biases: ``python experiments/wandb/workspace.py ENTITY``.

Saves a view of the project with a section each for the stages at a glance, the losses, the panels and the
comparison of runs. It needs ``pip install 'hdrlab[dashboards]'``, the network and ``WANDB_API_KEY``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from typing import Any

from hdrlab.config.registry.stages import STAGES
from hdrlab.metrics.names import better

COMPARED_KEYS = ("stage.lr", "stage.batch_size", "stage.width", "stage.max_steps", "seed")
"""Keys whose influence on the loss the comparison shows."""


def build_workspace(entity: str, project: str = "hdrlab", name: str = "hdrlab") -> Any:
    """Make the view of a project; nothing is sent yet.

    Args:
        entity: User or team that owns the project.
        project: The project, as ``logger.project`` has it.
        name: What the view is called.

    Returns:
        A ``wandb_workspaces.workspaces.Workspace``; its ``save()`` sends it.
    """
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    pairs = {stage: figures for stage in STAGES if (figures := figures_of(stage))}
    overview = [
        wr.LinePlot(title=f"{stage}: {first[0]}", y=val(first)) for stage, (first, *_) in pairs.items()
    ]
    figures = [
        wr.LinePlot(title=" beside ".join(pair), y=val(pair))
        for pair in dict.fromkeys(pair for one in pairs.values() for pair in one)
    ]
    losses = [
        wr.LinePlot(title=name, y=[f"train/{name}", f"val/{name}"], log_y=True) for name in ("loss", *terms())
    ]
    panels = [wr.MediaBrowser(title="panels", media_keys=["panel"], mode="gallery", gallery_axis="step")]
    columns = [wr.ParallelCoordinatesPlotColumn(wr.Config(key)) for key in COMPARED_KEYS]
    loss = wr.ParallelCoordinatesPlotColumn(wr.SummaryMetric("val/loss.min"))
    comparison = [
        wr.RunComparer(diff_only="split"),
        wr.ParallelCoordinatesPlot(title="what lowers the loss", columns=[*columns, loss]),
        *(
            wr.BarPlot(title=f"best {figure}", metrics=[wr.SummaryMetric(f"val/{figure}.{better(figure)}")])
            for figure in dict.fromkeys(pair[0] for one in pairs.values() for pair in one)
        ),
    ]
    rows = {"Stages": overview, "Figures": figures, "Losses": losses, "Panels": panels, "Runs": comparison}
    return ws.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=[ws.Section(name=title, panels=made, is_open=True) for title, made in rows.items()],
        settings=ws.WorkspaceSettings(x_axis="step", group_by_prefix="first"),
        runset_settings=ws.RunsetSettings(
            pinned_columns=["run:displayName", "config:stage.value.name", "summary:val/loss.min"]
        ),
    )


def figures_of(stage: str) -> tuple[tuple[str, str], ...]:
    """Return the figures of a stage, each with the one of doing nothing or of a plain guess."""
    from hdrlab.stages import stage_class

    pairs: tuple[tuple[str, str], ...] = stage_class(stage).COMPARED
    return pairs


def terms() -> Iterator[str]:
    """Yield the names of all stages' loss terms, each once."""
    yield from dict.fromkeys(term for row in STAGES.values() for term in row.schema().loss.weights)


def val(names: Iterable[str]) -> list[str]:
    """Return names of figures as they are logged."""
    return [f"val/{name}" for name in names]


def main() -> None:
    """Save the view and print its address."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("entity", help="user or team that owns the project")
    parser.add_argument("--project", default="hdrlab", help="the project, as logger.project has it")
    parser.add_argument("--name", default="hdrlab", help="what the view is called")
    chosen = parser.parse_args()
    try:
        workspace = build_workspace(chosen.entity, chosen.project, chosen.name)
    except ModuleNotFoundError as error:
        if not str(error.name).startswith("wandb_workspaces"):
            raise
        parser.error("the package wandb-workspaces is missing: pip install 'hdrlab[dashboards]'")
    print(workspace.save().url)


if __name__ == "__main__":
    main()
