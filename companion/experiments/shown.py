"""Records as a chapter shows them: what they are about, and where each came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from companion.experiments.experiment import Experiment
from companion.experiments.results import Results

__all__ = ["Records", "record_name", "title"]


class Records(dict[str, Results | None]):
    """Records of an experiment by what they are about; None stands for one that is missing."""

    def there(self) -> dict[str, Results]:
        """Return those that there are."""
        return {name: results for name, results in self.items() if results is not None}

    def items_there(self) -> Iterator[tuple[str, Results]]:
        """Go through those that there are."""
        yield from self.there().items()

    def __ior__(self, other: Mapping[str, Results | None]) -> Records:  # type: ignore[override,misc]
        self.update(other)
        return self

    def __str__(self) -> str:
        return "\n".join(
            f"{name}. {results.line if results else 'Not yet recorded.'}"
            for name, results in self.items()
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from html import escape

        lines = [
            f"<strong>{escape(name)}.</strong> "
            f"{escape(results.line if results else 'Not yet recorded.')}"
            for name, results in self.items()
        ]
        return f'<p class="nop-records">{"<br>".join(lines)}</p>'


def title(experiment: Experiment) -> str:
    """Return what a recorded experiment is about: its images, or its name."""
    given = getattr(experiment, "title", None)
    return given if isinstance(given, str) else experiment.name()


def record_name(experiment: Experiment, ending: str = "") -> str:
    """Return the name of a record's file: the experiment, its data set, the size if not gpu."""
    name = getattr(experiment, "data", None)
    return experiment.name() + (f"-{name}" if name else "") + ending
