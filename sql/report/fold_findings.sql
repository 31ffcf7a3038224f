-- purpose: what the audit of the folds found, before anything was trained
-- grain: one row per year, label source, kind of unit, scheme, check and status
-- inputs: out_probe__fold_audit; a check of every fold is one row a status
select
    year, label_source, unit, scheme, check_name, status,
    count(*) as n_found,
    min(value) as least,
    max(value) as most,
    max(threshold) as threshold,
    min(detail) as detail
from out_probe__fold_audit
group by year, label_source, unit, scheme, check_name, status
order by year, label_source, unit, scheme, check_name, status
