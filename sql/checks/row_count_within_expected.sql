-- purpose: a shard holds the patches that the lattice has in it; fewer means a truncated or missing source file
-- grain: one failing row per year and shard that differs by more than 0.2 % and by more than one row
-- inputs: pair_patches (only years and shards that are stored), core_grid__shards with expected_patches
-- meaning: A source file is cut off or missing, or the area reaches beyond what is published.
-- fix: Compare the file's size with its index row and download it again; `provenance` names the files of a shard.
with stored as (
    select year, shard, count(*) as n_patches
    from pair_patches
    group by year, shard
)
select stored.year, stored.shard, stored.n_patches, shards.expected_patches
from stored
join core_grid__shards as shards on shards.shard = stored.shard
where shards.expected_patches > 0
and abs(stored.n_patches - shards.expected_patches) > greatest(1, 0.002 * shards.expected_patches)
