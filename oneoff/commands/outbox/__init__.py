"""List and deliver effects outside the database: mails, calls, jobs."""
