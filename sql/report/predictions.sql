-- purpose: the pixels of the maps: label, and what each arm predicts for it while it is held out
-- grain: one row per year, label source, scheme, arm and pixel of a kept window
-- inputs: out_probe__predictions
select year, task, label_source, scheme, arm, "window", epsg, x_m, y_m, truth, pred
from out_probe__predictions
