"""The small core: components, artifacts, recipes, events. No torch, no web."""
