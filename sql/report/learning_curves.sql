-- purpose: how scores grow with labels
-- grain: one row per year, task, label source, scheme, arm, probe, budget and threshold rule
-- inputs: learning_curves
select
    year, task, label_source, scheme, arm, arm_family, probe, budget_kind, budget, threshold_rule, metric, value,
    sd_over_draws, n_draws, n_units, n_blocks, status, is_simulated
from learning_curves
order by year, task, label_source, scheme, arm, probe, threshold_rule, budget_kind desc, budget
