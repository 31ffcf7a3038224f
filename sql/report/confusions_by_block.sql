-- purpose: the counts behind the intervals of the bars; blocks are resampled, never single units
-- grain: one row per year, task, label source, scheme, arm, block, true class and predicted class
-- inputs: out_probe__confusions
select
    year, task, label_source, scheme, arm, block_id, truth, pred, sum(n)::bigint as n
from out_probe__confusions
where is_default and class_id is null
group by year, task, label_source, scheme, arm, block_id, truth, pred
order by year, task, label_source, scheme, arm, block_id, truth, pred
