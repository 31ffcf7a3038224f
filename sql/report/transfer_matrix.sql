-- purpose: how adapters that were trained in one region do in another
-- grain: one row per year, label source, arm, probe, start, budget, region trained in and region tested in
-- inputs: transfer_matrix
select
    year, label_source, scheme, arm, probe, init, budget_kind, budget, train_region, test_region, mean_iou,
    sd_over_seeds, n_seeds, n_seeds_without_score, n_blocks, is_simulated
from transfer_matrix
order by year, label_source, scheme, arm, probe, init, budget, train_region, test_region
