select @name as table_name, null::varchar as file_name, null::varchar as record where false
