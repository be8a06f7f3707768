"""Operators that run stages, in DAGs made from documents and in handwritten ones."""
