-- purpose: a shard holds the patches that the lattice has in it; fewer means a truncated or missing source file
-- grain: one failing row per year and shard that differs by more than 0.2 % and by more than one row
-- inputs: pair_patches (the years that are stored), core_grid__shards with expected_patches
-- meaning: A source file is cut off or missing, or the area reaches beyond what is published.
-- fix: Compare the file's size with its index row and download it again; `provenance` names the files of a shard.
with stored as (
    select year, shard, count(*) as n_patches
    from pair_patches
    group by year, shard
), expected as (
    select years.year, shards.shard, shards.expected_patches
    from core_grid__shards as shards
    cross join (select distinct year from stored) as years
    where shards.expected_patches > 0
)
select expected.year, expected.shard, coalesce(stored.n_patches, 0) as n_patches, expected.expected_patches
from expected
left join stored on stored.shard = expected.shard and stored.year = expected.year
where abs(coalesce(stored.n_patches, 0) - expected.expected_patches) > greatest(1, 0.002 * expected.expected_patches)
