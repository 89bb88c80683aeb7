"""Leases in a DynamoDB table, in the schema of the Kinesis Client Library (KCL) 3.5: Java workers can read and write it too.

    values     attribute values <-> ours            rows     one lease as KCL writes it
    lock       the leader's lock row                fleet    rows about workers and the version of the fleet; what a scan brings
    leases     a row <-> our Lease                  changes  every write as one conditional expression
    errors     what DynamoDB says <-> StateError    schema   the table itself: made, waited for, judged
    table      the operations                       store    the LeaseStore

The laws: every write is conditional; a row that exists is never written as a whole, so what others keep in it stays; and no row
is written that Java would misread (no empty owner, no other row than a lease without its `entityType`).
"""
