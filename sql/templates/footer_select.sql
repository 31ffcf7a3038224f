select @name as table_name, file_name, decode(value) as record
from parquet_kv_metadata(@files)
where key = 'isthmus'::blob
