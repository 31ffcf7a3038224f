-- purpose: what derives from simulated data says so, in its rows and in its footer: no table is marked real above a
--     simulated input
-- grain: one failing row per table, year and shard (shard NULL for evidence)
-- inputs: provenance, stored_flags
-- meaning: A number from a simulated world would pass for a real one.
-- fix: Write the named tables again with `isthmus run --force`; do not publish anything from them until then.
with files as (
    select
        table_name,
        year,
        shard,
        file_name,
        string_split(product, '+') as products,
        is_simulated as footer_flag,
        coalesce(is_any_row_simulated, is_simulated) as any_row,
        coalesce(is_every_row_simulated, is_simulated) as every_row,
        -- the product whose vectors or places a table holds, as its name says; the spine has its name in the footer
        if(table_name = 'core_grid__patches', product, coalesce(
            nullif(regexp_extract(table_name, '^core_(.+)__(patches|pixels)$', 1), ''),
            nullif(regexp_extract(table_name, '^out_(patch|pixel)__(.+)_(pooled|codebook|basis|upsampled)$', 2), '')
        )) as of_product
    from provenance
    left join stored_flags using (file_name)
),
claiming_real as (
    select * from files where not footer_flag or not every_row
),
simulated as (
    select * from files where footer_flag or any_row
),
disagreeing as (
    -- files of an index are marked one by one: those of a simulated root all are
    select table_name, year, shard, file_name, 'its rows and its footer do not say the same' as problem
    from files
    where if(
        starts_with(table_name, 'raw_'),
        footer_flag and not every_row,
        footer_flag <> any_row or any_row <> every_row
    )
),
above_files as (
    select
        claiming_real.table_name, claiming_real.year, claiming_real.shard, claiming_real.file_name,
        'all files of its product are simulated' as problem
    from claiming_real
    join files as listed on listed.table_name = 'raw_' || claiming_real.of_product || '__index'
    where listed.every_row
),
above_vectors as (
    select
        claiming_real.table_name, claiming_real.year, claiming_real.shard, claiming_real.file_name,
        'the vectors behind it are simulated' as problem
    from claiming_real
    join simulated on simulated.of_product = claiming_real.of_product and simulated.year = claiming_real.year
    where starts_with(claiming_real.table_name, 'out_') and starts_with(simulated.table_name, 'core_')
    and (claiming_real.shard is null or simulated.shard = claiming_real.shard)
),
above_sources as (
    select table_name, year, shard, file_name, 'all sources are simulated' as problem
    from claiming_real
    where table_name = 'core_grid__shards'
    and (select bool_and(every_row) from files where starts_with(table_name, 'raw_'))
),
above_evidence as (
    select table_name, year, shard, file_name, 'vectors or labels behind it are simulated' as problem
    from claiming_real
    where starts_with(table_name, 'out_probe__') and exists (
        select 1
        from simulated
        where starts_with(simulated.table_name, 'core_label_')
        or (
            starts_with(simulated.table_name, 'core_')
            and simulated.year = claiming_real.year
            and list_contains(claiming_real.products, simulated.of_product)
        )
    )
),
problems as (
    select table_name, year, shard, file_name, problem from disagreeing
    union all
    select table_name, year, shard, file_name, problem from above_files
    union all
    select table_name, year, shard, file_name, problem from above_vectors
    union all
    select table_name, year, shard, file_name, problem from above_sources
    union all
    select table_name, year, shard, file_name, problem from above_evidence
)
select
    table_name,
    year,
    shard,
    count(distinct file_name) as n_files,
    string_agg(distinct problem, '; ' order by problem) as problems
from problems
group by table_name, year, shard
