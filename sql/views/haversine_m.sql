-- purpose: great-circle distance of two places in metres, on a sphere of radius 6371008.8 m (haversine formula)
-- grain: one number
-- inputs: none (a macro); longitudes and latitudes in degrees
create or replace macro haversine_m(lon_a, lat_a, lon_b, lat_b) as 2 * 6371008.8 * asin(sqrt(least(
    1.0,
    sin(radians(lat_b - lat_a) / 2) ** 2
    + cos(radians(lat_a)) * cos(radians(lat_b)) * sin(radians(lon_b - lon_a) / 2) ** 2
)))
