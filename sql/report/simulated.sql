-- purpose: whether the embeddings, the labels or the evidence are simulated
-- grain: one row per kind of table
-- inputs: pair_patches, pair_pixels, core_label__patches, core_label__pixels, out_probe__contrasts
select 'patches' as kind, bool_or(is_simulated) as is_simulated from pair_patches
union all
select 'pixels' as kind, bool_or(is_simulated) as is_simulated from pair_pixels
union all
select 'labels' as kind, bool_or(is_simulated) as is_simulated
from (select is_simulated from core_label__patches union all select is_simulated from core_label__pixels)
union all
select 'evidence' as kind, bool_or(is_simulated) as is_simulated from out_probe__contrasts
