-- purpose: a stored table as a view over its Parquet files, with the partition's keys as columns
-- grain: as the table's
-- inputs: files of one table
create or replace view @view as
select @columns
from read_parquet(@files, hive_partitioning = true, hive_types = @hive_types)
