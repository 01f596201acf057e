"""A family with a drawer outside the package."""

from abc import abstractmethod
from typing import ClassVar

from septet.core.component import Component


class Shape(Component):
    """Something with an area."""

    drawer: ClassVar[str] = "toys.shapes"

    @abstractmethod
    def area(self) -> float:
        """Return the area in square metres."""
