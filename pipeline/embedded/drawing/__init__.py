"""Primitives that the embedded datasets are drawn with: noise fields, materials, outlines, light and camera."""
