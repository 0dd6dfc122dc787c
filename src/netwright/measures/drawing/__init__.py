"""Pictures of networks, from their real flow of data."""

from netwright.measures.drawing.diagram import diagram, drawn

__all__ = ["diagram", "drawn"]
