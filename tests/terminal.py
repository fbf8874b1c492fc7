# SPDX-License-Identifier: MIT-0
"""A command on a terminal, for tests/progress.sh.

terminal.py COLUMNS [-b] COMMAND...    runs it, with -b in the background, and exits with its status

Prints each line that was written over by another, or by blanks, as "over: TEXT", and each that is left in the end
as "left: TEXT". A character beyond the last column goes to the next line.
"""
import fcntl
import os
import pty
import struct
import sys
import termios


def run(columns, background, command):
    """What the command writes, and its status."""
    here, there = os.pipe()  # the terminal gets its size first
    pid, terminal = pty.fork()
    if pid == 0:
        os.read(here, 1)
        if background:
            child = os.fork()
            if child:
                os._exit(os.WEXITSTATUS(os.waitpid(child, 0)[1]))
            os.setpgrp()
        os.execvp(command[0], command)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    os.write(there, b"x")
    written = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # the end, on Linux
            part = b""
        if not part:
            return written.decode("utf-8", "replace"), os.WEXITSTATUS(os.waitpid(pid, 0)[1])
        written += part


def show(written, columns):
    lines, row, column = [""], 0, 0
    for c in written.replace("\r\n", "\n"):
        if c == "\r":
            if lines[row].strip():
                print("over: " + lines[row].rstrip())
            column = 0
        elif c == "\n":
            lines.append("")
            row, column = row + 1, 0
        else:
            if column == columns:
                lines.append("")
                row, column = row + 1, 0
            lines[row] = lines[row][:column].ljust(column) + c + lines[row][column + 1:]
            column += 1
    for line in lines:
        if line.strip():
            print("left: " + line.rstrip())


def main(columns, *command):
    background = command[0] == "-b"
    written, status = run(int(columns), background, command[background:])
    show(written, int(columns))
    return status


sys.exit(main(*sys.argv[1:]))
