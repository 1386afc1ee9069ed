package platform

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The layout that is data here is the SDK's, as the library generates it: this
// does not compile where they differ.
var (
	_ unix.KinfoProc
	_ = [1]int{}[unsafe.Sizeof(unix.KinfoProc{})-recordSize]
	_ = [1]int{}[unsafe.Offsetof(unix.KinfoProc{}.Proc)+unsafe.Offsetof(unix.ExternProc{}.P_starttime)-recordStartSeconds]
	_ = [1]int{}[unsafe.Offsetof(unix.ExternProc{}.P_starttime)+unsafe.Offsetof(unix.Timeval{}.Usec)-recordStartMicros]
	_ = [1]int{}[unsafe.Offsetof(unix.ExternProc{}.P_stat)-recordState]
	_ = [1]int{}[unsafe.Offsetof(unix.ExternProc{}.P_pid)-recordPID]
	_ = [1]int{}[unsafe.Offsetof(unix.ExternProc{}.User_stack)-recordUserStack]
	_ = [1]int{}[unsafe.Offsetof(unix.ExternProc{}.P_comm)-recordName]
	_ = [1]int{}[unsafe.Sizeof(unix.ExternProc{}.P_comm)-recordNameSize]
	_ = [1]int{}[unsafe.Offsetof(unix.KinfoProc{}.Eproc)+unsafe.Offsetof(unix.Eproc{}.Ucred)+unsafe.Offsetof(unix.Ucred{}.Uid)-recordUID]
)
