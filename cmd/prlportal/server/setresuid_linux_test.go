package server

import "golang.org/x/sys/unix"

const setresuid = unix.SYS_SETRESUID
