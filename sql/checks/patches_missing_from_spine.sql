-- purpose: every patch vector has a place in the spine, in its own shard; otherwise pooling never targets it
-- grain: one failing row per year and patch without a place
-- inputs: pair_patches, core_grid__patches
select patches.year, patches.shard, patches.patch_id
from pair_patches as patches
anti join core_grid__patches as spine
    on spine.shard = patches.shard and spine.patch_id = patches.patch_id
