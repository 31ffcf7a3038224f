-- purpose: how an adapter that was trained in one region does in another, per start and label budget
-- grain: one row per year, label source, arm, probe, init, budget, region trained in and region tested in
-- inputs: out_probe__adapters. Each seed holds out another fold, so the mean is over folds as well; skipped cells
--     are counted, not averaged
create or replace view transfer_matrix as
select
    year, label_source, scheme, arm, probe, init, budget_kind, budget,
    region as train_region,
    stratum_value as test_region,
    avg(value) filter (where metric = 'mean_iou') as mean_iou,
    stddev_samp(value) filter (where metric = 'mean_iou') as sd_over_seeds,
    count(distinct seed) filter (where metric = 'mean_iou') as n_seeds,
    count(distinct seed) filter (where metric is null) as n_seeds_without_score,
    sum(n_blocks) filter (where metric = 'mean_iou')::bigint as n_blocks,
    bool_or(is_simulated) as is_simulated
from out_probe__adapters
where class_id is null
group by year, label_source, scheme, arm, probe, init, budget_kind, budget, region, stratum_value
order by year, label_source, scheme, arm, probe, init, budget, train_region, test_region
