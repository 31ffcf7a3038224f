-- purpose: the scores of the bars and of the table by fold scheme
-- grain: one row per year, task, label source, scheme and arm
-- inputs: scores_from_confusions (hence out_probe__confusions)
select
    year, task, label_source, scheme, arm, probe, macro_f1, mean_iou, overall_accuracy, balanced_accuracy,
    n_units, is_simulated
from scores_from_confusions
where is_default
order by year, task, label_source, scheme, arm
