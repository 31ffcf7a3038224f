-- purpose: how well a probe that was trained in one region does in another
-- grain: one row per year, task, label source, arm, probe, budget, purity, training region, test region, metric,
--     threshold rule and k; the mean over draws and seeds
-- inputs: out_probe__metrics of the scheme transfer, by test region
create or replace view region_matrix as
select
    year, task, label_source, arm, arm_family, probe, budget_kind, budget, purity_min, is_default,
    region as train_region,
    stratum_value as test_region,
    metric, averaging, threshold_rule, k,
    avg(value) as value,
    max(n_units) as n_units,
    max(n_blocks) as n_blocks,
    bool_or(is_simulated) as is_simulated
from out_probe__metrics
where stratum = 'test_region' and class_id is null and status in ('ok', 'diagnostic')
group by all
order by year, task, label_source, arm, probe, budget_kind desc, budget, purity_min, metric, k, train_region, test_region
