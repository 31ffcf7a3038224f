-- purpose: what is stored
-- grain: one row per declared table
-- inputs: stored_tables
select table_name, description, n_files, n_rows, n_bytes
from stored_tables
order by table_name
