-- purpose: precision, recall, F1 and F2 of every label of a multi-label task, from counts summed over blocks and folds
-- grain: one row per year, task, label source, scheme, arm, probe, budget, draw, seed, threshold rule and label
-- inputs: out_probe__confusions of tasks with several labels per unit. 0 / 0 is 0 for a label that occurs, NULL for one
--     that occurs in neither truth nor prediction
create or replace view per_label as
with counts as (
    select
        year, task, label_source, scheme, arm, probe, budget_kind, budget, is_default, draw, seed, threshold_rule,
        class_id,
        sum(n)::bigint as n_units,
        sum(if(truth = 1, n, 0))::bigint as n_truth,
        sum(if(pred = 1, n, 0))::bigint as n_pred,
        sum(if(truth = 1 and pred = 1, n, 0))::bigint as n_hit,
        bool_or(is_simulated) as is_simulated
    from out_probe__confusions
    where class_id is not null
    group by all
)
select
    year, task, label_source, scheme, arm, probe, budget_kind, budget, is_default, draw, seed, threshold_rule, class_id,
    n_units,
    n_truth,
    n_pred,
    n_hit,
    n_truth / n_units as prevalence,
    case when n_truth + n_pred > 0 then n_hit / greatest(n_pred, 1) end as precision,
    case when n_truth + n_pred > 0 then n_hit / greatest(n_truth, 1) end as recall,
    2.0 * n_hit / nullif(n_truth + n_pred, 0) as f1,
    5.0 * n_hit / nullif(4 * n_truth + n_pred, 0) as f2,
    is_simulated
from counts
