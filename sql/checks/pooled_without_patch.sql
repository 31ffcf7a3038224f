-- purpose: pooled vectors stand at places of the spine and nowhere else
-- grain: one failing row per year and pooled patch without a place
-- inputs: pair_pooled, core_grid__patches
select pooled.year, pooled.shard, pooled.patch_id
from pair_pooled as pooled
anti join core_grid__patches as spine
    on spine.shard = pooled.shard and spine.patch_id = pooled.patch_id
