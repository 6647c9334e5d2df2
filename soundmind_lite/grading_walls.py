"""What holds the process that runs a learner's code: limits everywhere, Linux namespaces where they are permitted, else blocked sockets."""
import contextlib
import ctypes
import os
import sys
from pathlib import Path

HEADROOM_GB = 8  # address space beyond what the imports take (1 GB); the course's own notebooks take up to 4 more on two cores, threads some, too
WALLS = "no network, processes of its own, files read-only outside its folder (Linux namespaces)"
HALF = "no network, processes of its own (Linux namespaces); but it could write to every file that you can write to"
NO_WALLS = "Python's sockets blocked, and nothing else: best effort, no wall (namespaces are not permitted here)"


def limit_memory() -> None:
    """HEADROOM_GB of address space more than now, files up to 1 GB, no core files. Linux only; macOS does the last two, Windows nothing of it."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (10**9, 10**9))
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + HEADROOM_GB * 2**30
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def no_sockets(event: str, arguments: tuple) -> None:
    """An audit hook, which Python code can't remove; it doesn't see code in C, nor a program that was started."""
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname"):
        place = arguments[0] if event.startswith("socket.get") else arguments[1]
        host = place[0] if isinstance(place, tuple) else place if event.startswith("socket.get") else None
        if host not in (None, "127.0.0.1", "::1", "localhost"):
            raise OSError(f"no network while a notebook is graded ({host})")


def kernel(name: str, *arguments) -> None:
    """Calls a function of the C library. Raises OSError if it fails, AttributeError if there is none of this name."""
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


def unreadable_for_others() -> None:
    """Linux: closes this process's memory and files in /proc to other processes of the same user."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            kernel("prctl", 4, 0, 0, 0, 0)  # PR_SET_DUMPABLE


def behind_walls(work: str, hide: tuple[str, ...]) -> str:
    """Moves this process, which has no threads yet, into Linux namespaces of its own, if that is permitted; returns what holds from now on.

    Processes: the calling one and the first of the namespace only wait and hand the exit code on. The one that returns sees no other, and the
    kernel ends all that it started when the first ends. Files: all but `work` and /dev/shm become read-only; the folders in `hide` are seen empty.
    """
    user, group, walls = os.getuid(), os.getgid(), WALLS
    try:
        kernel("unshare", 0x20000 | 0x10000000 | 0x20000000 | 0x40000000)  # CLONE_NEWNS, NEWUSER, NEWPID, NEWNET
        for file, line in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with contextlib.suppress(OSError):
                Path("/proc/self", file).write_text(line)
    except (OSError, AttributeError):
        walls = NO_WALLS
    for _ in range(2):
        kernel("prctl", 1, 9, 0, 0, 0)  # PR_SET_PDEATHSIG, SIGKILL: a killed grader leaves no submission running
        if walls == NO_WALLS:
            return walls
        if process := os.fork():
            code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
            os._exit(code if code >= 0 else 128 - code)
    try:
        read_only_but(os.fsencode(work), map(os.fsencode, hide))
    except (OSError, AttributeError):
        walls = HALF
    kernel("prctl", 38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS, then no capabilities: nothing of this can be undone
    kernel("capset", (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)())
    return walls


def read_only_but(work: bytes, hide) -> None:
    """Makes all files read-only but those in `work` and in a new /dev/shm. Raises OSError if the kernel can't (before 5.12)."""
    def mount(source: bytes, place: bytes, kind: bytes | None, flags: int, data: bytes | None = None) -> None:
        kernel("mount", source, place, kind, ctypes.c_ulong(flags), data)

    def set_read_only(place: bytes, on: bool) -> None:
        wish = (ctypes.c_uint64 * 4)(int(on), int(not on), 0, 0)  # struct mount_attr: set, clear (MOUNT_ATTR_RDONLY is 1)
        kernel("syscall", 442, -100, place, 0x8000, wish, ctypes.sizeof(wish))  # mount_setattr(AT_FDCWD, place, AT_RECURSIVE, …)

    writable = [work]
    mount(b"none", b"/", None, 0x4000 | 0x40000)  # MS_REC, MS_PRIVATE: nothing of this is seen outside
    with contextlib.suppress(OSError):
        mount(b"proc", b"/proc", b"proc", 0xE)  # MS_NOSUID, MS_NODEV, MS_NOEXEC
    with contextlib.suppress(OSError):
        mount(b"tmpfs", b"/dev/shm", b"tmpfs", 0, b"size=512m")
        writable.append(b"/dev/shm")
    mount(work, work, None, 0x1000 | 0x4000)  # MS_BIND: a mount of its own, which can stay writable
    for folder in hide:
        mount(b"tmpfs", folder, b"tmpfs", 0)
    set_read_only(b"/", True)
    for place in writable:
        set_read_only(place, False)
