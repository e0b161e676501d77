"""Two commits side by side: what is said of their figures, and that each side runs its own program and no other."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import gitrepo
import psutil
import pytest

from tests.bench.compare import Pair, in_turn, paired, remarked
from tests.bench.sides import Run, foreign

ROOT = Path(__file__).parent.parent
COMPARE = (
    "import sys; from tests.bench.compare import compare; sys.exit(compare({}, [], pairs=3, quick=True, as_json=True))"
)
# A bench as every revision has one: rows, and a document for each. Its rows print what the program says of itself.
BENCH = """
import json, os, subprocess, sys
from pathlib import Path

ROWS = {rows}
root = Path(__file__).parents[2]

def value():
    environ = dict(os.environ, PYTHONPATH={path})
    return float(subprocess.run((sys.executable, "-m", "reconciler"), cwd="/", env=environ, capture_output=True).stdout)

if __name__ == "__main__":
    {before}
    row = dict(what=sys.argv[1], unit="ms", value=value())
    print(json.dumps(dict(rows=[row], broken=dict())))
"""


def a_pair(old, new, unit="ms"):
    return Pair(row="start", what="status", unit=unit, old=tuple(old), new=tuple(new))


def a_run(unit="ms", **figures):
    return Run(figures={(what, unit): value for what, value in figures.items()})


@dataclass
class Told:
    """A side that tells in which order it was asked."""

    name: str
    order: list
    rows: tuple = ("start",)
    runs: list = field(default_factory=lambda: [a_run(status=1.0)] * 9)

    def run(self, row, *, quick):
        self.order.append(self.name)
        return self.runs.pop(0)


class Tree:
    """A repository with a program and its bench in it: as committed, and as it is changed since."""

    def __init__(self, folder):
        self.repo = gitrepo.make(folder)
        self.tmp = folder / "tmp"
        self.tmp.mkdir()
        for name in ("__init__.py", "compare.py", "earlier.py", "sides.py", "figures.py"):
            self.repo.write({f"tests/bench/{name}": (ROOT / "tests/bench" / name).read_bytes()})

    def says(self, number, *, rows=("start",), path="str(root)", before="pass"):
        """Write the program and its bench: it says a number."""
        bench = BENCH.format(rows=rows, path=path, before=before)
        program = {"reconciler/__init__.py": "", "reconciler/__main__.py": f"print({number})\n"}
        self.repo.write({"tests/bench/__main__.py": bench, **program})

    def begin(self, revision="HEAD"):
        argv = (sys.executable, "-c", COMPARE.format(repr(revision)))
        environ = {**self.repo.environ, "PYTHONPATH": str(self.repo.path), "TMPDIR": str(self.tmp)}
        return subprocess.Popen(argv, cwd="/", env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def compared(self, revision="HEAD"):
        """The exit status, the document, and what was said beside it."""
        process = self.begin(revision)
        out, err = process.communicate()
        assert list(self.tmp.iterdir()) == []
        return process.returncode, json.loads(out or "{}"), err


def is_alive(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)


def test_a_figure_is_the_median_of_its_runs_and_its_spread_their_range_as_a_part_of_that():
    told = a_pair([10, 12, 11], [22, 20, 31]).document

    assert told["old"] == {"values": [10, 12, 11], "median": 11, "spread": 2 / 11}
    assert told["new"] == {"values": [22, 20, 31], "median": 22, "spread": 0.5}
    assert told["ratio"] == 2


@pytest.mark.parametrize(
    ("old", "new", "unit", "verdict"),
    [
        ([10, 11, 12], [16, 15, 14], "ms", "within noise"),  # further apart than either range, not than both together
        ([10, 11, 12], [17, 16, 15], "ms", "slower"),
        ([15, 16, 17], [10, 11, 12], "ms", "faster"),
        ([10, 11, 40], [15, 16, 17], "s", "within noise"),
        ([80, 80, 80], [90, 90, 91], "MB", "more"),
        ([0, 0, 0], [1, 1, 1], "", "more"),
        ([1, 1, 1], [0, 0, 0], "", "less"),
        ([0, 0, 0], [0, 0, 0], "", "within noise"),
        ([10, 10], [90, 90], "ms", "too few runs"),
        ([10, 10, 10], [], "ms", "only old"),
        ([], [10, 10, 10], "ms", "only new"),
    ],
)
def test_a_difference_counts_where_the_spread_does_not_explain_it(old, new, unit, verdict):
    assert a_pair(old, new, unit).verdict == verdict


def test_with_more_runs_a_smaller_difference_counts():
    old, new = [10, 11, 12], [13, 14, 15]

    assert [a_pair(old * times, new * times).verdict for times in (1, 2)] == ["within noise", "slower"]


def test_nothing_is_divided_by_a_median_of_zero():
    told = a_pair([0, 0, 1], [1, 1, 1]).document

    assert (told["ratio"], told["old"]["spread"]) == (None, None)


def test_figures_are_paired_by_what_they_say_and_by_their_unit():
    old, new = [a_run(same=1.0, before=2.0), a_run(same=1.5)], [a_run(since=3.0, same=4.0)]

    found = {(pair.what, pair.unit): (pair.old, pair.new) for pair in paired("start", old, new)}

    assert found == {
        ("since", "ms"): ((), (3.0,)),
        ("same", "ms"): ((1.0, 1.5), (4.0,)),
        ("before", "ms"): ((2.0,), ()),
    }
    assert [pair.verdict for pair in paired("start", [a_run(x=1.0)], [a_run("s", x=1.0)])] == ["only new", "only old"]


def test_the_sides_run_in_turn_and_each_goes_first_as_often():
    order = []

    in_turn("start", (Told("old", order), Told("new", order)), 4, quick=True)

    assert order == ["old", "new", "new", "old"] * 2


def test_a_row_that_a_side_lacks_or_breaks_is_named_and_not_run_again():
    order, good, broken = [], a_run(status=1.0), Run(why="RuntimeError: no", broken=True)
    both = Told("old", order, rows=()), Told("new", order, runs=[good, broken])

    runs = in_turn("start", both, 3, quick=True)

    assert order == ["new", "new"]
    assert [(r.side, r.why, r.broken) for r in remarked("start", both, runs)] == [
        ("old", "its bench has no such row", False),
        ("new", "RuntimeError: no", True),
    ]


@pytest.mark.parametrize(
    ("module", "argv", "path"),
    [
        ("/other/reconciler/cli.py", ["python", "-m", "reconciler"], "/tree"),
        ("/tree-2/reconciler/cli.py", ["python", "-m", "reconciler"], "/tree"),
        ("/tree/reconciler/cli.py", ["python", "-m", "reconciler", "watch"], ""),
        ("/tree/reconciler/cli.py", ["/bin/reconcile", "watch"], "/other:/tree"),
        ("/tree/reconciler/cli.py", ["python", "-I", "-S", "/other/reconciler/shim.py", "/runs/1"], "/tree"),
    ],
)
def test_a_run_that_another_program_had_a_part_in_is_found_out(module, argv, path):
    assert foreign({"modules": [module], "started": [(argv, path)]}, Path("/tree"))


def test_a_run_of_one_tree_alone_is_not_suspected():
    started = [
        (["python", "-m", "reconciler"], "/tree"),
        (["/bin/reconcile", "status"], "/tree:/more"),
        (["python", "-I", "-S", "/tree/reconciler/runners/supervisor.py", "/runs/1"], ""),
        (["python", "-c", "pass"], ""),
    ]

    assert (
        foreign({"modules": ["/tree/reconciler/cli.py", "/tree/tests/gitrepo.py"], "started": started}, Path("/tree"))
        == []
    )


def test_each_side_runs_the_program_that_was_asked_for(tree):
    tree.says(1, rows=("start", "gone"))
    tree.repo.commit()
    tree.says(2, rows=("start", "fresh"))
    tree.repo.write({"reconciler/__main__.py": "from reconciler.untracked import number\nprint(number)\n"})
    tree.repo.write({"reconciler/untracked.py": "number = 3\n"})

    code, told, _ = tree.compared()

    values = {row["what"]: [side and side["values"] for side in (row["old"], row["new"])] for row in told["rows"]}
    assert values == {"start": [[1] * 3, [3] * 3], "fresh": [None, [3] * 3], "gone": [[1] * 3, None]}
    assert [row["verdict"] for row in told["rows"]] == ["slower", "only new", "only old"]
    assert [(r["row"], r["side"], r["broken"]) for r in told["remarks"]] == [
        ("fresh", "old", False),
        ("gone", "new", False),
    ]
    assert code == 0


def test_figures_of_another_program_are_refused(tree):
    tree.says(1, path='""')
    tree.repo.commit()
    tree.says(2)

    code, told, _ = tree.compared()

    assert [(row["verdict"], row["new"]["values"]) for row in told["rows"]] == [("only new", [2] * 3)]
    assert [(remark["side"], remark["broken"]) for remark in told["remarks"]] == [("old", True)]
    assert "-m reconciler (PYTHONPATH=)" in told["remarks"][0]["why"]
    assert code == 1


@pytest.mark.parametrize(
    "before",
    [
        "raise RuntimeError('no such thing')",
        "sys.exit(print(json.dumps(dict(rows=[], broken=dict(start='RuntimeError: no such thing')))) or 'Traceback')",
    ],
)
def test_a_row_that_breaks_on_one_side_is_shown_as_broken(tree, before):
    tree.says(1, before=before)
    tree.repo.commit()
    tree.says(2)

    code, told, said = tree.compared()

    assert told["remarks"] == [{"row": "start", "side": "old", "why": "RuntimeError: no such thing", "broken": True}]
    assert "Traceback" in said
    assert code == 1


def test_a_row_that_measures_nothing_says_why(tree):
    tree.says(
        1, before="sys.exit(print('start: left out', file=sys.stderr) or print('{\"rows\": [], \"broken\": {}}'))"
    )
    tree.repo.commit()
    tree.says(2)

    code, told, _ = tree.compared()

    assert [remark["why"] for remark in told["remarks"]] == ["nothing was measured: start: left out"]
    assert code == 0


def test_rows_stand_beside_those_that_a_file_holds_with_the_noise_of_both(tree):
    tree.says(7)
    runs = [{"rows": [row("start", n), row("gone", 1.0)], "broken": {}, "quick": True} for n in (1.0, 2.0, 3.0)]
    file = tree.tmp.parent / "before.json"
    file.write_text("\n".join(json.dumps(run, indent=2) for run in runs))

    code, told, _ = tree.compared(str(file))

    found = {each["what"]: each for each in told["rows"]}
    assert (found["start"]["old"], found["start"]["new"]["values"]) == (
        {"values": [1.0, 2.0, 3.0], "median": 2.0, "spread": 1.0},
        [7.0] * 3,
    )
    assert {what: each["verdict"] for what, each in found.items()} == {"start": "slower", "gone": "only old"}
    assert (code, told["old"]) == (0, "before.json")

    again = tree.tmp.parent / "compared.json"  # what a comparison printed: its new side
    again.write_text(json.dumps(told))
    _, told, _ = tree.compared(str(again))
    assert [(each["what"], each["verdict"]) for each in told["rows"]] == [("start", "within noise")]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "holds no figures"),
        ("[1]", "it is no table"),
        ('{"rows": [', "can't be read"),
        ('{"rows": [{"what": "start", "unit": "ms", "value": 1.0}], "quick": false}', "these are other worlds"),
    ],
)
def test_a_file_that_can_not_be_compared_with_is_an_error(tree, text, why):
    tree.says(1)
    file = tree.tmp.parent / "before.json"
    file.write_text(text)

    code, _, said = tree.compared(str(file))

    assert code == 2 and why in said


def row(what, value):
    return {"what": what, "unit": "ms", "value": value}


def test_a_revision_without_a_bench_is_an_error(tree):
    tree.says(1)

    code, _, said = tree.compared()

    assert (code, said) == (2, f"python -m tests.bench: error: HEAD ({tree.repo.head()[:7]}) has no tests/bench\n")


def test_a_revision_that_nobody_knows_is_an_error():
    argv = (sys.executable, "-m", "tests.bench", "--compare", "no-such-thing", "start")

    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no revision 'no-such-thing' here" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_is_stopped_leaves_neither_files_nor_processes(tree, number):
    mark = tree.tmp.parent / "mark"
    sleeps = f"subprocess.Popen(('sh', '-c', 'echo $$ > {mark}; exec sleep 600'), start_new_session=True).wait()"
    tree.says(1, before=sleeps)
    tree.repo.commit()

    with tree.begin() as process:
        while not mark.exists() or not mark.read_text().strip():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        process.communicate()

    assert process.returncode == 130
    assert list(tree.tmp.iterdir()) == []
    assert not is_alive(int(mark.read_text()))


@pytest.mark.slow
def test_the_real_program_and_its_supervisor_are_those_of_their_side(tmp_path):
    repo, ran = gitrepo.make(tmp_path), tmp_path / "ran"
    for name in ("reconciler", "tests", "manifests", ".claude"):
        shutil.copytree(ROOT / name, repo.path / name, ignore=shutil.ignore_patterns("__pycache__"))
    program, supervisor = "reconciler/__init__.py", "reconciler/runners/supervisor.py"
    begins = 'if __name__ == "__main__":\n'

    def marked(side):
        mark = f"open({str(ran)!r}, 'a').write('{side} {{}}\\n')\n"
        started = f"{begins}    {mark.format('supervisor')}"
        repo.write({program: f"{(ROOT / program).read_text()}\n{mark.format('program')}"})
        repo.write({supervisor: (ROOT / supervisor).read_text().replace(begins, started)})

    marked("old")
    repo.commit()
    marked("new")
    argv = (sys.executable, "-m", "tests.bench", "--compare", "HEAD", "memory", "--quick", "--pairs=1", "--json")
    done = subprocess.run(argv, cwd=repo.path, env=repo.environ, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr
    assert [row["verdict"] for row in json.loads(done.stdout)["rows"]] == ["too few runs"] * 2
    # A bench, once for its rows and once to measure, its watch, and the supervisor of that; what compares is new itself.
    assert Counter(ran.read_text().splitlines()) == {
        "old program": 3,
        "old supervisor": 1,
        "new program": 3 + 1,
        "new supervisor": 1,
    }
