-- purpose: patches and pixels of one spatial block are in one fold, or a probe is tested next to where it trained
-- grain: one failing row per year, label source and block of the block and longitude schemes that stands in several folds
-- inputs: out_probe__folds; negative folds are dropped units
-- meaning: Patches and pixels of one block are tested in different folds, so a probe sees its test ground in
--     training.
-- fix: Remove out_probe__folds of that year and evaluate again.
select year, label_source, scheme, block_id, list_sort(list(distinct fold)) as folds, list_sort(list(distinct unit)) as units
from out_probe__folds
where scheme in ('block', 'longitude') and fold >= 0
group by year, label_source, scheme, block_id
having count(distinct fold) > 1
