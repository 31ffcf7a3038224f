-- purpose: how scores grow with labels
-- grain: one row per year, task, label source, scheme, arm, probe, budget and threshold rule, at the settings' purity
-- inputs: learning_curves, task_scores (which purity is that of the settings)
select
    year, task, label_source, scheme, arm, arm_family, probe, budget_kind, budget, threshold_rule, metric, value,
    sd_over_draws, n_draws, n_units, n_blocks, status, is_simulated
from learning_curves
where purity_min is null or purity_min in (select purity_min from task_scores where is_default)
order by year, task, label_source, scheme, arm, probe, threshold_rule, budget_kind desc, budget
