-- purpose: how much better arms look under random folds
-- grain: one row per year, task, label source, strict scheme, arm, probe and threshold rule, with all
--     labels and the settings' purity
-- inputs: leakage_gap
select
    year, task, label_source, scheme, arm, arm_family, probe, threshold_rule, metric, random_value, strict_value, gap,
    is_simulated
from leakage_gap
where is_default
order by year, task, label_source, scheme, threshold_rule, strict_value desc, arm
