-- purpose: all vectors of a table are of one model on one grid, the one that the settings declare
-- grain: one failing row per table and release that is not the declared one, or that stands beside another
-- inputs: provenance. Evidence is judged by evidence_of_other_models
-- meaning: Partitions of two models, or of another model than the registry names, stand under one product. Their vectors
--     share no space: distances, changes, bases and probes over them mean nothing.
-- fix: Give the other model an entry of its own in [products.<name>] and its own source, and write these partitions
--     again; remove those of years or shards that the settings no longer ask for. If only the wording of the entry was
--     changed, change it back or write them again.
with releases as (
    select
        table_name, any_value(declared_release) as declared_release, release, product,
        count(*) as n_files,
        list_sort(list(distinct year)) as years,
        list_sort(list(distinct shard))[:10] as first_shards
    from provenance
    where not starts_with(table_name, 'out_probe__')
    and not starts_with(table_name, 'core_label_')
    and release is not null
    group by table_name, release, product
),
counted as (
    select *, count(*) over (partition by table_name) as n_releases
    from releases
)
select table_name, product, release, declared_release, n_files, years, first_shards
from counted
where release is distinct from coalesce(declared_release, release) or n_releases > 1
