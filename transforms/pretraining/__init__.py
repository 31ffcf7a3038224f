"""Pre-training of a small head on frozen embeddings, and whether it saves labels.

Belongs here: the head, contrastive views and loss, fine-tuning on label budgets, the study of its arms. Does not:
reading (`warehouse/chips.py`), intervals (`transforms/inference.py`).

Inspired by Embedding Earth (arXiv 2203.06041): contrastive pre-training before few labels. It is not a reproduction:
there a network is pre-trained on images, here a head of some thousand weights on embeddings that stay as they are.
"""
