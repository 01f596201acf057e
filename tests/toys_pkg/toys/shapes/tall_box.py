"""A rectangle that holds shapes, reads a file and points at an artifact."""

from septet.core.component import CorpusRef, InputPath
from toys.shape import Shape
from toys.shapes.square import Square as _Square


class TallBox(Shape):
    """A rectangle with parts."""

    height: int = 3
    lid: Shape = _Square()
    parts: tuple[Shape, ...] = ()
    table: InputPath | None = None
    text: CorpusRef | None = None

    def area(self) -> float:
        return self.height + self.lid.area() + sum(part.area() for part in self.parts)
