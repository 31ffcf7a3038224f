-- purpose: every contrast: other probes, budgets and purities, and the family that Holm's correction is over
-- grain: one row per year, task, label source, scheme, arm, probe, budget, purity, metric and threshold rule
-- inputs: out_probe__contrasts
select
    year, question, task, label_source, scheme, probe, budget_kind, budget, purity_min, is_default, metric,
    threshold_rule, k, arm, reference, delta, lo, hi, p_holm, margin, verdict, is_primary, n_blocks, status,
    is_simulated
from out_probe__contrasts
order by year, task, label_source, scheme, probe, budget_kind, budget, purity_min, arm, metric, threshold_rule, k
