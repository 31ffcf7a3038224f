select * from @source
