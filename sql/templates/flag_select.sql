select
    file_name,
    bool_or(stats_max_value::boolean) as is_any_row_simulated,
    bool_and(stats_min_value::boolean) as is_every_row_simulated
from parquet_metadata(@files)
where path_in_schema = 'is_simulated'
group by file_name
