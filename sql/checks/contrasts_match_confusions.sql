-- purpose: every contrast can be recomputed: its arm's value equals the metric on the stored confusion counts
-- grain: one failing row per contrast whose stored value differs by more than 1e-9 or has no confusions
-- inputs: out_probe__contrasts, scores_from_confusions
-- meaning: A stored contrast is not what its own counts give: evidence was edited, or written by two versions of the
--     code.
-- fix: Evaluate the year again: remove out_probe__contrasts of that year and run `isthmus evaluate`.
with scores as (
    unpivot (
        select year, task, label_source, scheme, arm, macro_f1, mean_iou, overall_accuracy, balanced_accuracy
        from scores_from_confusions
        where is_default
    )
    on macro_f1, mean_iou, overall_accuracy, balanced_accuracy
    into name metric value recomputed
)
select
    contrasts.year, contrasts.task, contrasts.label_source, contrasts.scheme, contrasts.arm, contrasts.metric,
    contrasts.arm_value, scores.recomputed
from out_probe__contrasts as contrasts
left join scores using (year, task, label_source, scheme, arm, metric)
where contrasts.is_default
and contrasts.threshold_rule is null
and contrasts.arm_value is not null
and not isnan(contrasts.arm_value)
and contrasts.metric in ('macro_f1', 'mean_iou', 'overall_accuracy', 'balanced_accuracy')
and (scores.recomputed is null or abs(contrasts.arm_value - scores.recomputed) > 1e-9)
