-- purpose: the owner rule gives every patch place to one shard, without overlap
-- grain: one failing row per patch place that stands more than once in the spine
-- inputs: core_grid__patches
-- meaning: The area was cut by two rules, or shards of an older area are still stored. Places on the overlap count
--     twice.
-- fix: Remove the folders of shards that the settings no longer name from core_grid__patches, and run again.
with repeated as ( -- lists of shards are made for these alone
    select patch_id
    from core_grid__patches
    group by patch_id
    having count(*) > 1
)
select patch_id, count(*) as n_rows, list_sort(list(distinct shard)) as shards
from core_grid__patches
semi join repeated using (patch_id)
group by patch_id
