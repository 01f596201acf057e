"""Pieces of C that are compiled on this machine when they are first needed, and done without where there is no compiler.

What it is not: needed. Each has the same in torch beside it, which is slower.

    python -c "from septet.nn.kernels.build import library; print(library('attention'))"
"""
