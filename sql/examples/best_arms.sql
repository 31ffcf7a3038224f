-- purpose: which arm scores how much, recomputed from the stored confusion counts
-- grain: one row per year, task, label source, scheme and arm, best first
-- inputs: scores_from_confusions
-- parameters: none
select
    year, task, label_source, scheme, arm, probe,
    round(macro_f1, 4) as macro_f1,
    round(mean_iou, 4) as mean_iou,
    round(overall_accuracy, 4) as overall_accuracy,
    round(balanced_accuracy, 4) as balanced_accuracy,
    n_units, n_classes, is_simulated
from scores_from_confusions
order by
    year, task, label_source, scheme,
    if(task = 'T5', scores_from_confusions.mean_iou, scores_from_confusions.macro_f1) desc, arm
