"""Import by COPY and a staging table, on PostgreSQL."""
