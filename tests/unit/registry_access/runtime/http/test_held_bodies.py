"""Who gives way when more is under way than may be held."""

from __future__ import annotations

from dataclasses import dataclass, field

from registry_access.runtime.http.held_bodies import HeldBodies


@dataclass(eq=False)
class Body:
    gone: list[Body]
    name: str = ""

    def give_way(self) -> None:
        self.gone.append(self)


@dataclass
class World:
    now: float = 0.0
    gone: list[Body] = field(default_factory=list)
    sums: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.bodies = HeldBodies(100, self.sums.append, lambda: self.now)

    def hold(self, size: int, body: Body | None = None) -> Body:
        body = body or Body(self.gone)
        self.bodies.hold(body, size)
        return body


def test_what_fits_is_held_and_forgotten() -> None:
    world = World()
    one, two = world.hold(40), world.hold(60)
    world.bodies.release(one)
    world.bodies.release(one)
    world.hold(100, two)
    world.bodies.release(two)
    assert world.gone == []
    assert world.sums == [40, 100, 60, 100, 0]


def test_the_largest_gives_way_to_the_smaller() -> None:
    world = World()
    large, small = world.hold(60), world.hold(35)
    newcomer = world.hold(10)
    assert world.gone == [large]
    for body in (large, small, newcomer):
        world.bodies.release(body)
    assert world.sums[-1] == 0


def test_a_body_that_takes_its_time_gives_way_to_a_larger_one() -> None:
    world = World()
    slow = [world.hold(10) for _ in range(9)]
    world.now = 1.0
    newcomer = world.hold(30)
    assert newcomer not in world.gone
    assert set(world.gone) < set(slow)


def test_the_newcomer_itself_when_it_is_the_heaviest() -> None:
    world = World()
    for _ in range(9):
        world.hold(10)
    newcomer = world.hold(5)
    assert world.gone == []
    world.hold(50, newcomer)
    assert world.gone[0] is newcomer
