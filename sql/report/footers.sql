-- purpose: where the rows come from: the records in the footers of the stored files
-- grain: one row per table and distinct record, without the fingerprint of each partition
-- inputs: stored_footers
with records as (
    select table_name, json_merge_patch(record::json, '{"fingerprint": null}'::json)::varchar as record
    from stored_footers
)

select table_name, record, count(*) as n_files
from records
where record is not null
group by table_name, record
order by table_name, record
