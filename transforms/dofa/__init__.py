"""DOFA, the Dynamic One-For-All encoder: images of any bands to one vector a patch.

Belongs here: the published architecture (Xiong et al. 2024, arXiv 2403.15356), its weights by name, its input scaling.
Does not: files (`warehouse/dofa_encoding.py`, `warehouse/dofa_checkpoint.py`). torch is handed in by whoever imported
it (`encoder.py`), so that everything but the encoder can be read without it.

Weights are a mapping from published names to tensors, and each layer is a function of the weights that it reads: the
names are those of the checkpoints, so that nothing is renamed on loading.
"""
