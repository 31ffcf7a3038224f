-- purpose: how a score grows with the labels that a fold may train on
-- grain: one row per year, task, label source, scheme, arm, probe, purity, threshold rule and budget, the fewest labels
--     first
-- inputs: task_scores; budgets are nested and the same draws for every arm
create or replace view learning_curves as
select
    year, task, label_source, scheme, arm, arm_family, probe, purity_min, budget_kind, budget, threshold_rule, metric,
    value,
    sd_over_draws, n_draws, n_units, n_blocks, status, is_simulated
from task_scores
where stratum is null
qualify count(*) over (partition by year, task, label_source, scheme, arm, probe, purity_min, threshold_rule) > 1
order by year, task, label_source, scheme, arm, probe, purity_min, budget_kind desc, budget
