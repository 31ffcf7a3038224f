-- purpose: no training footprint stands within the buffer in use of a test footprint, or scores are those of neighbours
-- grain: one failing row per year, label source, unit kind, scheme and fold; random folds keep no distance and are left out
-- inputs: out_probe__fold_audit; distances to blocks are right to less than a metre
-- meaning: Training ground touches test ground: scores are those of neighbours, and too good.
-- fix: Raise evaluate.buffer_m or block_edge_m, remove out_probe__folds of the year, and evaluate again.
select year, label_source, unit, scheme, fold, value as least_distance_m, threshold as buffer_m
from out_probe__fold_audit
where check_name = 'least_distance_m' and scheme <> 'random' and value < threshold - 1.0
