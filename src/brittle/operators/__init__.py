"""Layers as linear operators, and a model as a graph of them. The only folder that knows layer classes."""
