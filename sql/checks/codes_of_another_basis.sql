-- purpose: int8 codes of windows can be decoded: the basis they were written in is the one that is stored
-- grain: one failing row per year, shard, window and basis version whose basis is no longer there
-- inputs: pair_upsampled, pair_basis
-- meaning: Windows were stored before the basis was fitted again. Their codes decode to wrong vectors, and codes of
--     two bases must not be compared.
-- fix: Derive the named years and shards again: `isthmus run`, or materialise the table in the UI.
select codes.year, codes.shard, codes."window", codes.basis_version, count(*) as n_rows
from pair_upsampled as codes
anti join pair_basis as basis
    on basis.year = codes.year and basis.basis_version = codes.basis_version
where codes.embedding_q is not null
group by codes.year, codes.shard, codes."window", codes.basis_version
