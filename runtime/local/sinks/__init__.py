"""Where failure records can be sent: SNS, S3, EventBridge and Lambda as recorders. What they received can be read; no more."""
