"""What each step does to the world, and what ends it."""

from collections.abc import Callable
from math import inf

from rescind.testing.sim.brokers import StreamBroker
from rescind.testing.sim.publishers import Publisher
from rescind.testing.sim.schedule import Step, What
from rescind.testing.sim.subscribers import Disk, Subscriber
from rescind.testing.sim.world import World

Undo = Callable[[], None]
Act = Callable[[World, Step], Undo | None]

_LATE = 0.5


def _broker(world: World, step: Step) -> StreamBroker:
    return world.brokers[step.who % len(world.brokers)]


def _publisher(world: World, step: Step) -> Publisher:
    return world.publishers[step.who % len(world.publishers)]


def _subscriber(world: World, step: Step) -> Subscriber:
    return world.subscribers[step.who % len(world.subscribers)]


def _cut(world: World, step: Step) -> Undo | None:
    hosts = world.hosts
    one, other = hosts[step.who % len(hosts)], hosts[step.other % len(hosts)]
    world.network.cut(one, other)

    def undo() -> None:
        world.network.mend(one, other)
        _link(world, one, other)

    return undo


def _link(world: World, *names: str) -> None:
    """Whoever is connected again reads."""
    brokers = [broker.name for broker in world.brokers if broker.name in names]
    for each in world.subscribers:
        if each.name in names and brokers:
            each.link(*brokers)


def _storm(world: World, step: Step) -> Undo:
    world.network.storm = max(world.network.storm, step.amount * 0.6)

    def undo() -> None:
        world.network.storm = 0.0

    return undo


def _broker_down(world: World, step: Step) -> Undo:
    broker = _broker(world, step)
    broker.up = False

    def undo() -> None:
        broker.up = True
        for each in world.subscribers:
            each.link(broker.name)

    return undo


def _restore(world: World, step: Step) -> None:
    _broker(world, step).restore(step.amount)


def _garbage(world: World, step: Step) -> None:
    """The lanes' next numbers, under the ids that a stranger could guess."""
    broker = _broker(world, step)
    for each in world.publishers:
        log = each.ledger.log
        at = each.ledger.positions.get(log)
        seq = (at.seq if at else 0) + 1
        broker.garbage(f"{log}:{seq}", log, seq)


def _withhold(world: World, step: Step) -> Undo:
    lies = _broker(world, step).lies
    lies.withhold = step.amount
    lies.hide += 1

    def undo() -> None:
        lies.withhold = 1.0
        lies.hide -= 1

    return undo


def _lie(name: str) -> Act:
    def act(world: World, step: Step) -> Undo:
        lies = _broker(world, step).lies
        setattr(lies, name, getattr(lies, name) + 1)

        def undo() -> None:
            setattr(lies, name, getattr(lies, name) - 1)

        return undo

    return act


def _replay_heads(world: World, step: Step) -> Undo:
    lies = _broker(world, step).lies
    lies.replay_heads += 1
    hidden = _withhold(world, step)

    def undo() -> None:
        lies.replay_heads -= 1
        hidden()

    return undo


def _late_heads(world: World, step: Step) -> Undo:
    lies = _broker(world, step).lies
    lies.late_s = step.amount * step.lasts_s
    hidden = _withhold(world, step)

    def undo() -> None:
        lies.late_s = 0.0
        hidden()

    return undo


def _subscriber_down(world: World, step: Step) -> Undo | None:
    subscriber = _subscriber(world, step)
    disk = tuple(Disk)[int(step.amount * 6) % 4] if step.amount > _LATE else Disk.INTACT
    subscriber.kill_process()
    return lambda: world.restart(subscriber, disk)


def _suspend(world: World, step: Step) -> Undo:
    subscriber = _subscriber(world, step)
    subscriber.asleep += 1

    def undo() -> None:
        subscriber.asleep -= 1
        world.probe(subscriber)  # the first call may come before anything that waits is read
        _wake(subscriber)

    return undo


def _block(world: World, step: Step) -> Undo:
    subscriber = _subscriber(world, step)
    subscriber.blocked += 1

    def undo() -> None:
        subscriber.blocked -= 1
        _wake(subscriber)

    return undo


def _wake(subscriber: Subscriber) -> None:
    if not subscriber.asleep and not subscriber.blocked:
        subscriber.wake()


