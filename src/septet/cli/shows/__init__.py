"""What `septet STEP show NAME` prints: one file a kind of step, with a function `show(artifact, settings) -> str`.

septet corpus show text
"""
