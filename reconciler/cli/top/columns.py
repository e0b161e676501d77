"""The columns of `top`: lists of tasks, in which the highlight stays on its task whatever comes and goes."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from reconciler.render.board import COLUMNS


class Column(OptionList):
    """One column. Its highlight goes on to the next column at its ends."""

    def __init__(self, column: str) -> None:
        super().__init__(id=column, markup=False)
        self.column = column
        self._cards: list[tuple[str, Text]] = []
        self.count = -1

    def show(self, cards: Sequence[tuple[str, Text]], count: int) -> None:
        """Show these tasks, of `count` that stand in it. What is as it was is not drawn again."""
        if count != self.count:
            self.count = count
            self.border_title = f"{COLUMNS[self.column][0]} {count}"
            self.set_class(count == 0, "-none")
        if [id for id, _ in cards] == [id for id, _ in self._cards]:
            for n, ((_, card), (_, before)) in enumerate(zip(cards, self._cards, strict=True)):
                if card != before:
                    self.replace_option_prompt_at_index(n, card)
        else:
            at, known = self.subject, self.highlighted
            self.clear_options()
            more = count - len(cards)
            rest = [Option(Text(f"and {more} more; / finds them", "dim"), disabled=True)] if more > 0 else []
            self.add_options([*(Option(card, id=id) for id, card in cards), *rest])
            ids = [id for id, _ in cards]
            if ids and known is not None:
                self.highlighted = ids.index(at) if at in ids else min(known, len(ids) - 1)
        self._cards = list(cards)

    @property
    def subject(self) -> str | None:
        """The task that the highlight is on."""
        if self.highlighted is None or self.highlighted >= self.option_count:
            return None
        return self.get_option_at_index(self.highlighted).id

    def on_focus(self) -> None:
        if self.highlighted is None and self.option_count:
            self.highlighted = 0

    def action_cursor_down(self) -> None:
        if self.highlighted is None or self.highlighted >= len(self._cards) - 1:
            self._leave(1)
        else:
            super().action_cursor_down()

    def action_cursor_up(self) -> None:
        if not self.highlighted:
            self._leave(-1)
        else:
            super().action_cursor_up()

    def action_beside(self, step: int) -> None:
        """Go to the next column that holds something, on this or that side."""
        self._leave(step, keep=True)

    def _leave(self, step: int, *, keep: bool = False) -> None:
        columns = [each for each in self.screen.query(Column) if each is self or each.option_count]
        at = columns.index(self) + step
        if 0 <= at < len(columns):
            into = columns[at]
            into.focus()
            if not keep or into.highlighted is None:
                into.highlighted = 0 if step > 0 or keep else len(into._cards) - 1
