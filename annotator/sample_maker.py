"""`SampleMaker`: one listed photograph -> a sample of layers for training, or reasons against."""

from collections.abc import Mapping
from dataclasses import dataclass

from annotator.acceptance import Limits as AcceptanceLimits
from annotator.acceptance import Verdict, judge
from annotator.maker import Made
from annotator.opening import Limits as OpeningLimits
from annotator.opening import photograph
from annotator.pseudo_layers import Decomposer, Decomposition
from annotator.record import Record, Refusal
from annotator.refusal import PhotographError
from annotator.sources.entry import Entry
from ldm.storage import Provenance, Sample, StoredLayer


@dataclass(frozen=True, kw_only=True)
class SampleMaker:
    """Opens a photograph, takes it apart and judges the result. `history` says by what (versions
    and settings); it goes into each sample's provenance."""

    decomposer: Decomposer
    opening: OpeningLimits
    acceptance: AcceptanceLimits
    history: str

    def __call__(self, entry: Entry, /) -> Made:
        """The sample with its record; a photograph that cannot be opened is refused by name."""
        try:
            opened = photograph(entry, self.opening)
        except PhotographError as error:
            refusal = Refusal(name=error.reason.value, text=str(error))
            return _made(entry, None, (refusal,), {})
        decomposition = self.decomposer(opened)
        verdict = judge(decomposition, self.acceptance)
        sample = self._sample(decomposition) if verdict.kept else None
        return _made(entry, sample, _refusals(verdict), verdict.figures)

    def _sample(self, decomposition: Decomposition) -> Sample:
        origin = decomposition.photograph.provenance
        note = "; ".join(filter(None, [origin.note, self.history]))
        provenance = Provenance(
            source=origin.source, licence=origin.licence, author=origin.author, note=note
        )
        layers = tuple(
            StoredLayer(rgba=layer.rgba, prompt=layer.label, provenance=provenance)
            for layer in decomposition.layers
        )
        return Sample(key=decomposition.photograph.key, layers=layers, tags=("pseudo-layers",))


def _refusals(verdict: Verdict) -> tuple[Refusal, ...]:
    return tuple(Refusal(name=flaw.name, text=flaw.value) for flaw in verdict.flaws)


def _made(
    entry: Entry, sample: Sample | None, refusals: tuple[Refusal, ...], figures: Mapping[str, float]
) -> Made:
    record = Record(key=entry.key, source=entry.name, refusals=refusals, figures=figures)
    return Made(sample=sample, record=record)
