"""Runs records through a handler by the rules of a mapping, without touching their source: `esm replay` and `esm redrive`.

selection, choosing, filtering   which records, by --where, --from and --to, and by the mapping's filters
functions, rules                 which handler, and how: the rules of a mapping, or a source's defaults
feeding, pace                    from a recording or a stream, at once or in the original rhythm
lanes, order                     records in, batches out, each shard and group in its order
engine, calling                  invoke, decide, account, until every record has its fate
report, comparison               what became of them; two handlers over the same batches
run, progress, show, sending     signals, the bar, the summary, the on-failure destination when it is asked for
"""
