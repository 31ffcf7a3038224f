-- purpose: eastward coordinate of the Gauss-Schreiber projection, a step of utm_x_m and utm_y_m
-- grain: one number in, one out
-- inputs: none (a macro); tangent of the conformal latitude, angle from the central meridian
create or replace macro transverse_east(tangent, angle) as asinh(sin(angle) / sqrt(tangent ** 2 + cos(angle) ** 2))
