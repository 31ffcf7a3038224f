-- purpose: what a start of the adapter gains over a random one, by label budget
-- grain: one row per year, label source, arm, probe, start, budget, region trained in and region tested in
-- inputs: out_probe__adapter_gains
select
    year, label_source, scheme, arm, probe, init, reference, budget_kind, budget,
    region as train_region,
    stratum_value as test_region,
    metric, arm_value, reference_value, delta, lo, hi, p_holm, margin, verdict, n_seeds, n_blocks, status, note,
    is_simulated
from out_probe__adapter_gains
order by year, label_source, scheme, arm, probe, init, train_region, test_region, budget
