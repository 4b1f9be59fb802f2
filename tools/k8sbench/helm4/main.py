"""The part of Helm's command line that the tool uses, on Helm 4's SDK.

`version`, `show chart`, `upgrade --install`, `uninstall` and `rollback`, with the defaults of Helm 4's own command line: `--wait` is the
`watcher`, objects are written by server-side apply.
"""

import argparse
import json
import sys

from helm_python import _native
from helm_python.chart import Chart
from helm_python.config import Config
from helm_python.errors import HelmError, HelmNotFoundError


def merged(one, other):
    """Returns values with others over them, as `--values` twice."""
    result = dict(one)
    for key, value in other.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result


def upgrade(said, config):
    values = {}
    for path in said.values:
        with open(path, encoding="utf8") as file:
            values = merged(values, json.load(file))
    options = {
        "timeout": said.timeout,
        "wait": "watcher" if said.wait else None,
        "description": said.description,
        "chart_repo_url": said.repo,
        "chart_version": said.version,
    }
    try:
        config.history(said.release, max_revisions=1)
    except HelmNotFoundError:
        config.install(said.chart, said.release, values, namespace=said.namespace, **options)
    else:
        config.upgrade(
            said.chart, said.release, values, namespace=said.namespace, max_history=said.history_max, **options
        )


def seconds(text):
    if not text.endswith("s"):
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds")
    return int(text[:-1])


def arguments():
    parser = argparse.ArgumentParser(prog="helm", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    version = commands.add_parser("version")
    version.add_argument("--template", required=True, choices=["{{.Version}}"])
    chart = argparse.ArgumentParser(add_help=False)
    chart.add_argument("--repo")
    chart.add_argument("--version")
    release = argparse.ArgumentParser(add_help=False)
    release.add_argument("--namespace", required=True)
    release.add_argument("--wait", action="store_true")
    release.add_argument("--timeout", type=seconds)
    show = commands.add_parser("show", parents=[chart])
    show.add_argument("what", choices=["chart"])
    show.add_argument("chart")
    up = commands.add_parser("upgrade", parents=[chart, release])
    up.add_argument("--install", action="store_true", required=True)
    up.add_argument("release")
    up.add_argument("chart")
    up.add_argument("--description")
    up.add_argument("--history-max", type=int)
    up.add_argument("--values", action="append", default=[])
    uninstall = commands.add_parser("uninstall", parents=[release])
    uninstall.add_argument("release")
    uninstall.add_argument("--debug", action="store_true")
    rollback = commands.add_parser("rollback", parents=[release])
    rollback.add_argument("release")
    rollback.add_argument("revision", type=int)
    return parser.parse_args()


def main():
    said = arguments()
    if said.command == "version":
        print(f"v{_native.helm_sdk_version().removeprefix('v')}", end="")
        return
    if said.command == "show":
        for key, value in Chart.load(said.chart).metadata.items():
            print(f"{key}: {json.dumps(value)}")
        return
    wait = "watcher" if said.wait else None
    with Config(namespace=said.namespace) as config:
        if said.command == "upgrade":
            upgrade(said, config)
        elif said.command == "uninstall":
            config.uninstall(said.release, timeout=said.timeout, wait=wait)
        else:
            config.rollback(said.release, version=said.revision, timeout=said.timeout, wait=wait)


if __name__ == "__main__":
    try:
        main()
    except HelmError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(1)
