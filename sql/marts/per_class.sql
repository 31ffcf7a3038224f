-- purpose: F1, IoU, recall and precision of every class, from confusion counts summed over blocks and folds
-- grain: one row per year, task, label source, scheme, arm, probe, budget, purity, draw, seed, band and class that occurs
-- inputs: out_probe__confusions of tasks with one class per unit
create or replace view per_class as
with cells as (
    select
        year, task, label_source, scheme, arm, probe, budget_kind, budget, purity_min, is_default, draw, seed, band,
        truth, pred,
        sum(n)::bigint as n,
        bool_or(is_simulated) as is_simulated
    from out_probe__confusions
    where class_id is null
    group by all
),
sides as (
    select
        year, task, label_source, scheme, arm, probe, budget_kind, budget, purity_min, is_default, draw, seed, band,
        is_simulated,
        truth as class_id, n as n_truth, 0 as n_pred, if(truth = pred, n, 0) as n_hit
    from cells
    union all
    select
        year, task, label_source, scheme, arm, probe, budget_kind, budget, purity_min, is_default, draw, seed, band,
        is_simulated,
        pred as class_id, 0 as n_truth, n as n_pred, 0 as n_hit
    from cells
),
classes as (
    select
        year, task, label_source, scheme, arm, probe, budget_kind, budget, purity_min, is_default, draw, seed, band,
        class_id,
        sum(n_truth)::bigint as n_truth,
        sum(n_pred)::bigint as n_pred,
        sum(n_hit)::bigint as n_hit,
        bool_or(is_simulated) as is_simulated
    from sides
    group by
        year, task, label_source, scheme, arm, probe, budget_kind, budget, purity_min, is_default, draw, seed, band,
        class_id
)
select
    year, task, label_source, scheme, arm, probe, budget_kind, budget, purity_min, is_default, draw, seed, band,
    class_id,
    n_truth,
    n_pred,
    n_hit,
    2.0 * n_hit / (n_truth + n_pred) as f1,
    1.0 * n_hit / (n_truth + n_pred - n_hit) as iou,
    1.0 * n_hit / nullif(n_truth, 0) as recall,
    1.0 * n_hit / nullif(n_pred, 0) as precision,
    is_simulated
from classes
