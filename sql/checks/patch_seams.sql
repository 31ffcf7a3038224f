-- purpose: patch vectors change no more across borders of shards, squares and zones than inside them
-- grain: one failing row per year, direction and border; see sql/views/seams.sql for the rule
-- inputs: pair_patches, core_grid__patches (reads all vectors, keeps those of some lines)
-- meaning: The files on the two sides do not fit: mosaics of different dates, another version of the model, or one side
--     shifted or flipped. A map would show the tile, and a probe could learn it.
-- fix: Compare the two sides' files in `provenance` (release, ETag, date); download the odd one again. Where they are
--     right, keep the border inside one fold.
with vectors as not materialized ( -- all of a country do not fit in memory
    select year, patch_id, embedding
    from pair_patches
),
sources as (
    select null::integer as year, null::ubigint as patch_id, null::varchar as source
    where false
)
select year, direction, ground, neighbour_ground, n_pairs, mean_distance, allowed_distance, n_lines
from seams('vectors', 'sources')
