-- purpose: the owner rule gives every patch place to one shard, without overlap
-- grain: one failing row per patch place that stands more than once in the spine
-- inputs: core_grid__patches
select patch_id, count(*) as n_rows, list_sort(list(distinct shard)) as shards
from core_grid__patches
group by patch_id
having count(*) > 1
