-- purpose: how well a probe that was trained in one region does in another
-- grain: one row per year, task, label source, arm, probe, training region, test region and metric
-- inputs: out_probe__metrics of the scheme transfer, by test region
create or replace view region_matrix as
select
    year, task, label_source, arm, arm_family, probe,
    region as train_region,
    stratum_value as test_region,
    metric, averaging, threshold_rule,
    avg(value) as value,
    max(n_units) as n_units,
    max(n_blocks) as n_blocks,
    bool_or(is_simulated) as is_simulated
from out_probe__metrics
where stratum = 'test_region' and class_id is null and status in ('ok', 'diagnostic')
group by all
order by year, task, label_source, arm, probe, metric, train_region, test_region
