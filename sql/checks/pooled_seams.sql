-- purpose: pooled pixels change no more across borders of rasters, shards, squares and zones than inside them
-- grain: one failing row per year, direction and border; see sql/views/seams.sql for the rule
-- inputs: pair_pooled (reads `mean`), core_grid__patches, pair_pixel_files
-- meaning: The rasters on the two sides do not fit: one is upside down, mirrored, of another year, or was re-issued.
--     Places are right, vectors are not.
-- fix: Compare the two rasters in `provenance` and in the index; look at one in a map; download the odd one again.
with vectors as not materialized ( -- all of a country do not fit in memory
    select year, patch_id, mean as embedding
    from pair_pooled
    where valid_fraction >= 0.5
),
sources as (
    select files.year, places.patch_id, min(files.path) as source
    from core_grid__patches as places
    join pair_pixel_files as files
        on files.epsg = places.epsg
        and places.x_m >= files.utm_west_m and places.x_m < files.utm_east_m
        and places.y_m >= files.utm_south_m and places.y_m < files.utm_north_m
    group by files.year, places.patch_id
)
select year, direction, ground, neighbour_ground, n_pairs, mean_distance, allowed_distance, n_lines
from seams('vectors', 'sources')
