select
    @name as table_name,
    @description as description,
    count(*) as n_files,
    coalesce(sum(num_rows), 0)::bigint as n_rows,
    coalesce(sum(file_size_bytes), 0)::bigint as n_bytes
from parquet_file_metadata(@files)
