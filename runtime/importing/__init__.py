"""Mappings from what people already have: templates, `serverless.yml` and a live account become a draft of `esm.yaml`.

    reading     file -> values that know their lines        sam, serverless   -> CloudFormation, the one road
    parameters  what is given from outside                  intrinsics        Ref, Fn::Sub, conditions...
    resources   names and ARNs of queues, streams, tables   cloudformation    resources -> draft
    account     a live account -> draft                     draft, writing    draft -> text of `esm.yaml`, or YAML nodes
    findings    what was carried over, what was not, and what is to be given

Everything but `account` and the reading of files is pure. What cannot be known becomes a reference to an environment variable
(a `Gap`), what cannot be carried over becomes a finding: nothing is dropped in silence, and nothing is guessed.
"""
