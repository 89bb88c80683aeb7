"""What `esm tail` shows: a mapping of a running worker, or a source itself.

    feed, mapping_text     the worker's own lines, over its restarts; and as text
    stream_view, queue_view, source_text     what a source holds; and as text

screen     lines with or without colours, or JSON        columns   what both have in common
verdicts   what the filters of a mapping say of a record
"""
