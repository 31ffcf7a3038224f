-- purpose: guard of a query that compares rows of several years or shards: true where all stored files of the tables
--     hold vectors of one model on one grid, else an error that names them
-- grain: one boolean; use it in a where clause
-- inputs: provenance; a pattern of `like` for table names, e.g. 'out_patch__%'
create or replace macro one_model(table_pattern) as (
    select if(
        count(distinct release) <= 1,
        true,
        error(
            'Vectors of several models must not be compared: ' || table_pattern || ' holds '
            || string_agg(distinct release, ' and ' order by release)
            || '. Vectors of two models share no space: compare scores by block instead. See docs/concepts.md, Models.'
        )
    )
    from provenance
    where table_name like table_pattern
)
