-- purpose: recompute the metrics of every arm from confusion counts summed over blocks and folds
-- grain: one row per year, task, label source, scheme, arm, probe, budget, purity, draw, seed and band
-- inputs: per_class (hence out_probe__confusions). A class in neither truth nor prediction is left out of the
--     means; balanced accuracy is over classes in truth
create or replace view scores_from_confusions as
select
    year, task, label_source, scheme, arm, probe, budget_kind, budget, purity_min, is_default, draw, seed, band,
    avg(f1) as macro_f1,
    avg(iou) as mean_iou,
    sum(n_hit) / sum(n_truth) as overall_accuracy,
    avg(recall) as balanced_accuracy,
    sum(n_truth)::bigint as n_units,
    count(*) filter (where n_truth > 0) as n_classes,
    bool_or(is_simulated) as is_simulated
from per_class
group by all
