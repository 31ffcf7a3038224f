-- purpose: what labels of one class a block score, by the size of the block: the ladder on which an arm is placed
-- grain: one row per year, label source, oracle, scale and other source (C6); with a status where it was not run
-- inputs: out_probe__oracles (metrics over all classes and all ground). C0 is C4 at the size of the patch. Scores are bounds only for
--     the arms and metrics that bound_for of out_probe__oracles names: here mIoU of C1 and accuracy of C0 and C4, for
--     arms of one class a block; none bounds an upsampled arm
create or replace view resolution_ladder as
select
    year, task, label_source, label_year, other_source, oracle, scale_m,
    max(value) filter (where metric = 'mean_iou') as mean_iou,
    max(value) filter (where metric = 'overall_accuracy') as overall_accuracy,
    max(value) filter (where metric = 'macro_f1') as macro_f1,
    max(value) filter (where metric = 'kappa') as kappa,
    coalesce(
        string_agg(metric || ' of ' || bound_for, ', ' order by metric) filter (where bound_for <> 'none'), 'none'
    ) as bound_for,
    max(n_units) as n_units,
    max(n_blocks) as n_blocks,
    max(status) as status,
    bool_or(is_simulated) as is_simulated
from out_probe__oracles
where class_name is null and stratum is null
group by year, task, label_source, label_year, other_source, oracle, scale_m
order by year, label_source, oracle, scale_m desc
