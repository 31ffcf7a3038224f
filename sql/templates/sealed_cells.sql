-- purpose: the cells of a table that are whole, as a view over their Parquet files, with the year as a column
-- grain: as the table's
-- inputs: files of one table, and names of the files of the table that seals its cells
create or replace view @view as
select @columns
from read_parquet(@files, hive_partitioning = true, hive_types = @hive_types, filename = true)
where replace(filename, @folder, @seal_folder) in (select file from glob(@seals))
