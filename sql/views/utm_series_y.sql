-- purpose: northing from the Gauss-Schreiber coordinates by Krueger's series, in metres from the equator
-- grain: one number in, one out
-- inputs: none (a macro); three terms, right to a millimetre within a zone
create or replace macro utm_series_y(north, east) as 6364902.166165086 * (
    north
    + 0.0008377318247286 * sin(2 * north) * cosh(2 * east)
    + 0.0000007608527714 * sin(4 * north) * cosh(4 * east)
    + 0.0000000011976380 * sin(6 * north) * cosh(6 * east)
)
