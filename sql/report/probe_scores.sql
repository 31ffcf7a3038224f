-- purpose: every probe on every arm, with all labels
-- grain: one row per year, task, label source, scheme, arm, probe, purity and threshold rule
-- inputs: task_scores
select
    year, task, label_source, scheme, arm, arm_family, probe, purity_min, threshold_rule, metric, value,
    sd_over_draws, n_draws, n_blocks, is_default, is_simulated
from task_scores
where budget_kind = 'percent' and budget = 100 and stratum is null
order by year, task, label_source, scheme, threshold_rule, arm, probe, purity_min
