"""What containers do, by their image: whatever a test says, or they just run."""

import re

from cluster.control import Wrong

# Name -> what it means.
KNOWN = {
    "image": "pattern that is sought in the image",
    "pod": "pattern that is sought in the name of the pod",
    "pull": "words with which the registry refuses the image",
    "private": "true: the registry refuses whoever names no secret with a login for it",
    "refused": "list of names of users whose login the registry refuses",
    "runner": "true: the container is GitLab's runner, which `runner.py` plays",
    "log": "lines that the container says",
    "exit": "code with which it ends",
    "after": "seconds after which it ends",
    "ready_after": "seconds after which it is ready; below 0 never",
    "stop_after": "seconds that it takes to end once told to",
    "reason": "why it ends, such as OOMKilled",
    "environment": "variables more, for a runner",
}
# The vendor's image of the runner, wherever it is mirrored to.
RUNNER = {"image": r"dataops-runner(?![\w/-])", "runner": True}


class Rules:
    """The first that fits says all."""

    def __init__(self):
        self.said = []

    def add(self, rule):
        for key in rule:
            if key not in KNOWN:
                raise Wrong(f"{key} is not a part of a rule; there are {', '.join(KNOWN)}")
        re.compile(rule.get("image", "")), re.compile(rule.get("pod", ""))
        # What is said last is meant.
        self.said = [rule, *self.said]

    def clear(self, body):
        """Forgets all, or those for the pods of a pattern."""
        self.said = [rule for rule in self.said if "pod" in body and rule.get("pod") != body["pod"]]

    def of(self, image, pod):
        fits = [
            rule
            for rule in [*self.said, RUNNER]
            if re.search(rule.get("image", ""), image) and re.search(rule.get("pod", ""), pod)
        ]
        # A rule for the runner's image changes something, but it stays the runner, unless the rule says otherwise.
        return {**fits[-1], **fits[0]} if fits else {}
