-- purpose: F1 and IoU of every class
-- grain: one row per year, task, label source, scheme, arm and class: all labels, the task's own probe
-- inputs: per_class (hence out_probe__confusions), means over draws and seeds
select
    year, task, label_source, scheme, arm, class_id,
    avg(f1) as f1,
    avg(iou) as iou,
    max(n_truth) as n_truth,
    bool_or(is_simulated) as is_simulated
from per_class
where is_default
group by year, task, label_source, scheme, arm, class_id
order by year, task, label_source, scheme, arm, class_id
