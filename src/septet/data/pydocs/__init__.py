"""How the documentation of an installed Python is read: `syntax` (source by ast), `compiled` (C modules), `names` (public names).

Not a source itself: `septet.data.sources.python_docs` puts the parts together.
"""
