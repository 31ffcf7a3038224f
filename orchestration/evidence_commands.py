"""Commands that ask one part of the evidence: `isthmus oracles`.

Belongs here: their arguments and what they print. Does not: work (`pipeline.py`), the other commands (`cli.py`).
"""

from __future__ import annotations

import typer

from orchestration.console import (
    DEMO_CONFIG,
    EXIT_FAILED,
    ConfigOption,
    ForceOption,
    JsonOption,
    WaitOption,
    err,
    print_table,
    show_steps,
    tell_waiting,
)

#: Scores of the oracles, and why one was not run; one line each.
_LADDER = """
select year, label_source, oracle, scale_m, mean_iou, overall_accuracy, bound_for, status
from resolution_ladder
order by year, label_source, oracle, scale_m desc
"""


def add_commands(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(oracles)


def oracles(
    config: ConfigOption = DEMO_CONFIG,
    force: ForceOption = False,
    wait: WaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """Score what your labels alone allow, before anything is trained: `isthmus oracles --config FILE`.

    Needs the places of patches and the labels, no embeddings. C0, C1 and C4 give one class to a patch or to parts of
    it, C3 interpolates the true fractions of patches, C6 is another label source.
    """
    from orchestration.pipeline import Pipeline
    from warehouse.queries import run_sql

    pipeline = Pipeline(config, force=force, waiting=tell_waiting(wait))
    _, failures = show_steps(pipeline.run_oracles)
    warehouse = pipeline.warehouse
    print_table(run_sql(warehouse.root, warehouse.specs, warehouse.settings.compare, _LADDER), as_json)
    if failures:
        err.print(f"[red]{len(failures)} steps did not finish[/]; the table holds what is stored")
        raise typer.Exit(EXIT_FAILED)
