-- purpose: tangent of the conformal latitude on WGS 84, a step of utm_x_m and utm_y_m
-- grain: one number in, one out
-- inputs: none (a macro); latitude in degrees
create or replace macro conformal_tangent(lat) as sinh(
    atanh(sin(radians(lat))) - 0.0818191908426215 * atanh(0.0818191908426215 * sin(radians(lat)))
)
