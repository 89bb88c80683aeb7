"""DynamoDB in memory, with its streams: tables, items, time to live, shards that roll over and split."""
