-- purpose: how a patch score depends on how pure patches must be, and how many are left
-- grain: one row per year, task, label source, scheme, arm, probe and least purity
-- inputs: task_scores with all labels; share_retained is of the patches at the lowest purity that was run
create or replace view purity_curve as
select
    year, task, label_source, scheme, arm, arm_family, probe, purity_min, metric, value, n_units,
    n_units / max(n_units) over (partition by year, task, label_source, scheme, arm, probe) as share_retained,
    is_simulated
from task_scores
where purity_min is not null and budget_kind = 'percent' and budget = 100 and stratum is null
qualify count(*) over (partition by year, task, label_source, scheme, arm, probe) > 1
order by year, task, label_source, scheme, arm, probe, purity_min
