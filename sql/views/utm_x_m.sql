-- purpose: easting of a place in a UTM zone, in metres; needs no DuckDB extension
-- grain: one number
-- inputs: none (a macro); longitude and latitude in degrees (WGS 84), EPSG 326zz or 327zz
create or replace macro utm_x_m(lon, lat, epsg) as utm_series_x(
    transverse_north(conformal_tangent(lat), meridian_angle(lon, epsg)),
    transverse_east(conformal_tangent(lat), meridian_angle(lon, epsg))
)
