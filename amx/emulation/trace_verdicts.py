"""What a trace means: whether AMX was used, and how well."""

from __future__ import annotations

from collections.abc import Iterator

from amx.emulation.disassembly import Action, action_of
from amx.emulation.trace_data import Recorded, Site
from amx.printable import printable

__all__ = ["counted", "verdicts"]

NEARLY_FULL = 0.9
REASONS = 10  # of the files that were not read
# A block of 2 x 2 tiles of C takes two tiles of A and two of B for its four products: with 8 tile registers
# there is no better ratio (docs/performance.md).
LOADS_OF_A_BLOCK = 1.0
# LDTILECFG takes some 155 cycles and a full product 16 (docs/performance.md).
PRODUCTS_PER_LDTILECFG = 155 // 16


def verdicts(trace: Recorded) -> tuple[str, ...]:
    """Sentences, the most important first."""
    return tuple(_verdicts(trace))


def counted(number: int, noun: str) -> str:
    """Such as "1 thread" and "2,000 threads"."""
    plural = {"process": "processes"}.get(noun, noun + "s")
    return f"{number:,} {noun if number == 1 else plural}"


def _verdicts(trace: Recorded) -> Iterator[str]:
    yield _whether(trace)
    if trace.executed(Action.PRODUCT):
        yield from _fill(trace)
        yield from _reuse(trace)
    yield from _configuring(trace)
    yield from _endings(trace)
    yield from _gaps(trace)


def _whether(trace: Recorded) -> str:
    processes = counted(len(trace.processes), "process")
    if trace.instructions == 0 and not trace.complete:
        return (
            f"Whether AMX was used is not known: 0 instructions in {processes}, and others were not recorded."
        )
    if not trace.processes:
        return "Nothing was recorded: no process was emulated. (A static program needs --ptrace.)"
    if trace.instructions == 0:
        return f"AMX was not used: 0 instructions in {processes}."
    products = trace.executed(Action.PRODUCT)
    using = counted(sum(process.instructions > 0 for process in trace.processes), "process")
    threads = counted(sum(len(process.threads) for process in trace.processes), "thread")
    what = f"{counted(trace.instructions, 'instruction')} in {using} and {threads}"
    if products == 0 and not trace.complete:
        return (
            f"AMX was used, to compute or not: {what}, no product among them, and others were not recorded."
        )
    if products == 0:
        return f"AMX computed nothing: {what}, no product among them."
    return f"AMX was used: {what}, {counted(products, 'product')} among them."


def _fill(trace: Recorded) -> Iterator[str]:
    full = trace.utilisation(Action.PRODUCT)
    if full is None:  # without a site there is no extent
        return
    unplaced = any(total.unplaced for total in trace.totals if action_of(total.mnemonic) is Action.PRODUCT)
    percent = f"Tiles were {full:.0%} full in products{' with a site' if unplaced else ''}"
    worst = _emptiest(trace)
    if full >= NEARLY_FULL or worst is None:
        yield f"{percent}."
        return
    extents = ", ".join(str(extent) for extent in worst.extents if extent.low < extent.full)
    yield f"{percent}: {extents} in {worst} at {worst.location}, executed {worst.executed:,} times."


def _emptiest(trace: Recorded) -> Site | None:
    """The product that left the most multiply-adds unused."""
    products = [site for site in trace.sites if site.action is Action.PRODUCT and site.work < site.capacity]
    return max(products, key=lambda site: site.capacity - site.work, default=None)


def _reuse(trace: Recorded) -> Iterator[str]:
    loads = trace.executed(Action.LOAD) / trace.executed(Action.PRODUCT)
    if trace.intensity is not None:
        moved = trace.work(Action.LOAD, Action.STORE)
        yield (
            f"{2 * trace.work(Action.PRODUCT):,} operations on {moved:,} bytes between tiles and memory: "
            f"{trace.intensity:.1f} operations per byte."
        )
    if loads > LOADS_OF_A_BLOCK * 1.25:
        yield (
            f"{loads:.2f} tile loads per product: a block of 2 x 2 tiles needs {LOADS_OF_A_BLOCK:.0f}, and "
            "more loads than products make the loads the limit."
        )


def _configuring(trace: Recorded) -> Iterator[str]:
    loads = sum(each.loads for each in trace.configurations)
    loads += sum(process.lost.configurations for process in trace.processes)
    products = trace.executed(Action.PRODUCT)
    if not loads:
        return
    changes = sum(thread.changes for process in trace.processes for thread in process.threads)
    different = counted(len(trace.configurations), "configuration")
    yield (
        f"LDTILECFG: {counted(loads, 'time')}, {different}; {changes:,} changed what the thread had, "
        f"{max(loads - changes, 0):,} loaded the same again."
    )
    if products and products < loads * PRODUCTS_PER_LDTILECFG:
        yield (
            f"{products / loads:.1f} products per LDTILECFG, which alone takes as long as about "
            f"{PRODUCTS_PER_LDTILECFG} products."
        )


def _endings(trace: Recorded) -> Iterator[str]:
    threads = [thread for process in trace.processes for thread in process.threads]
    left = sum(thread.left_configured for thread in threads)
    if left:
        yield (
            f"{counted(left, 'thread')} of {len(threads):,} executed no TILERELEASE in the end: while a "
            "thread lives, its tiles in use make context switches larger, and an idle core sleep less deeply."
        )
    faults = sum(total.faults for total in trace.totals)
    if faults:
        yield f"{counted(faults, 'instruction')} ended in a signal to the program."


def _gaps(trace: Recorded) -> Iterator[str]:
    lost = [process.lost for process in trace.processes]
    instructions = sum(count for each in lost for _, count in each.instructions)
    reason = next((each.reason for each in lost if each.reason), "")
    full = f"could not grow, {printable(reason)}" if reason else "was full"
    if instructions:
        yield (
            f"The table of sites {full}: {counted(instructions, 'instruction')} are counted by mnemonic only."
        )
    if any(each.threads or each.configurations for each in lost):
        yield f"The table of threads or configurations {full}: figures by thread and of LDTILECFG are low."
    for reason in trace.unreadable[:REASONS]:
        yield f"Not read: {printable(reason)}"
    if trace.unreadable[REASONS:]:
        yield f"Not read: {len(trace.unreadable) - REASONS:,} more."
    for reason in trace.unrecorded:
        yield f"Not recorded: {printable(reason)}."
