"""EKS, in place of moto's: clusters that take their time, node groups with instances, add-ons, and who may do what.

What it refuses, and with which code, is from the API reference (https://docs.aws.amazon.com/eks/latest/APIReference/); messages
are as seen in public issues where there are any, else ours. `knobs.py` says what a test can set.
"""


def repair():
    """Does all of it."""
    # Not before it is needed: others only look into the catalog.
    from .service import replace_moto

    replace_moto()
