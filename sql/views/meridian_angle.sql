-- purpose: angle of a longitude from the central meridian of a UTM zone, in radians, a step of utm_x_m and utm_y_m
-- grain: one number in, one out
-- inputs: none (a macro); longitude in degrees, EPSG 326zz or 327zz
create or replace macro meridian_angle(lon, epsg) as radians(lon - (6 * (epsg % 100) - 183))
