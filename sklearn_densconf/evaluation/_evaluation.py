"""Evaluation: what was measured, and its report."""

import json
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from sklearn_densconf._files import whole_files
from sklearn_densconf.evaluation._case import Case, collect_findings, show_cases
from sklearn_densconf.evaluation._figures import check_formats, save_figure
from sklearn_densconf.evaluation._report import Words, as_page
from sklearn_densconf.evaluation._run import without_arrays
from sklearn_densconf.evaluation._tables import losses_table


class Evaluation:
    """What was measured of fitted pipelines: numbers, tables, figures and a report.

    Made by :func:`evaluate`.

    Parameters
    ----------
    measured : dict
        The results, with the pictures that are shown.
    cases : iterable of Case
        The cases that were measured.
    compared : sequence of str
        Names among which winners are sought.
    words : Words
        What the report says beside the numbers.

    Attributes
    ----------
    results : dict
        All numbers, as JSON can hold them: "runs" has, under the name of each case, what it
        measured; "left_out" says why cases were not.
    """

    def __init__(
        self,
        measured: dict[str, Any],
        cases: Iterable[Case],
        compared: Sequence[str],
        words: Words,
    ) -> None:
        self.results: dict[str, Any] = without_arrays(measured)
        self._shown = show_cases(cases, measured, compared)
        self._compared = compared
        self._words = words

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each measure: who is better at what.

        Returns
        -------
        list of dict
            "measure", "pictures", the number under the name of each pipeline (its mean over the
            runs), and "better": a name, or "even". ``pandas.DataFrame(evaluation.rows())`` is a
            table of them.
        """
        return [
            {"measure": f"{finding.measure.name} ({finding.measure.note})"}
            | {"pictures": finding.pictures}
            | {name: float(values.mean()) for name, values in finding.values.items()}
            | {"better": finding.winner}
            for finding in collect_findings(self._shown)
        ]

    def losses(self) -> str:
        """Return as text what each pipeline loses; the usual confidence, the first, comes last.

        Returns
        -------
        str
            A table for each: the measure, its own number, the best one, and whose that is.
        """
        findings = collect_findings(self._shown)
        if not findings:
            return "nothing was compared: give several pipelines, the usual confidence first"
        tables = [(name, losses_table(findings, name)) for name in reversed(self._compared)]
        return "\n\n".join(
            table.as_text() if table.rows else f"{name} loses nothing that was measured"
            for name, table in tables
        )

    def figures(self) -> dict[str, Any]:
        """Draw the figure of each case that has one.

        Returns
        -------
        dict of str to matplotlib Figure
            Figures under the names of their cases.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        return {case.name: case.draw(shown) for case, shown in self._shown if case.draw}

    def save(self, folder: str | PathLike[str], *, formats: Sequence[str] = ("svg",)) -> Path:
        """Write report, results and figures: all of them, or, if anything fails, none.

        Parameters
        ----------
        folder : path
            Where to write ``report.html``, ``results.json`` and the figures; made if missing.
            Files of the same names are replaced.
        formats : sequence of str, default=("svg",)
            Suffixes of further formats of the figures, such as "png"; SVG is always written.

        Returns
        -------
        Path
            The report.

        Raises
        ------
        ImportError
            If matplotlib or Pillow is not installed.
        ValueError
            If matplotlib does not know a format.
        OSError
            If the folder cannot be written.
        """
        check_formats(formats)
        text = json.dumps(self.results, indent=1, ensure_ascii=False, allow_nan=False)
        page = as_page(self._shown, self._compared, self._words)
        figures = self.figures()
        with whole_files(Path(folder)) as unfinished:
            for name, figure in figures.items():
                save_figure(figure, unfinished / name, formats)
            (unfinished / "report.html").write_text(page, encoding="utf-8")
            (unfinished / "results.json").write_text(text + "\n", encoding="utf-8")
        return Path(folder) / "report.html"

    def __str__(self) -> str:
        """Return all tables as text."""
        lines = [self._words.about]
        for case, shown in self._shown:
            for title, table in case.tables(shown):
                lines += [f"\n{case.title}{title and f': {title}'}", table.as_text()]
        return "\n".join(lines)

    def __repr__(self) -> str:
        """Name what was compared, and in which cases."""
        cases = ", ".join(case.name for case, _ in self._shown)
        return f"<Evaluation of {', '.join(self._compared)}: {cases}>"
