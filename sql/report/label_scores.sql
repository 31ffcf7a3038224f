-- purpose: probes on several labels a patch, at thresholds of 0.5 and at tuned ones
-- grain: one row per year, label source, scheme, arm, probe and threshold rule; trained on all labels, mean over seeds
-- inputs: leaderboard (hence out_probe__metrics). Average precision knows no threshold: it stands in both rows
with scores as (
    select
        year, label_source, scheme, arm, arm_family, probe, threshold_rule, metric, averaging,
        pooled_value as value,
        n_units, n_blocks, status, is_simulated
    from leaderboard
    where task = 'T2' and budget_kind = 'percent' and budget = 100 and pooled_value is not null
),
rankings as (
    select
        year, label_source, scheme, arm, probe,
        max(value) filter (where averaging = 'macro') as macro_average_precision,
        max(value) filter (where averaging = 'micro') as micro_average_precision
    from scores
    where metric = 'average_precision'
    group by year, label_source, scheme, arm, probe
)
select
    scores.year, scores.label_source, scores.scheme, scores.arm, scores.arm_family, scores.probe,
    scores.threshold_rule,
    max(scores.value) filter (where scores.metric = 'macro_f2') as macro_f2,
    max(scores.value) filter (where scores.metric = 'micro_f2') as micro_f2,
    max(scores.value) filter (where scores.metric = 'hamming_loss') as hamming_loss,
    max(scores.value) filter (where scores.metric = 'macro_precision') as macro_precision,
    max(scores.value) filter (where scores.metric = 'micro_precision') as micro_precision,
    max(scores.value) filter (where scores.metric = 'macro_recall') as macro_recall,
    max(scores.value) filter (where scores.metric = 'micro_recall') as micro_recall,
    max(scores.value) filter (where scores.metric = 'macro_f1') as macro_f1,
    max(scores.value) filter (where scores.metric = 'micro_f1') as micro_f1,
    max(rankings.macro_average_precision) as macro_average_precision,
    max(rankings.micro_average_precision) as micro_average_precision,
    max(scores.n_units) as n_units,
    max(scores.n_blocks) as n_blocks,
    max(scores.status) as status,
    bool_or(scores.is_simulated) as is_simulated
from scores
left join rankings using (year, label_source, scheme, arm, probe)
where scores.threshold_rule is not null
group by all
order by scores.year desc, scores.label_source, scores.scheme, scores.arm, scores.probe, scores.threshold_rule
