"""Measurements that each make one result file, from which one table of the documentation is written."""
