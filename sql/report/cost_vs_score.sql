-- purpose: what scores cost to store and to run, under each task's own probe
-- grain: one row per year, task, label source, scheme, arm and threshold rule
-- inputs: cost_vs_score
select
    year, task, label_source, scheme, arm, arm_family, probe, threshold_rule, metric, value, bytes_per_km2, dims,
    probe_params, seconds, is_simulated
from cost_vs_score
where is_default
order by year, task, label_source, scheme, threshold_rule, value desc nulls last, arm
