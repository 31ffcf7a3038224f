select
    @name as table_name,
    @description as description,
    0::bigint as n_files,
    0::bigint as n_rows,
    0::bigint as n_bytes
