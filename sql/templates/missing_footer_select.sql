select
    @name as table_name,
    nullif(@release, '') as declared_release,
    null::varchar as file_name,
    null::varchar as record
where false
