-- purpose: a reproducible draw of pixels with place, class and vector, to take into another tool
-- grain: one row per drawn pixel, year and label source (one row without a class where there is no label)
-- inputs: pair_pixels (its uniform sample, not the dense windows), core_label__pixels
-- parameters: $n pixels (default: 10), $seed (default: 0), $year (default: the latest)
with drawn_ids as (
    select year, shard, pixel_id
    from pair_pixels
    where in_sample and year = coalesce($year::integer, (select max(year) from pair_pixels))
    order by hash(pixel_id, coalesce($seed::bigint, 0)), pixel_id
    limit (select coalesce($n::bigint, 10))
),
drawn as (
    -- vectors are read for the drawn pixels only
    select year, shard, pixel_id, lon, lat, epsg, x_m, y_m, embedding, is_simulated
    from pair_pixels
    join drawn_ids using (year, shard, pixel_id)
),
labels as (
    -- a label year may serve several embedding years, so the latest one stands for the place
    select label_source, shard, pixel_id, arg_max(label, year) as label, arg_max(class_name, year) as class_name
    from core_label__pixels
    group by label_source, shard, pixel_id
)
select
    drawn.year, drawn.shard, drawn.pixel_id, drawn.lon, drawn.lat, drawn.epsg, drawn.x_m, drawn.y_m,
    labels.label_source, labels.label, labels.class_name, drawn.embedding, drawn.is_simulated
from drawn
left join labels on labels.shard = drawn.shard and labels.pixel_id = drawn.pixel_id
order by drawn.pixel_id, labels.label_source
