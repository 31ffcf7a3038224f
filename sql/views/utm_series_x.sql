-- purpose: easting from the Gauss-Schreiber coordinates by Krueger's series in the third flattening, in metres
-- grain: one number in, one out
-- inputs: none (a macro); three terms, right to a millimetre within a zone
create or replace macro utm_series_x(north, east) as 500000 + 6364902.166165086 * (
    east
    + 0.0008377318247286 * cos(2 * north) * sinh(2 * east)
    + 0.0000007608527714 * cos(4 * north) * sinh(4 * east)
    + 0.0000000011976380 * cos(6 * north) * sinh(6 * east)
)
