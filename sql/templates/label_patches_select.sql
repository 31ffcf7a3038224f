select * replace (fractions::float[] as fractions, multi_label::boolean[] as multi_label) from @source
