"""What a command line says of a template: `--parameter`, `--region` and their like."""

import argparse

from runtime.importing.resolver import Given


def given_by(arguments: argparse.Namespace) -> Given:
    return Given(
        parameters=dict(arguments.parameter),
        region=arguments.region,
        account=arguments.account_id,
        stack=arguments.stack_name,
        stage=arguments.stage,
    )
