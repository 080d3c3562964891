"""Faults on demand: which call gets which."""

import random
from dataclasses import dataclass, field
from typing import Any

# Statuses that pass, as Modal's own clients see it.
PASSING = ["UNAVAILABLE", "CANCELLED", "INTERNAL", "UNKNOWN", "DEADLINE_EXCEEDED"]


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    kind "status": the call ends with `code` and `message`, and with the wait
    `retry_after` where that is set. `performed`: what was asked for has been
    done nevertheless, and the answer is lost.
    kind "reset": the connection breaks `when`: "before" the call is carried
    out, "unanswered" after it was and before an answer, "during" the answer, or
    "after" it.
    kind "stream": the same for the one stream ("before" and "unanswered" only).
    kind "cut": the connection breaks `after` so many bytes: of an answer that is a
    stream, frames included, or of the data in a request that is one or holds it.
    kind "delay": the answer comes `seconds` late.
    kind "silence": it never comes.
    """

    kind: str
    code: str = "UNAVAILABLE"
    message: str = ""
    retry_after: float | None = None
    performed: bool = False
    when: str = "before"
    seconds: float = 0.0
    after: int = 0


@dataclass
class Rule:
    """A fault for some calls: of one method or of any, about one sandbox or
    about any, the nth ones only (from 1) or all of them."""

    fault: Fault
    rpc: str | None
    sandbox: str | None
    nth: list[int] | None
    seen: int = 0

    def applies(self, rpc: str, sandbox: str) -> bool:
        if self.rpc not in (None, rpc) or self.sandbox not in (None, sandbox):
            return False
        self.seen += 1
        return self.nth is None or self.seen in self.nth


@dataclass
class Faults:
    """All that goes wrong at the moment."""

    rules: list[Rule] = field(default_factory=list)
    rate: float = 0.0
    chance: random.Random = field(default_factory=random.Random)

    def add(self, rule: dict[str, Any]) -> None:
        where = {key: rule.pop(key, None) for key in ("rpc", "sandbox", "nth")}
        self.rules.append(Rule(Fault(**rule), **where))

    def at_random(self, rate: float, seed: int) -> None:
        self.rate, self.chance = rate, random.Random(seed)

    def next(self, rpc: str, sandbox: str) -> Fault | None:
        # Every rule counts every call, so that rules do not shift each other.
        due = [rule.fault for rule in self.rules if rule.applies(rpc, sandbox)]
        if due:
            return due[0]
        if self.chance.random() < self.rate:
            return self._random()
        return None

    def _random(self) -> Fault:
        pick = self.chance.random()
        if pick < 0.5:
            code = self.chance.choice(PASSING)
            performed = self.chance.random() < 0.5
            return Fault("status", code=code, message="at random", performed=performed)
        if pick < 0.65:
            message = "slow down, at random"
            return Fault("status", "RESOURCE_EXHAUSTED", message, retry_after=0.1)
        if pick < 0.95:
            return Fault("stream", when=self.chance.choice(["before", "unanswered"]))
        # A broken connection fails every call on it, so these are rare.
        return Fault("reset", when=self.chance.choice(["before", "unanswered", "during", "after"]))
