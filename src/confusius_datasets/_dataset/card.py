"""What a notebook shows of a dataset: a card in HTML, in the colours of its page; pure."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from confusius_datasets._text import format_nbytes

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Card"]

MOST_ROWS, MOST_COLUMNS = 30, 12
"""Subjects and columns that a card shows before it only counts the rest."""

STYLE = """
.cfd-card{--cfd-full:#2a7f4f;--cfd-line:#8886;font-size:.9em;max-width:60em;color:inherit}
.cfd-card h4{margin:.2em 0;font-size:1.1em}
.cfd-card p{margin:.2em 0}
.cfd-card code{font-size:.95em;overflow-wrap:anywhere;background:none;color:inherit}
.cfd-card .cfd-bar{height:.5em;max-width:24em;border:1px solid var(--cfd-line);border-radius:.3em;
overflow:hidden;margin:.3em 0}
.cfd-card .cfd-bar i{display:block;height:100%;background:var(--cfd-full)}
.cfd-card .cfd-wide{overflow-x:auto}
.cfd-card table{border-collapse:collapse;margin:.4em 0;color:inherit;background:none}
.cfd-card th,.cfd-card td{padding:.15em .6em;border:1px solid var(--cfd-line);text-align:right;
color:inherit;white-space:nowrap}
.cfd-card th{font-weight:600;text-align:left}
.cfd-card td{background:linear-gradient(to right,
color-mix(in srgb,var(--cfd-full) 35%,transparent) var(--cfd-part),transparent var(--cfd-part))}
@media (prefers-color-scheme:dark){.cfd-card{--cfd-full:#4fbf82}}
"""
"""Colours come from the page, so that the card is readable on a light and on a dark one."""


@dataclass(frozen=True)
class Card:
    """What is told of a dataset."""

    name: str
    root: str
    facts: Mapping[str, str]
    coverage: pd.DataFrame | None
    n_files: int
    n_here: int
    nbytes: int
    nbytes_here: int

    def to_html(self) -> str:
        """Write the card; every text in it is escaped."""
        facts = " · ".join(
            f"{html.escape(name)}: {html.escape(value)}"
            for name, value in self.facts.items()
            if value
        )
        part = self.nbytes_here / self.nbytes if self.nbytes else 1.0
        return "\n".join(
            [
                f'<style>{STYLE}</style><div class="cfd-card">',
                f"<h4>{html.escape(self.name)}</h4>",
                f"<p>{facts}</p>" if facts else "",
                f"<p><code>{html.escape(self.root)}</code></p>",
                f"<p>{format_nbytes(self.nbytes_here)} of {format_nbytes(self.nbytes)} on disk "
                f"({self.n_here} of {self.n_files} files)</p>",
                f'<div class="cfd-bar"><i style="width:{100 * part:.1f}%"></i></div>',
                self._table(),
                "</div>",
            ]
        )

    def _table(self) -> str:
        """Write the table of subjects: recordings on disk of all, in each cell."""
        if self.coverage is None:
            return "<p>Subjects and tasks: see <code>coverage()</code></p>"
        if self.coverage.empty:
            return ""
        by = str(self.coverage.columns[1])
        subjects = list(dict.fromkeys(self.coverage["subject"]))
        values = sorted(set(self.coverage[by]))
        shown = values[:MOST_COLUMNS]
        cells = {
            (subject, value): numbers for subject, value, *numbers in self.coverage.values.tolist()
        }
        head = "".join(f"<th>{html.escape(value) or 'none'}</th>" for value in shown)
        rows = [f"<tr><th>subject \\ {html.escape(by)}</th>{head}</tr>"]
        for subject in subjects[:MOST_ROWS]:
            row = "".join(_cell(cells.get((subject, value))) for value in shown)
            rows.append(f"<tr><th>{html.escape(subject) or 'none'}</th>{row}</tr>")
        left = [
            f"{len(all_) - most} more {what}"
            for all_, most, what in (
                (subjects, MOST_ROWS, "subjects"),
                (values, MOST_COLUMNS, f"values of {html.escape(by)}"),
            )
            if len(all_) > most
        ]
        rest = f"<p>… {' and '.join(left)}: see <code>coverage()</code></p>" if left else ""
        return f'<div class="cfd-wide"><table>{"".join(rows)}</table></div>{rest}'


def _cell(numbers: list[int] | None) -> str:
    """Write how many recordings are on disk, filled by their part of the bytes."""
    if numbers is None:
        return '<td style="--cfd-part:0%"></td>'
    n_files, nbytes, n_here, nbytes_here = numbers
    part = nbytes_here / nbytes if nbytes else n_here / n_files
    title = f"{format_nbytes(nbytes_here)} of {format_nbytes(nbytes)}"
    return f'<td style="--cfd-part:{100 * part:.0f}%" title="{title}">{n_here} of {n_files}</td>'
