"""Single measurements behind the tables of the documentation."""
