-- purpose: evidence compares one pair of models: cells of a pair that was compared before stand apart or go
-- grain: one failing row per evidence table and release beside another
-- inputs: provenance
-- meaning: Cells of several pairs of models stand in one table, of different years or from before the pair was changed.
--     Leaderboards would rank them side by side.
-- fix: Evaluate the other years again, or keep a warehouse a pair: give this settings file another warehouse.root.
with releases as (
    select table_name, release, product, count(*) as n_files, list_sort(list(distinct year)) as years
    from provenance
    where starts_with(table_name, 'out_probe__') and release is not null
    group by table_name, release, product
),
counted as (
    select *, count(*) over (partition by table_name) as n_releases
    from releases
)
select table_name, product, release, n_files, years
from counted
where n_releases > 1
