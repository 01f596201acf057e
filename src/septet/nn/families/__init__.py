"""Families of architectures, one file each: a depth dial to a Hugging Face configuration."""
