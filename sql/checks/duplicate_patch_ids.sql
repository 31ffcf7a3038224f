-- purpose: overlapping source files hold a patch several times; the warehouse holds it once
-- grain: one failing row per year and patch that is stored more than once, in one shard or in several
-- inputs: pair_patches
select year, patch_id, count(*) as n_rows, list_sort(list(distinct shard)) as shards
from pair_patches
group by year, patch_id
having count(*) > 1
