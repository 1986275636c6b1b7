"""Import into PostgreSQL by COPY, directly or through staging tables."""
