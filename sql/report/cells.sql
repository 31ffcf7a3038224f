-- purpose: what was run, by which code, and what failed
-- grain: one row per year, task, label source, scheme, arm, probe, run and status
-- inputs: out_probe__metrics
select
    year, task, label_source, label_year, scheme, arm, probe, run_id, code_rev, status,
    max(created_at) as created_at,
    max(dims) as dims,
    max(bytes_per_km2) as bytes_per_km2,
    max(n_units) as n_units
from out_probe__metrics
group by year, task, label_source, label_year, scheme, arm, probe, run_id, code_rev, status
order by year, task, label_source, label_year, scheme, arm, probe, run_id, code_rev, status
