-- purpose: cells in a row of the Earth Genome lattice (as in Major TOM); row 0 is at the south pole
-- grain: one number in, one out
-- inputs: none (a macro)
create or replace macro lattice_columns(lattice_row) as greatest(1, ceil(
    2 * pi() * 6378137 * cos(radians(-90 + lattice_row * 180 / 62618)) / 320
)::bigint)
