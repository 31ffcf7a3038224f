select
    null::varchar as file_name,
    null::boolean as is_any_row_simulated,
    null::boolean as is_every_row_simulated
where false
