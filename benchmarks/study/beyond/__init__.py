"""What pays beyond AMG: narrower MLPs and fewer blocks at equal cost."""
