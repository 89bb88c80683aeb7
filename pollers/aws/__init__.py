"""The way to AWS: credentials, regions and endpoints from aiobotocore; its errors become `SourceError` here and nowhere else."""
