"""Booting a kernel: with stand-ins for QEMU, and for guests that end well, panic, hang or say nothing."""

import json
import os
import signal
import sys
import time

import children
import guest_log
import guest_program
import pytest

from amx.conformance import provoke
from amx.conformance.guest import machines
from amx.conformance.guest.boot import CONSOLE
from amx.conformance.guest.machines import Settings
from amx.errors import GuestError

IDS = ("XS-02", "XS-05")
BEGUN = guest_log.framed(guest_log.whole({id: [{"x": 1}] for id in IDS}))
CUT = BEGUN.partition(b'{"start": "XS-05"}')[0] + b'{"start": "XS-05"}\n'
PANIC = b"[    1.2] Kernel panic - not syncing: VFS: Unable to mount root fs\n"
NOTHING = (lambda id: None, lambda: None)


@pytest.fixture
def guest(tmp_path, monkeypatch):
    """Makes the command of a guest: a shell text, where $1 is its log, and $2 to $4 are what it is given."""
    monkeypatch.setenv("AMX_PROVOKE_STATIC", str(tmp_path / "program"))
    (tmp_path / "program").write_bytes(guest_program.elf())
    (tmp_path / "bzImage").write_bytes(guest_program.bzimage())

    def make(text, log=BEGUN):
        (tmp_path / "log").write_bytes(log)
        (tmp_path / "guest").write_text(text)
        return f"sh '{tmp_path}/guest' '{tmp_path}/log' {{kernel}} {{initrd}} {{append}}"

    return make


@pytest.fixture
def check(tmp_path):
    """Run `amx check --boot` on the stand-in for a kernel: (status, output, errors)."""

    def run(*words, kernels=("bzImage",), **environment):
        done = children.run(command(tmp_path, *words, kernels=kernels), env={**os.environ, **environment},
                            capture_output=True, text=True, timeout=100)  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    return run


def command(directory, *words, kernels=("bzImage",)):
    files = [directory / kernel for kernel in kernels]
    return [sys.executable, "-m", "amx", "check", *map(str, words), "--boot", *map(str, files)]


def verdicts(file):
    return {each["id"]: each["verdict"] for each in json.loads(file.read_text())["checks"]}


def boot(tmp_path, runner, **settings):
    kernel = str(tmp_path / "bzImage")
    return machines.boot(kernel, b"initramfs", Settings(runner=runner, **settings), NOTHING)


# A guest that does what it is to do.


def test_a_boot_is_judged_as_its_log(guest, check, tmp_path):
    words = (*IDS, "--json", tmp_path / "booted", "--runner", guest('cat "$1"'))
    status, output, _ = check(*words)
    judge = ["--judge", str(tmp_path / "log"), "--json", str(tmp_path / "judged")]
    judged = children.run([sys.executable, "-m", "amx", "check", *judge], capture_output=True)
    assert verdicts(tmp_path / "booted") == verdicts(tmp_path / "judged")
    assert status == judged.returncode
    assert f"{tmp_path}/bzImage: sh, " in output


def test_what_amx_provoke_does_in_a_guest_is_judged_as_a_run_here(guest, check, tmp_path):
    (tmp_path / "plan").write_text("".join(f"{id} 60\n" for id in ("DISC-01", "PERM-01", "LIFE-01", *IDS)))
    runner = guest(f"'{provoke.program()}' all --frames --plan '{tmp_path}/plan'")
    words = ("DISC-01", "PERM-01", "LIFE", *IDS, "--json")
    status, _, _ = check(*words, tmp_path / "booted", "--runner", runner, TMPDIR=str(tmp_path))
    here = children.run(
        [sys.executable, "-m", "amx", "check", *words, tmp_path / "here"], capture_output=True
    )
    assert verdicts(tmp_path / "booted") == verdicts(tmp_path / "here")
    assert status == here.returncode


def test_words_behind_the_kernel_that_name_checks_are_the_selection(guest, check, tmp_path):
    runner = guest('cat "$1"')
    check("--json", tmp_path / "booted", "--runner", runner, "--append", "", kernels=["bzImage"])
    words = command(tmp_path, "--json", str(tmp_path / "json"), "--runner", runner)
    children.run([*words, "XS-05"], capture_output=True)
    assert list(verdicts(tmp_path / "json")) == ["XS-05"]


def test_the_command_is_given_kernel_initramfs_and_command_line(guest, tmp_path):
    booted = boot(
        tmp_path, guest('printf "%s|" "$2" "$4"; cat "$3"'), append="nosmap x", fault="f", model=True
    )
    line = "console=ttyS0 panic=-1 amx.fault=f amx.model=1 nosmap x"
    assert booted.logs[CONSOLE].decode() == f"{tmp_path}/bzImage|{line}|initramfs"


def test_what_stands_for_another_is_not_looked_at_again(guest, tmp_path):
    booted = boot(tmp_path, guest('printf %s "$4"'), append="{kernel}")
    assert booted.logs[CONSOLE] == b"console=ttyS0 panic=-1 {kernel}"


