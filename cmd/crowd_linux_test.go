package cmd_test

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"prlagent/agent/localapi"
)

func init() { commands["crowd"] = crowd }

// crowdPatience is how long one of a crowd waits for an answer, or for the daemon to hang up.
const crowdPatience = 20 * time.Second

// visitor is one account at the socket of an agent, with a program of its own making.
type visitor struct {
	ts     *testscript.TestScript
	uid    int
	socket string
}

// crowd does to the socket of the agent what prlagent does not. stdout is what came of it.
func crowd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: crowd UID half N|huge|many TOTAL AT-ONCE")
	}
	numbers := make([]int, 0, len(args))
	for i, word := range args {
		if i == 1 {
			continue
		}
		number, err := strconv.Atoi(word)
		ts.Check(err)
		numbers = append(numbers, number)
	}
	v := visitor{ts: ts, uid: numbers[0], socket: localapi.SocketUnder(ts.Getenv("PRLAGENT_ROOT"))}
	var result any
	switch what := fmt.Sprint(args[1], len(numbers)); what {
	case "half2":
		result = v.sendHalfRequests(numbers[1])
	case "huge1":
		result = v.sendHugeRequests()
	case "many3":
		result = v.comeInCrowds(numbers[1], numbers[2])
	default:
		ts.Fatalf("crowd has no %s", what)
	}
	ts.Check(json.NewEncoder(ts.Stdout()).Encode(result))
}

// connect opens connections of the account, all at once.
func (v visitor) connect(count int) (opened []net.Conn) {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is of no other use
		if _, _, failed := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(v.uid), uintptr(v.uid), uintptr(v.uid)); failed != 0 {
			done <- failed
			return
		}
		for range count {
			connection, err := net.Dial("unix", v.socket)
			if err != nil {
				done <- err
				return
			}
			opened = append(opened, connection)
		}
		done <- nil
	}()
	v.ts.Check(<-done)
	for _, connection := range opened {
		v.ts.Check(connection.SetDeadline(time.Now().Add(crowdPatience)))
	}
	return opened
}

// answered is what a request got: a status, the code of a refusal, or neither where the
// daemon hung up.
type answered struct {
	Status int    `json:"status"`
	Code   string `json:"code"`
	Sent   int    `json:"sent"` // bytes that the daemon took, as far as the kernel says
}

// read takes the answer from a connection, and ends it.
func (v visitor) read(connection net.Conn) (got answered) {
	defer connection.Close()
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		var late net.Error
		if errors.As(err, &late) && late.Timeout() {
			v.ts.Fatalf("the daemon has not hung up after %s", crowdPatience)
		}
		return got
	}
	defer response.Body.Close()
	var refusal localapi.ErrorBody
	body, _ := io.ReadAll(response.Body)
	_ = json.Unmarshal(body, &refusal) // that of net/http is text
	return answered{Status: response.StatusCode, Code: string(refusal.Code)}
}

const statusRequest = "GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

// ask asks for the status as another account.
func (v visitor) ask(uid int) answered {
	v.uid = uid
	connection := v.connect(1)[0]
	_, err := io.WriteString(connection, statusRequest)
	v.ts.Check(err)
	return v.read(connection)
}

// beside counts the answers that root and the next account get meanwhile, which are all.
func (v visitor) beside() int {
	for _, uid := range []int{0, v.uid + 1} {
		if got := v.ask(uid); got.Status != http.StatusOK {
			v.ts.Fatalf("uid %d, who is not of the crowd, got %+v", uid, got)
		}
	}
	return 2
}

// sendHalfRequests begins requests that never end, and waits until the daemon ends them.
func (v visitor) sendHalfRequests(count int) any {
	held := v.connect(count)
	for i, connection := range held {
		half := []string{"", "GET /v1/status HTTP/1.1\r\nX: ", "POST /v1/checkin HTTP/1.1\r\nHost: x\r\nContent-Length: 4000\r\n\r\n"}[i%3]
		_, _ = io.WriteString(connection, half) // it may have hung up
	}
	began, beside := time.Now(), v.beside()
	codes := map[string]int{}
	for _, connection := range held {
		got := v.read(connection)
		codes[cmp.Or(got.Code, "none")]++
	}
	return map[string]any{"connections": count, "beside": beside + v.beside(), "codes": codes, "seconds": int(time.Since(began).Seconds())}
}

// sendHugeRequests sends a gigabyte each, as a body, a header and a line, or as much as the daemon takes.
func (v visitor) sendHugeRequests() any {
	results := map[string]answered{}
	for name, begin := range map[string]string{
		"body":   "POST /v1/checkin HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n",
		"header": "GET /v1/status HTTP/1.1\r\nHost: x\r\nX: ",
		"line":   "",
	} {
		connection := v.connect(1)[0]
		sent := make(chan int)
		go func() { sent <- sendGigabyte(connection, begin) }()
		got := v.read(connection)
		got.Sent = <-sent
		results[name] = got
	}
	results["beside"] = v.ask(v.uid + 1)
	return results
}

func sendGigabyte(connection net.Conn, begin string) (sent int) {
	part := []byte(begin)
	for sent < 1<<30 {
		count, err := connection.Write(part)
		sent += count
		if err != nil {
			return sent
		}
		part = []byte(strings.Repeat("x", 1<<20))
	}
	return sent
}

// comeInCrowds opens so many connections, at-once of them at a time, and asks on each.
func (v visitor) comeInCrowds(total, atOnce int) any {
	result := struct {
		Connections int            `json:"connections"`
		Answered    int            `json:"answered"`
		Refused     map[string]int `json:"refused"`
		HungUp      int            `json:"hung_up"`
		Beside      int            `json:"beside"`
	}{Refused: map[string]int{}}
	for result.Connections < total {
		opened := v.connect(min(atOnce, total-result.Connections))
		result.Connections += len(opened)
		result.Beside += v.beside()
		for _, connection := range opened {
			_, _ = io.WriteString(connection, statusRequest)
		}
		for _, connection := range opened {
			switch got := v.read(connection); {
			case got.Status == http.StatusOK:
				result.Answered++
			case got.Status != 0:
				result.Refused[got.Code]++
			default:
				result.HungUp++
			}
		}
	}
	return result
}
