"""Runs records through a handler by the rules of a mapping, without touching their source: `esm replay` and `esm redrive`.

selection   which records, by --where, --from and --to        rules    how: of a mapping, or a source's defaults
lanes       records in, batches out, in order                 engine   invoke, decide, account, until every record has its fate
report      what became of them                               comparison   two handlers over the same batches
retained    records that a stream still holds                 show     what a person reads
"""
