#!/usr/bin/python3
"""Compares two runs of CPython's test suite, test by test.

    compare_junit.py [--modules | --listed] PLAIN OTHER LIST [MODULE]...

PLAIN and OTHER are directories of regrtest's --junit-xml files: 1.xml, and 2.xml, ... of modules that were run again. LIST
holds the names of the tests of these modules that must differ; no other one may, but with --listed (without MODULE: of
all). Prints what is not so, or with --modules the modules that it concerns; the exit status is 1 then.
"""
import pathlib
import sys
import xml.etree.ElementTree


def module_of(name):
    """The name that regrtest knows a test's module by: ctypes' and distutils' tests lie elsewhere."""
    parts = name.split(".")
    return parts[1] if parts[0] == "test" and len(parts) > 1 else "test_" + parts[0]


def results_of(file):
    """What became of each test; one that ran several times (subtests, expected names twice) has all its results."""
    results = {}
    for case in xml.etree.ElementTree.parse(file).iter("testcase"):
        kinds = {child.tag for child in case if child.tag in ("failure", "error", "skipped")}
        if "skipped" in (case.get("result"), case.get("status")):
            kinds.add("skipped")
        results.setdefault(case.get("name"), set()).update(kinds or {"passed"})
    return results


def results_of_runs(directory):
    """Of a test that was run again, the last run counts."""
    results = {}
    for file in sorted(pathlib.Path(directory).glob("*.xml")):
        results.update(results_of(file))
    return results


def complaints(plain, other, listed):
    for name in sorted(plain.keys() | other.keys() | listed):
        was = "+".join(sorted(plain.get(name, {"not run"})))
        now = "+".join(sorted(other.get(name, {"not run"})))
        if was != now and name not in listed:
            yield name, f"{was} without, {now} with"
        elif was == now and name in listed:
            yield name, f"{now} both without and with, but should differ"


def main():
    arguments = sys.argv[1:]
    option = arguments.pop(0) if arguments[0].startswith("--") else None
    plain, other, list_file, *modules = arguments
    listed = set()
    for line in pathlib.Path(list_file).read_text().splitlines():
        if line and not line.startswith("#") and (not modules or module_of(line) in modules):
            listed.add(line)
    found = list(complaints(results_of_runs(plain), results_of_runs(other), listed))
    if option == "--listed":
        found = [(name, text) for name, text in found if name in listed]
    if option == "--modules":
        print(*sorted({module_of(name) for name, _ in found}))
    else:
        for name, text in found:
            print(f"{name}: {text}")
    return 1 if found else 0


sys.exit(main())
