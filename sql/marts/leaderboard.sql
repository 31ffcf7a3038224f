-- purpose: all arms side by side: the metric over all folds, its mean and spread over folds, draws and seeds
-- grain: one row per year, task, label source, scheme, arm, probe, budget, purity, stratum, metric, averaging, threshold
--     rule, tolerance and k (metrics over all classes only)
-- inputs: out_probe__metrics with status ok or diagnostic; rows with fold NULL are over all folds together
create or replace view leaderboard as
with usable as (
    select *
    from out_probe__metrics
    where status in ('ok', 'diagnostic') and class_id is null and stratum is distinct from 'test_region'
)
select
    year, task, label_source, scheme, arm, arm_family, source_product, dims, bytes_per_km2,
    probe, budget_kind, budget, purity_min, is_default, stratum, stratum_value,
    metric, averaging, threshold_rule, tolerance_px, k,
    avg(value) filter (where fold is null) as pooled_value,
    avg(value) filter (where fold is not null) as mean_over_folds,
    stddev_samp(value) filter (where fold is not null) as sd_over_folds,
    stddev_samp(value) filter (where fold is null) as sd_over_draws,
    count(distinct fold) as n_folds,
    count(*) filter (where fold is null) as n_draws,
    max(n_units) filter (where fold is null) as n_units,
    max(n_blocks) filter (where fold is null) as n_blocks,
    max(seconds) as seconds,
    max(status) as status,
    bool_or(is_simulated) as is_simulated
from usable
group by all
order by year, task, label_source, scheme, metric, pooled_value desc nulls last, arm
