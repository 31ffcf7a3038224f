-- purpose: every patch vector has a place in the spine, in its own shard; otherwise pooling never targets it
-- grain: one failing row per year and patch without a place
-- inputs: pair_patches, core_grid__patches
-- meaning: These vectors have no place: nothing pools to them, labels them or scores them.
-- fix: Materialise core_grid__patches again. If ids still have no place, the file is of another grid: register it as
--     a product of its own.
select patches.year, patches.shard, patches.patch_id
from pair_patches as patches
anti join core_grid__patches as spine
    on spine.shard = patches.shard and spine.patch_id = patches.patch_id
