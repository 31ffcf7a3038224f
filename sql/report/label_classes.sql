-- purpose: F2, precision and recall of every class against its prevalence, where a patch has several classes
-- grain: one row per year, label source, scheme, arm, probe, threshold rule and class; trained on all labels, mean over
--     seeds
-- inputs: per_label (hence out_probe__confusions), out_probe__metrics (average precision by class)
with rankings as (
    select
        year, label_source, scheme, arm, probe, class_id,
        avg(value) as average_precision
    from out_probe__metrics
    where task = 'T2' and metric = 'average_precision' and class_id is not null and fold is null
        and budget_kind = 'percent' and budget = 100
    group by year, label_source, scheme, arm, probe, class_id
)
select
    counts.year, counts.label_source, counts.scheme, counts.arm, counts.probe, counts.threshold_rule, counts.class_id,
    max(counts.n_units) as n_units,
    max(counts.n_truth) as n_truth,
    avg(counts.prevalence) as prevalence,
    avg(counts.precision) as precision,
    avg(counts.recall) as recall,
    avg(counts.f2) as f2,
    max(rankings.average_precision) as average_precision,
    bool_or(counts.is_simulated) as is_simulated
from per_label as counts
left join rankings using (year, label_source, scheme, arm, probe, class_id)
where counts.task = 'T2' and counts.budget_kind = 'percent' and counts.budget = 100
group by all
order by counts.year desc, counts.label_source, counts.scheme, counts.arm, counts.probe, counts.threshold_rule,
    counts.class_id
