"""The SQLAlchemy adapter: engine, transactions, guards, locks and the framework's tables."""
