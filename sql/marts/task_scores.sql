-- purpose: the one number that sums up a cell: macro-F1 of T1, T2 and T7, R2 of T3, T6 and T8, precision at 10 of T4,
--     mIoU of T5; the base of the curves below
-- grain: one row per year, task, label source, scheme, arm, probe, budget, purity, stratum and threshold rule
-- inputs: leaderboard
create or replace view task_scores as
select
    year, task, label_source, scheme, arm, arm_family, source_product, dims, bytes_per_km2, probe, budget_kind, budget,
    purity_min, is_default, stratum, stratum_value, metric, threshold_rule,
    pooled_value as value,
    sd_over_draws, n_draws, n_units, n_blocks, seconds, status, is_simulated
from leaderboard
where (task in ('T1', 'T2', 'T7') and metric = 'macro_f1')
    or (task = 'T5' and metric = 'mean_iou')
    or (task in ('T3', 'T6', 'T8') and metric = 'r2' and averaging = 'macro')
    or (task = 'T4' and metric = 'precision_at_k' and k = 10)
order by year, task, label_source, scheme, value desc nulls last, arm, probe, budget_kind, budget
