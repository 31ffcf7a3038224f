-- purpose: what labels alone score, by the size of what carries one class
-- grain: one row per year, label source, oracle, scale and other source
-- inputs: resolution_ladder
select
    year, task, label_source, other_source, oracle, scale_m, mean_iou, overall_accuracy, bound_for, n_units, n_blocks,
    status, is_simulated
from resolution_ladder
order by year, label_source, oracle, scale_m desc
