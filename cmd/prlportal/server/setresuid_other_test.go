//go:build !linux

package server

const setresuid = 0