def test_the_console_comes_from_the_file_that_the_command_is_told(guest, tmp_path):
    runner = guest('cat "$1" >"$5"; echo other') + " {console}"
    assert boot(tmp_path, runner).logs == {CONSOLE: BEGUN}


def test_a_command_that_does_not_end_after_its_guest_is_ended(guest, tmp_path, monkeypatch):
    monkeypatch.setattr("amx.conformance.guest.watch.AFTER_DONE", 0.1)
    booted = boot(tmp_path, guest('cat "$1"; sleep 1000'))
    assert (booted.stopped, booted.status) == ("", "killed")


def test_progress_is_told(guest, tmp_path):
    told = []
    progress = (told.append, lambda: told.append("ended"))
    settings = Settings(runner=guest('cat "$1"'))
    machines.boot(str(tmp_path / "bzImage"), b"", settings, progress)
    assert told == ["XS-02", "ended", "XS-05", "ended"]


# Guests that do not.


@pytest.mark.parametrize(
    ("text", "log", "words"),
    [
        ('cat "$1"; sleep 1000', PANIC, "before its first process: Kernel panic - not syncing: VFS: Unable"),
        ("sleep 1000", b"", "it is empty, the kernel said nothing (its 3 s were over without a word"),
        ("exit 0", b"", "it ended by itself without a word: it powered off, rebooted, or its CPU was"),
        ("echo no such machine >&2; exit 3", b"", "sh ended without a word with exit 3 (no such machine)"),
        ("kill -SEGV $$", b"", "sh ended without a word with exit 139"),
        ('cat "$1"; sleep 1000', b"[    0.1] Linux\n", "the last lines are [    0.1] Linux"),
        (
            'cat "$1"',
            guest_log.framed([{"broken": "amx.fault: x"}]),
            "what the guest said cannot be judged: amx-provoke said: amx.fault: x",
        ),
    ],
)  # fmt: skip
def test_a_kernel_that_does_not_come_to_its_first_process(guest, check, text, log, words):
    status, _, errors = check("--timeout", 3, "--runner", guest(text, log))
    assert status == 1
    assert words in errors


@pytest.mark.parametrize(
    ("text", "log", "verdict", "words"),
    [
        ('cat "$1"; sleep 1000', CUT, "ERROR", "during XS-05, before the end of its run: its 3 s were over"),
        (
            'cat "$1"; sleep 1000',
            CUT + PANIC,
            "FAIL",
            "the kernel panicked during XS-05: Kernel panic - not syncing",
        ),
        (
            'cat "$1"',
            CUT,
            "ERROR",
            "during XS-05, before the end of its run: it ended by itself: it powered off",
        ),
    ],
)
def test_a_kernel_that_ends_amid_a_check(guest, check, tmp_path, text, log, verdict, words):
    runner = guest(text, log)
    status, output, _ = check(*IDS, "--timeout", 3, "--json", tmp_path / "json", "--runner", runner)
    assert status == 1
    assert verdicts(tmp_path / "json")["XS-05"] == verdict
    assert words in output


def test_a_guest_that_says_too_much_is_ended(guest, tmp_path, monkeypatch):
    monkeypatch.setattr("amx.conformance.waiting.ENDLESS", 1 << 20)
    booted = boot(tmp_path, guest("yes"))
    assert booted.stopped == "it said more than 1 MiB (console) and was killed"
    assert len(booted.logs[CONSOLE]) < 1 << 21


# Nobody is left behind.


LEAVES = 'setsid sleep 1000 & echo $! >"$1.pid"; sleep 1000 & echo $! >>"$1.pid"; '


def left(tmp_path):
    """The processes that a guest has started, as soon as it has."""
    for _ in range(3000):
        if (tmp_path / "log.pid").exists():
            pids = (tmp_path / "log.pid").read_text().split()
            if len(pids) == 2:
                return [int(pid) for pid in pids]
        time.sleep(0.01)
    raise AssertionError("the guest did not begin")


@pytest.mark.parametrize("end", ["exit 0", "sleep 1000"])
def test_what_a_command_has_started_is_gone(guest, tmp_path, end):
    boot(tmp_path, guest(LEAVES + end), timeout=2.0)
    assert [children.gone(pid) for pid in left(tmp_path)] == [True, True]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_however_the_run_ends_what_it_has_started_is_gone(guest, tmp_path, number):
    child = children.start(command(tmp_path, "--runner", guest(LEAVES + "wait")))
    pids = left(tmp_path)
    os.kill(child.pid, number)
    assert child.wait(100) == -number
    assert [children.gone(pid) for pid in pids] == [True, True]


def test_what_was_made_for_the_guest_is_removed(guest, check, tmp_path):
    (tmp_path / "temporary").mkdir()
    check("--runner", guest('cat "$1"'), TMPDIR=str(tmp_path / "temporary"))
    assert not [each for each in os.listdir(tmp_path / "temporary") if each.startswith("amx-boot")]


