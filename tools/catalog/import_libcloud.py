#!/usr/bin/env python3
"""Takes on-demand Linux prices of further regions from Apache Libcloud's data file into prices.csv.

    pip download --no-deps apache-libcloud==3.9.1 && unzip -p apache_libcloud-*.whl libcloud/data/pricing.json > pricing.json
    python tools/catalog/import_libcloud.py pricing.json

Libcloud flattens AWS' price list to one number per type and region, and which product it happened to keep
varies: shared tenancy, dedicated tenancy (6 or 10 % more) or a reservation (0). So a number is not taken at
face value:

* prices inside a family are proportional to size (in us-east-1 to 0.1 % for all 490 types read from the other
  source) and nothing is sold below the shared price, so the shared price of a family is its lowest price per
  unit of size;
* every other size must cost the same per unit, or 6 or 10 % more; a family that does not fit is left out;
* where all sizes cost the same they might all be dedicated ones: such a family is left out if, relative to
  us-east-1, it costs 4 % more than the median of its class (c, m, r or t) in the region;
* sizes at that unit price are taken as they are: source `libcloud-3.9.1`;
* sizes whose number is a dedicated or reserved one get size x unit price: source `libcloud-3.9.1-scaled`,
  so that whoever reads the price sees that it was worked out;
* a family with a single size, and a type that Libcloud does not list in the region, get nothing.

Applied to us-east-1 the rule gives the same price as the other source for every type; the script checks that.
"""

import csv
import datetime
import json
import pathlib
import sys
from collections import defaultdict
from fractions import Fraction
from statistics import median

HERE = pathlib.Path(__file__).parent
FAMILIES = """c5 c5a c5d c5n c6a c6i c7a c7i c7i-flex m5 m5a m6a m6i m7a m7i m7i-flex r5 r6i t3 t3a""".split()
# Regions of the standard partition; GovCloud has other prices and China another currency.
SKIP = ("us-gov-", "cn-", "us-west-2-lax")
BELOW_XLARGE = {"nano": 1, "micro": 2, "small": 4, "medium": 8, "large": 16, "xlarge": 32}
AGREEMENT = Fraction(2, 100)
MARKUPS = (Fraction(106, 100), Fraction(110, 100))
ROUNDING = Fraction(15, 1000)
DEARER = Fraction(4, 100)


def weight(size):
    """Size relative to a sixteenth of `large`; none for bare metal."""
    if size in BELOW_XLARGE:
        return BELOW_XLARGE[size]
    return 32 * int(size[: -len("xlarge")]) if size.endswith("xlarge") else None


def tiers(sizes):
    """Shared price per unit of size, and whether another tenancy proves it; none if the sizes do not fit."""
    units = sorted(price / weight(size) for size, price in sizes.items() if price > 0)
    if len(units) < 2:
        return None
    steps = [unit / units[0] for unit in units]
    dedicated = [step for step in steps if step > 1 + AGREEMENT]
    if all(any(abs(step - markup) <= ROUNDING for markup in MARKUPS) for step in dedicated):
        return units[0], bool(dedicated)
    return None


def main():
    document = json.loads(pathlib.Path(sys.argv[1]).read_text(), parse_float=Fraction)
    date = datetime.datetime.fromtimestamp(document["updated"], datetime.timezone.utc).date().isoformat()
    table = defaultdict(lambda: defaultdict(dict))
    for name, regions in document["compute"]["ec2_linux"].items():
        family, _, size = name.partition(".")
        if family in FAMILIES and weight(size):
            for region, price in regions.items():
                if not region.startswith(SKIP):
                    table[region][family][size] = Fraction(price)

    path = HERE / "prices.csv"
    kept = [row for row in csv.DictReader(path.open()) if not row["source"].startswith("libcloud")]
    known = {(row["region"], row["item"]): Fraction(row["price"]) for row in kept}
    added, checked = [], 0
    home = {family: known["us-east-1", f"{family}.xlarge"] / weight("xlarge") for family in FAMILIES}
    for region, families in sorted(table.items()):
        found = {family: tiers(sizes) for family, sizes in families.items()}
        ratios = {family: unit[0] / home[family] for family, unit in found.items() if unit}
        for family, sizes in sorted(families.items()):
            positive = {size: price for size, price in sizes.items() if price > 0}
            if found[family] is None:
                print(f"{region} {family}: the sizes do not fit, left out", file=sys.stderr)
                continue
            unit, proven = found[family]
            usual = median(ratio for other, ratio in ratios.items() if other[0] == family[0])
            if not proven and ratios[family] > usual * (1 + DEARER):
                print(f"{region} {family}: {float(ratios[family] / usual):.3f} of its class, left out", file=sys.stderr)
                continue
            # The largest size that agrees carries the least rounding.
            base = max((s for s, p in positive.items() if p <= unit * (1 + AGREEMENT) * weight(s)), key=weight)
            for size, price in sorted(sizes.items()):
                direct = 0 < price <= unit * (1 + AGREEMENT) * weight(size)
                if not direct:
                    price = positive[base] * weight(size) / weight(base)
                reference = known.get((region, f"{family}.{size}"))
                if reference is not None:
                    checked += 1
                    if abs(price - reference) > Fraction(1, 200) * reference:
                        sys.exit(f"{region} {family}.{size}: {float(price)} against {float(reference)}")
                    continue
                if region == "us-east-1":
                    continue
                source = "libcloud-3.9.1" if direct else "libcloud-3.9.1-scaled"
                text = f"{float(round(price, 6)):.6f}".rstrip("0")
                added.append(dict(item=f"{family}.{size}", region=region, price=text, unit="hour", date=date, source=source))
    rows = kept + added
    rows.sort(key=lambda row: (row["region"] != "us-east-1", row["region"], row["unit"] != "hour", row["item"]))
    with path.open("w", newline="") as out:
        writer = csv.DictWriter(out, ["item", "region", "price", "unit", "date", "source"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(kept)} rows kept, {len(added)} taken, {checked} of us-east-1 agree", file=sys.stderr)


if __name__ == "__main__":
    main()
