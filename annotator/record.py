"""`Record`: what became of one photograph, to be counted and shown later."""

import json
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A reason for which a photograph was refused: its short name, and the same in plain words."""

    name: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Record:
    """A photograph's `key` in the run, the name of the file or row it came from (`source`), why it
    was refused (nothing: it was kept), and what was measured on it (finite numbers)."""

    key: str
    source: str
    refusals: tuple[Refusal, ...]
    figures: Mapping[str, float]

    @property
    def kept(self) -> bool:
        """Nothing spoke against it."""
        return not self.refusals

    def to_json(self) -> str:
        """One line of JSON; equal records give equal text."""
        about = {
            "key": self.key,
            "source": self.source,
            "refusals": [[refusal.name, refusal.text] for refusal in self.refusals],
            "figures": dict(self.figures),
        }
        return json.dumps(about, sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "Record":
        """The record that `to_json` wrote. Errors: `ValueError` for anything else."""
        try:
            about = json.loads(text)
            return cls(
                key=str(about["key"]),
                source=str(about["source"]),
                refusals=tuple(
                    Refusal(name=str(name), text=str(reason)) for name, reason in about["refusals"]
                ),
                figures={str(name): float(value) for name, value in about["figures"].items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not the record of a photograph: {text[:80]!r}") from error
