-- purpose: what single pixels cannot say: boundaries, objects by size, class fractions of cells
-- grain: one row per year, task, label source, scheme, arm, probe, metric, stratum, its value and tolerance
-- inputs: leaderboard: all labels, the task's own probe; pixels of kept windows
select
    year, task, label_source, scheme, arm, arm_family, probe, metric, tolerance_px, stratum, stratum_value,
    pooled_value as value,
    n_units, n_blocks, is_simulated
from leaderboard
where budget_kind = 'percent' and budget = 100 and is_default
    and (metric in ('boundary_f', 'object_recall') or (task = 'T6' and metric in ('r2', 'mae') and averaging = 'macro'))
order by year, task, label_source, scheme, metric, tolerance_px, stratum_value, arm
