"""A square."""

from pydantic import Field

from toys.shape import Shape


class Square(Shape):
    """A square of a given side."""

    side: float = Field(1.0, gt=0)

    def area(self) -> float:
        return self.side**2
