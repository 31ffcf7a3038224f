-- purpose: pooled vectors stand at places of the spine and nowhere else
-- grain: one failing row per year and pooled patch without a place
-- inputs: pair_pooled, core_grid__patches
-- meaning: Pooled vectors stand at places that the spine does not have any more: they are of an older area or grid.
-- fix: Remove out_patch__*_pooled of these years and shards, and run again.
select pooled.year, pooled.shard, pooled.patch_id
from pair_pooled as pooled
anti join core_grid__patches as spine
    on spine.shard = pooled.shard and spine.patch_id = pooled.patch_id
