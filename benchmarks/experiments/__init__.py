"""The measurements behind single tables of the documentation."""
