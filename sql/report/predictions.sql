-- purpose: the places of the maps: label, what each arm predicts while it is held out, and its colour in that arm
-- grain: one row per year, label source, scheme, arm and patch or pixel of a kept window
-- inputs: out_probe__predictions
select year, task, label_source, scheme, arm, unit_id, "window", epsg, x_m, y_m, truth, pred, red, green, blue
from out_probe__predictions
