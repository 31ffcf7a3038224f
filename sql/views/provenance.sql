-- purpose: where the rows of every stored file come from: the record of its footer as columns
-- grain: one row per stored file; columns of the record are NULL where the file has none
-- inputs: stored_footers. `declared_release` is the model and grid that the settings declare for the table's vectors
create or replace view provenance as
select
    table_name,
    try_cast(regexp_extract(file_name, '/year=(\d+)/', 1) as integer) as year,
    nullif(regexp_extract(file_name, '/shard=([^/]+)/', 1), '') as shard,
    record ->> '$.product' as product,
    record ->> '$.release' as release,
    declared_release,
    record ->> '$.licence' as licence,
    from_json(record -> '$.attribution', '["VARCHAR"]') as attribution,
    try_cast(record ->> '$.schema_version' as integer) as schema_version,
    record ->> '$.code_version' as code_version,
    try_cast(record ->> '$.is_simulated' as boolean) as is_simulated,
    from_json(record -> '$.sources', '[{"path": "VARCHAR", "etag": "VARCHAR"}]') as sources,
    from_json(record -> '$.inputs', '["VARCHAR"]') as inputs,
    from_json(record -> '$.notes', '["VARCHAR"]') as notes,
    file_name
from stored_footers
