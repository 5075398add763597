"""A gallery on a PostgreSQL server with pgvector, for several machines. The only place that imports psycopg."""
