-- purpose: a stored table without partitions as a view over its one Parquet file
-- grain: as the table's
-- inputs: the file of one table
create or replace view @view as
select @columns
from read_parquet(@files, hive_partitioning = false)
