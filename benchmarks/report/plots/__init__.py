"""Plots, each as PNG and SVG."""
