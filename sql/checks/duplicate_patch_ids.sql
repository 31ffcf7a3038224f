-- purpose: overlapping source files hold a patch several times; the warehouse holds it once
-- grain: one failing row per year and patch that is stored more than once, in one shard or in several
-- inputs: pair_patches
-- meaning: Copies of one patch fill the top of every search, and weigh twice in every mean and score.
-- fix: Run again: copies are resolved on ingest. If it stays, two shards own one place: see patch_in_two_shards.
with repeated as ( -- lists of shards are made for these alone
    select year, patch_id
    from pair_patches
    group by year, patch_id
    having count(*) > 1
)
select year, patch_id, count(*) as n_rows, list_sort(list(distinct shard)) as shards
from pair_patches
semi join repeated using (year, patch_id)
group by year, patch_id
