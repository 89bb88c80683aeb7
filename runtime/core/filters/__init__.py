"""The parts of `runtime.core.filtering`: from the text of a pattern to a test of records, and to words about its outcome."""
