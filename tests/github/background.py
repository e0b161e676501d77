"""Merging in the background: an order gets an id, and its result is asked for later."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from github import merging
from github.records import Order, Problem, QueueEntry
from github.repository import Repository

Reply = tuple[int, dict[str, Any]]


def submit(repository: Repository, order: Order) -> Reply:
    """Take an order. Only whether it is open, no draft and not ordered already is looked at now."""
    pull = repository.pull(order.number)
    waiting = [each for each in repository.orders if each.number == order.number and each.status == "pending"]
    if waiting:
        return 409, _told(waiting[0], "A merge request is already pending for this pull request.")
    if pull.state == "MERGED":
        return 200, {"status": "merged", "details": {"message": "Pull Request is merged", "sha": pull.merge_commit}}
    if pull.state == "CLOSED" or pull.draft:
        why = "Pull Request is closed" if pull.state == "CLOSED" else "Pull Request is still a draft"
        return 400, {"status": "failed", "details": {"message": why}}
    order.uuid, order.reads, order.expected = str(uuid4()), repository.background_reads, order.expected or pull.head
    repository.orders.append(order)
    return 202, _told(order, "Merge request accepted.")


def poll(repository: Repository, number: int, uuid: str) -> Reply:
    """How far an order is; it is carried out once it has been asked for often enough. Raises Problem."""
    order = next((each for each in repository.orders if (each.number, each.uuid) == (number, uuid)), None)
    if order is None:
        raise Problem("Not Found", status=404)
    if order.status == "pending" and order.reads > 0:
        order.reads -= 1
    elif order.status == "pending":
        _carry_out(repository, order)
    return 200, _told(order, order.said or "The merge is pending.")


def work(repository: Repository) -> None:
    """Carry out what nobody has to ask about first, whoever asks for whatever."""
    for order in repository.orders:
        if order.status == "pending" and order.reads <= 0:
            _carry_out(repository, order)
    if repository.queue_merges:
        for pull in [pull for pull in repository.opened() if pull.queue]:
            merging.merge_from_queue(repository, pull.number)


def _carry_out(repository: Repository, order: Order) -> None:
    pull = repository.pull(order.number)
    queue = repository.rules_of(pull).queue and order.action != "direct_merge"
    try:
        if queue:
            pull.queue = QueueEntry(by=order.by, at=repository.site.now(), base=pull.tip)
            order.status, order.said = "enqueued", "Pull Request was added to the merge queue"
            return
        order.landed = merging.merge(
            repository, order.number, order.method, by=order.by, expected=order.expected, title=order.title,
            body=order.body,
        )  # fmt: skip
        order.status, order.said = "merged", "Pull Request successfully merged"
    except Problem as problem:
        order.status, order.said = "failed", problem.message


def _told(order: Order, message: str) -> dict[str, Any]:
    details: dict[str, Any] = {"message": message}
    if order.status == "merged":
        details["sha"] = order.landed
    if order.status in ("pending", "enqueued"):
        details |= {
            "uuid": order.uuid,
            "merge_method": order.method.lower(),
            "merge_action": order.action,
            "expected_head_sha": order.expected,
        }
    return {"status": order.status, "details": details}
