select @name as check_name, failing::varchar as failing_row from @view as failing
