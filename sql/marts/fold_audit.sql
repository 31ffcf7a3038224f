-- purpose: what the folds are worth: sizes in use and why, and the findings of the audit, one line a scheme
-- grain: one row per year, label source, kind of unit and scheme
-- inputs: out_probe__fold_rules, out_probe__fold_audit (its worst fold)
create or replace view fold_audit as
with findings as (
    select
        year, label_source, unit, scheme,
        min(value) filter (where check_name = 'least_distance_m') as least_distance_m,
        sum(value) filter (where check_name = 'shared_unit_ids') as shared_unit_ids,
        sum(value) filter (where check_name = 'equal_vectors') as equal_vectors,
        max(value) filter (where check_name = 'near_duplicate_share') as near_duplicate_share,
        avg(value) filter (where check_name = 'coordinates_macro_f1') as coordinates_macro_f1,
        avg(threshold) filter (where check_name = 'coordinates_macro_f1') as majority_macro_f1,
        max(value) filter (where check_name = 'adversarial_auc') as adversarial_auc,
        max(value) filter (where check_name = 'classes_absent_in_training') as classes_absent_in_training,
        max(value) filter (where check_name = 'classes_absent_in_test') as classes_absent_in_test,
        max(value) filter (where check_name = 'class_share_gap') as class_share_gap,
        max(value) filter (where check_name = 'buffered_share') as buffered_share,
        count(*) filter (where status = 'failed') as n_failed,
        count(*) filter (where status = 'warn') as n_warned
    from out_probe__fold_audit
    group by year, label_source, unit, scheme
)
select
    r.year, r.label_source, r.unit, r.scheme, r.status, r.edge_m, r.buffer_m,
    r.label_range_m, r.is_label_range_found, r.feature_range_m, r.is_feature_range_found,
    r.n_folds, r.n_blocks, r.n_units, r.n_dropped,
    f.least_distance_m, f.shared_unit_ids, f.equal_vectors, f.near_duplicate_share,
    f.coordinates_macro_f1, f.majority_macro_f1, f.adversarial_auc,
    f.classes_absent_in_training, f.classes_absent_in_test, f.class_share_gap, f.buffered_share,
    f.n_failed, f.n_warned, r.reason, r.is_simulated
from out_probe__fold_rules as r
left join findings as f using (year, label_source, unit, scheme)
order by r.year, r.label_source, r.unit, r.scheme