# What is refused before anything is started.


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x7fELF" + bytes(1024), "It is an ELF file (vmlinux?), which QEMU boots only by an entry for PVH"),
        (b"MZ" + bytes(1024), "It has no header of a bzImage"),
        (b"", "It has no header of a bzImage"),
    ],
)
def test_what_is_no_bzimage_is_refused(guest, check, tmp_path, content, words):
    guest("")
    (tmp_path / "kernel").write_bytes(content)
    status, _, errors = check(kernels=["kernel"])
    assert status == 2
    assert words in errors
    assert "Pass arch/x86/boot/bzImage" in errors


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_refused(guest, check, tmp_path, make):
    make(tmp_path / "kernel")
    status, _, errors = check("--runner", guest('cat "$1"'), kernels=["kernel"])
    assert status == 2
    assert "It is no regular file" in errors


def test_without_qemu_the_remedy_is_said(guest, tmp_path, monkeypatch):
    guest("")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GuestError, match="apt install qemu-system-x86"):
        machines.boot(str(tmp_path / "bzImage"), b"", Settings(), NOTHING)


def test_where_the_initramfs_has_no_room_it_is_said(guest, tmp_path):
    runner = guest("")
    program = f"""
from amx.conformance.guest import machines
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
machines.boot({str(tmp_path / "bzImage")!r}, bytes(100), machines.Settings(runner={runner!r}), None)
"""
    done = children.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
    assert "initrd cannot be written (EFBIG). File too large. Set TMPDIR" in done.stderr


@pytest.mark.parametrize(
    ("runner", "words"),
    [
        ("'", "No closing quotation"),
        ("", "is empty"),
        (" ", "is empty"),
        ("virtme-run", "has no {kernel} in it"),
        ("/no/such {kernel}", "there is no program /no/such"),
    ],
)
def test_a_runner_that_is_no_command_is_refused(guest, tmp_path, runner, words):
    guest("")
    with pytest.raises(GuestError) as raised:
        machines.boot(str(tmp_path / "bzImage"), b"", Settings(runner=runner), NOTHING)
    assert words in str(raised.value)


@pytest.mark.parametrize(
    "words",
    [
        ["--timeout", "0"],
        ["--timeout", "nan"],
        ["--smp", "0"],
        ["--memory", "x"],
        ["--judge", "log"],
        ["--initramfs", "file"],
        ["--cpu", "max", "--runner", "true {kernel}"],
        ["--ktap=file", "--boot", "a", "b"],
    ],
)
def test_what_is_asked_for_wrongly_is_refused(check, words):
    boots = [] if "--boot" in words else ["bzImage"]
    assert check(*words, kernels=boots or ["a", "b"])[0] == 2


@pytest.mark.parametrize("option", ["runner", "accel", "cpu", "smp", "memory", "append", "timeout"])
def test_what_is_about_a_boot_is_refused_without_one(option):
    value = {"accel": "tcg", "smp": "1", "memory": "1", "timeout": "1"}.get(option, "x")
    words = [sys.executable, "-m", "amx", "check", "DISC-01", f"--{option}", value]
    done = children.run(words, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"--{option} is about a boot" in done.stderr


# Several kernels.


@pytest.fixture
def others(tmp_path):
    """A second kernel beside the first."""
    (tmp_path / "other").write_bytes(guest_program.bzimage())
    return ("bzImage", "other")


def test_several_kernels_are_booted_and_compared(guest, check, tmp_path, others):
    runner = guest('cat "$1"')
    status, output, _ = check(*IDS, "--json", tmp_path / "json", "--runner", runner, kernels=others)
    compared = json.loads((tmp_path / "json").read_text())
    assert status == 1
    assert len(compared["kernels"]) == 2
    assert [output.count(f"{tmp_path}/{kernel}: sh, ") for kernel in others] == [1, 1]


def test_a_kernel_that_says_nothing_is_named_and_the_next_is_booted(guest, check, tmp_path, others):
    runner = guest('case "$2" in *other) cat "$1";; esac')
    status, output, errors = check("--json", tmp_path / "json", "--runner", runner, kernels=others)
    assert status == 1
    assert "the kernel did not come to its first process" in errors
    assert f"{tmp_path}/other: sh, " in output


def test_a_guest_that_lies_about_its_kernel_is_named_too(guest, check, others):
    things = guest_log.whole({"XS-02": [{"x": 1}]})
    kernel = next(each for each in things if "kernel" in each.get("machine", ()))
    kernel["machine"]["kernel"]["release"] = "6" * 5000
    status, output, errors = check("--runner", guest('cat "$1"', guest_log.framed(things)), kernels=others)
    assert (status, errors.count("its kernel has more than 200 characters")) == (1, 2)
    assert "2 reports cannot be read" in output


def test_if_one_is_no_kernel_none_is_booted(guest, check, tmp_path):
    status, _, errors = check("--runner", guest('touch "$1.pid"'), kernels=["bzImage", "none"])
    assert status == 2
    assert "No such file" in errors
    assert not (tmp_path / "log.pid").exists()
