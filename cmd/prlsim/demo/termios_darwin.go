package demo

import "golang.org/x/sys/unix"

const termiosRequest = unix.TIOCGETA
