select
    @name as table_name,
    nullif(@release, '') as declared_release,
    files.file as file_name,
    if(json_valid(decode(footers.value)), decode(footers.value), null) as record
from glob(@files) as files
left join parquet_kv_metadata(@files) as footers
    on footers.file_name = files.file and footers.key = 'isthmus'::blob
