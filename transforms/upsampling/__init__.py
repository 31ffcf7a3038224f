"""Upsampling: patch vectors to vectors at points, such as pixel centres.

`operators.py` is the registry, `rows.py` the form in which any patch lattice is seen, and each operator has a module.
Nothing is re-exported here: import from the module that owns a name.
"""
