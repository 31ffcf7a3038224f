-- purpose: how probes that were trained in one region do in another
-- grain: one row per year, task, label source, arm, threshold rule, region trained in and region tested in: all labels,
--     the task's own probe and the settings' purity
-- inputs: region_matrix, the number that sums up each task
select
    year, task, label_source, arm, arm_family, probe, train_region, test_region, metric, threshold_rule, value,
    n_units, n_blocks, is_simulated
from region_matrix
where is_default
    and (
        (task in ('T1', 'T2', 'T7') and metric = 'macro_f1')
        or (task = 'T5' and metric = 'mean_iou')
        or (task in ('T3', 'T8') and metric = 'r2' and averaging = 'macro')
    )
order by year, task, label_source, threshold_rule, arm, probe, train_region, test_region