def _subscriber_clock(world: World, step: Step) -> Undo | None:
    """A jump that a process can see: it has been fresh before. Else it must believe the clock."""
    subscriber = _subscriber(world, step)
    if subscriber.view.published.as_of_boot == -inf:
        return None
    right_s = world.right_s(subscriber)
    subscriber.clock.offset_s = right_s + step.amount

    def undo() -> None:
        subscriber.clock.offset_s = right_s

    return undo


def _publisher_down(world: World, step: Step) -> Undo | None:
    publisher = _publisher(world, step)
    publisher.kill_process()
    return publisher.start


def _dies_after(sinks: int) -> Act:
    def act(world: World, step: Step) -> Undo:
        publisher = _publisher(world, step)
        publisher.dies_after = sinks

        def undo() -> None:
            publisher.dies_after = None
            publisher.start()

        return undo

    return act


def _publisher_clock(world: World, step: Step) -> Undo:
    """Within what is allowed between hosts; the horizon follows no jump beyond it."""
    number = step.who % len(world.publishers)
    clock = world.publishers[number].clock
    clock.offset_s = world.offset_s(number + 1)

    def undo() -> None:
        clock.offset_s = world.offset_s(number)

    return undo


def _clock_step(world: World, step: Step) -> Undo:
    """Of a process that runs: heads follow no jump ahead for a while, and the horizon none."""
    number = step.who % len(world.publishers)
    clock = world.publishers[number].clock
    clock.offset_s = world.offset_s(number) + step.amount

    def undo() -> None:
        clock.offset_s = world.offset_s(number)

    return undo


def _boot_clock(world: World, step: Step) -> Undo:
    """Hosts start with a clock that nobody there can tell to be wrong."""
    hosts: list[Publisher | Subscriber] = [*world.publishers, *world.subscribers]
    started = hosts if step.other % 2 == 0 else [hosts[step.who % len(hosts)]]
    for each in started:
        wrong_s = world.offset_s(hosts.index(each)) + step.amount
        if isinstance(each, Publisher):
            each.reboot(wrong_s)
        else:
            each.kill_process()
            each.clock.reboot(wrong_s)
            world.restart(each, Disk.INTACT, step.amount)

    def undo() -> None:
        for each in started:
            each.clock.offset_s = world.offset_s(hosts.index(each))

    return undo


def _old_spool(world: World, step: Step) -> Undo:
    """What no broker has yet would be lost with the disk: nobody can heal that."""
    publisher = _publisher(world, step)
    restore = publisher.spool.copy()

    def undo() -> None:
        if all(lane.idle() for lane in publisher.lanes):
            publisher.restore(restore)

    return undo


def _disk_full(world: World, step: Step) -> None:
    spool = _publisher(world, step).spool
    spool.fails, spool.fails_late = "the disk is full", step.amount > _LATE


ACTS: dict[What, Act] = {
    What.CUT: _cut,
    What.STORM: _storm,
    What.BROKER_DOWN: _broker_down,
    What.PURGE: lambda world, step: _broker(world, step).purge(),
    What.RECREATE: lambda world, step: _broker(world, step).recreate(),
    What.RESTORE: _restore,
    What.HIDE: _lie("hide"),
    What.WITHHOLD: _withhold,
    What.SKIP: _lie("skip"),
    What.REPLAY_HEADS: _replay_heads,
    What.LATE_HEADS: _late_heads,
    What.REPLAY_EVENTS: _lie("replay_events"),
    What.FORGE_ACKS: _lie("forge"),
    What.GARBAGE: _garbage,
    What.FLIP: _lie("flip"),
    What.ROT: lambda world, step: _broker(world, step).rot(),
    What.SUBSCRIBER_DOWN: _subscriber_down,
    What.SUSPEND: _suspend,
    What.BLOCK: _block,
    What.SUBSCRIBER_CLOCK: _subscriber_clock,
    What.PUBLISHER_DOWN: _publisher_down,
    What.DIE_AFTER_SPOOL: _dies_after(0),
    What.DIE_BETWEEN_SINKS: _dies_after(1),
    What.PUBLISHER_CLOCK: _publisher_clock,
    What.BOOT_CLOCK: _boot_clock,
    What.CLOCK_STEP: _clock_step,
    What.OLD_SPOOL: _old_spool,
    What.DISK_FULL: _disk_full,
}
