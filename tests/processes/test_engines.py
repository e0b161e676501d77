"""Engines that exist: a Slurm and hosts reached by ssh, both real, in a folder of the test. Skipped where they are not installed."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import slurm_cluster
import ssh_hosts
from nodes import Nodes
from slurm_cluster import Cluster
from ssh_hosts import SshHosts
from waiting import until

from reconciler.manifest.machines import wrong_options
from reconciler.model.errors import TemporaryError
from reconciler.model.names import RunId, RunKind, TaskId
from reconciler.model.observed import Cause, RunState, StopWhy
from reconciler.model.values import replace
from reconciler.model.venue import Venue, VenueKind

needs_slurm = pytest.mark.skipif(bool(slurm_cluster.missing()), reason=f"{slurm_cluster.missing()} is not installed")
needs_ssh = pytest.mark.skipif(bool(ssh_hosts.missing()), reason=f"{ssh_hosts.missing()} is not installed")
X = TaskId("x-1")


def made(folder: Path, kind: VenueKind, **more: object) -> Nodes:
    at = Venue(kind=kind, scratch=str(folder / "scratch"), sync_s=0.5, lease_s=6.0, **more)  # type: ignore[arg-type]
    return Nodes(folder, at)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path / "slurm", node_timeout=10) as up:
        yield up


@pytest.fixture
def slurm(cluster: Cluster, tmp_path: Path) -> Iterator[Nodes]:
    nodes = made(tmp_path, VenueKind.SLURM, options=("--cpus-per-task=1",))
    nodes.environ = {**nodes.environ, **cluster.environ, "HOME": nodes.environ["HOME"]}
    nodes.born()
    yield nodes
    nodes.clear("slurm")


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[SshHosts]:
    with SshHosts(tmp_path / "ssh") as up:
        yield up


@pytest.fixture
def ssh(hosts: SshHosts, tmp_path: Path) -> Iterator[Nodes]:
    nodes = made(tmp_path, VenueKind.SSH, hosts=hosts.names, options=hosts.options)
    yield nodes
    nodes.clear("ssh")


def come_back(nodes: Nodes) -> None:
    """Six tasks, with what they commit and what they do not."""
    tasks = [f"x-{n}" for n in range(4)]
    runs = [
        nodes.start(task, env={"RECONCILE_BASE": "main", "KEY": "a 'b' $c"}, pass_env=("A_TOKEN",)) for task in tasks
    ]
    for run in runs:
        seen = nodes.over(run)
        assert seen.exit and seen.exit.well, nodes.runner.log_tail(run)
        assert nodes.repo.content(f"agent/{run.subject}:work.txt").startswith(b"work of")
        assert nodes.spaces.salvage(TaskId(run.subject), nodes.venue)
    assert nodes.starts() == dict.fromkeys(tasks, 1)
    until(lambda: not nodes.left(), "the nodes to be cleared")
    refs = nodes.repo.git("for-each-ref", "--format=%(refname)", cwd=nodes.remote).splitlines()
    assert refs == [f"refs/reconcile/run/{task}" for task in tasks]


def is_stopped(nodes: Nodes) -> None:
    body = "(setsid sh -c 'trap \"\" TERM; sleep 301' &); echo dirty > half2.txt"
    run = nodes.start("x-1", steps=nodes.agent("x-1", body, beats=600))
    nodes.begun("x-1")
    until(lambda: nodes.run(run).state is RunState.RUNNING)
    nodes.runner.stop(run, StopWhy.PERSON)
    seen = nodes.over(run)
    assert seen.exit and (seen.exit.cause, seen.exit.stop) == (Cause.STOPPED, StopWhy.PERSON)
    saved = nodes.spaces.salvage(X, nodes.venue)
    assert saved and nodes.repo.content(f"{saved.commit}:half2.txt") == b"dirty\n"


@pytest.mark.skipif(shutil.which("sbatch") is None, reason="sbatch is not installed")
def test_every_letter_of_sbatch_is_judged_as_its_long_name_is(tmp_path: Path):
    (tmp_path / "slurm.conf").write_text("ClusterName=x\nSlurmctldHost=localhost\n")
    environ = {"SLURM_CONF": f"{tmp_path}/slurm.conf"}
    said = subprocess.run([shutil.which("sbatch"), "--help"], env=environ, capture_output=True, text=True).stdout
    options = re.findall(r"^  -(\w),? +--([a-z-]+)([= \[])", said, re.MULTILINE)
    assert len(options) > 25
    for letter, name, follows in options:
        refused = wrong_options("slurm", [f"--{name}"])
        assert bool(wrong_options("slurm", [f"-{letter}1"])) is bool(refused), name
        alone = follows == " " and not refused
        assert bool(wrong_options("slurm", [f"-{letter}H"])) is bool(refused or alone), name


# --- Slurm ---------------------------------------------------------------------------------------------------


@needs_slurm
def test_what_slurm_runs_comes_back_and_nothing_stays_on_its_nodes(slurm: Nodes):
    come_back(slurm)


@needs_slurm
def test_slurm_is_fit_and_says_what_of_it_is_not(slurm: Nodes):
    found = {each.name: each for each in slurm.engine().fit()}
    assert found["runner slurm"].found.startswith("slurm") and not found["runner slurm"].wrong
    assert not found["slurm KillWait"].wrong
    nodes = {each.name: each for each in slurm.engine().nodes("sh")}
    assert set(nodes) == {"node n1", "node n2", "node n3"}
    assert all("GiB free" in each.found for each in nodes.values()), nodes
    assert "linuxproc" in found["slurm ProctrackType"].found and found["slurm ProctrackType"].wrong


@needs_slurm
def test_a_run_that_waits_in_slurms_queue_says_why_and_can_be_stopped_there(slurm: Nodes, cluster: Cluster):
    cluster.run("scontrol", "update", "PartitionName=all", "State=DOWN")
    run = slurm.start("x-1")
    until(lambda: "PartitionDown" in slurm.run(run).remark, "the reason that it waits for")
    assert slurm.run(run).state is RunState.STARTING and not slurm.run(run).started
    slurm.runner.stop(run, StopWhy.PERSON)
    assert slurm.over(run).state is RunState.LOST
    until(lambda: not cluster.run("squeue", "-h", "-t", "PD").strip(), "its job to be cancelled")
    assert not slurm.starts()


@needs_slurm
@pytest.mark.slow
def test_a_run_in_slurm_is_stopped_with_all_it_started(slurm: Nodes):
    is_stopped(slurm)


@needs_slurm
@pytest.mark.slow
def test_a_run_that_slurm_ends_at_its_time_limit_says_so_and_its_work_is_saved(slurm: Nodes):
    slurm.venue = replace(slurm.venue, options=("--time=1",))
    run = slurm.start("x-1", steps=slurm.agent("x-1", "echo precious > precious.txt", beats=6000))
    until(lambda: not slurm.run(run).alive, "its minute to be over")
    seen = slurm.run(run)
    assert seen.exit and (seen.exit.cause, seen.exit.stop) == (Cause.STOPPED, StopWhy.ENGINE_LIMIT)
    assert "the time limit of its Slurm job is near" in slurm.runner.log_tail(run)
    saved = slurm.spaces.salvage(X, slurm.venue)
    assert saved and slurm.repo.content(f"{saved.commit}:precious.txt") == b"precious\n"


@needs_slurm
@pytest.mark.slow
@pytest.mark.parametrize("early", [True, False])
def test_a_controller_of_slurm_that_dies_costs_no_run_that_slurm_does_not_lose_itself(
    slurm: Nodes, cluster: Cluster, early: bool
):
    runs = [slurm.start(f"x-{n}", steps=slurm.agent(f"x-{n}", beats=100)) for n in range(3)]
    for run in runs if not early else ():
        slurm.begun(run.subject)
        until(lambda run=run: slurm.run(run).started)
    cluster.kill("slurmctld")
    with pytest.raises(TemporaryError):
        slurm.engine().jobs()
    assert all(run.alive for run in slurm.runner.runs().values())
    cluster.start_controller()
    for run in runs:
        seen = slurm.over(run)
        assert (seen.exit and seen.exit.well) or (early and seen.state is RunState.LOST) or (early and seen.exit)
    assert all(count == 1 for count in slurm.starts().values())


@needs_slurm
@pytest.mark.slow
def test_a_dead_node_of_slurm_is_given_up_and_another_goes_on_with_its_work(slurm: Nodes, cluster: Cluster):
    run = slurm.start("x-1", steps=slurm.agent("x-1", "echo precious > precious.txt", beats=6000))
    nodes_refs = slurm.spaces.elsewhere.refs(slurm.venue.remote)
    until(lambda: (seen := nodes_refs.one(X)) and seen.wip, "a renewal that holds it")
    node = slurm.node_of(run)
    cluster.kill(node)
    slurm.send(slurm.carriers(run), signal.SIGKILL)
    lost = slurm.over(run)
    assert lost.state is RunState.LOST and f"no word from {node}" in lost.remark
    again = slurm.start("x-1", 2, (("/bin/sh", "-c", "cat precious.txt"),))
    slurm.over(again)
    assert "precious" in slurm.runner.log_tail(again)


@needs_slurm
@pytest.mark.slow
def test_a_job_that_slurm_has_forgotten_is_known_by_its_ref(tmp_path: Path):
    with Cluster(tmp_path / "slurm", min_job_age=2) as cluster:
        nodes = made(tmp_path, VenueKind.SLURM)
        nodes.environ = {**nodes.environ, **cluster.environ, "HOME": nodes.environ["HOME"]}
        nodes.born()
        run = nodes.start("x-1")
        until(
            lambda: nodes.starts()["x-1"] and not cluster.run("squeue", "-h", "-t", "all").strip(), "Slurm to forget it"
        )
        nodes.born()
        seen = nodes.over(run)
        assert seen.exit and seen.exit.well
        nodes.clear("slurm")


# --- ssh -----------------------------------------------------------------------------------------------------


@needs_ssh
def test_what_is_run_by_ssh_comes_back_and_nothing_stays_on_the_hosts(ssh: Nodes):
    come_back(ssh)


@needs_ssh
def test_hosts_are_fit_and_one_that_does_not_answer_is_named(ssh: Nodes, hosts: SshHosts):
    hosts.kill("h2")
    (said,) = ssh.engine().fit()
    assert said.found == "2 of 3 hosts answer" and said.wrong.startswith("h2 does not") and not said.fatal
    found = {each.name: each for each in ssh.engine().nodes("sh")}
    assert not found["node h1"].wrong and "GiB free" in found["node h1"].found
    assert found["node h2"].wrong
    assert {each.name: each.wrong for each in ssh.engine().nodes("no-such-agent")}[
        "node h1"
    ] == "no-such-agent is missing"


@needs_ssh
def test_hosts_that_share_a_disk_count_their_own_jobs_alone(ssh: Nodes, hosts: SshHosts):
    ssh.venue = replace(ssh.venue, per_host=1)  # all of these hosts are this machine, with one scratch folder
    runs = [ssh.start(f"x-{n}", steps=ssh.agent(f"x-{n}", beats=6000)) for n in range(3)]
    assert {job.node for jobs in ssh.engine().jobs().values() for job in jobs} == set(hosts.names)
    with pytest.raises(TemporaryError, match="every host is full"):
        ssh.start("x-3")
    for run in runs:
        ssh.runner.stop(run, StopWhy.PERSON)
    for run in runs:
        ssh.over(run)


@needs_ssh
@pytest.mark.slow
def test_a_run_on_a_host_is_stopped_with_all_it_started(ssh: Nodes):
    is_stopped(ssh)


@needs_ssh
@pytest.mark.slow
def test_a_host_that_can_not_be_reached_any_more_goes_on_and_its_end_is_seen(ssh: Nodes, hosts: SshHosts):
    run = ssh.start("x-1", steps=ssh.agent("x-1", beats=60))
    ssh.begun("x-1")
    for host in hosts.names:
        hosts.kill(host)
    seen = ssh.over(run)
    assert seen.exit and seen.exit.well
    with pytest.raises(TemporaryError):
        ssh.start("x-2")
    assert ssh.run(RunId(RunKind.WORK, "x-2", 1)).state is RunState.LOST
