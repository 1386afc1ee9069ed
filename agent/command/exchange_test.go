package command

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"prlagent/agent/protocol"
)

// What goes between the two sides of the world: check-ins, enrollments, and what an
// admin orders and decides.

// twoKeys is the type that two persons must sign.
const twoKeys = "vm.restart"

// sealedLife is as pendingLife of agent/checkin.
const sealedLife = 24 * time.Hour

// message is what a report says to the portal of commands.
type message struct {
	requestID string
	epoch     string
	sequence  uint64
	open      []protocol.OpenCommand
	results   []protocol.Result
}

// Problems that a portal answers with, and what it "says" when it has crashed.
const (
	answered   = ""
	noAnswer   = "no answer"
	notKnown   = protocol.ProblemDeviceUnknown
	isRetired  = protocol.ProblemDeviceRetired
	isSendFull = protocol.InventorySendFull
)

// portalSide is a portal as the world drives it. Decisions that are refused are none.
type portalSide interface {
	start(w *world)
	restart() // as after a crash, with what is on the disk
	enroll(freshKey bool) (deviceID, serial, problem string)
	checkin(message) (reply protocol.CheckinReply, problem string)

	issue(protocol.Command) (taken bool)
	approve(id string) (done bool)
	cancel(id string) (done bool)
	confirm(id string) (done bool)
	thaw() (done bool)
	retire(lost bool) (done bool)
	revive() (done bool) // a device that was retired
	backUp()
	restore(auditToo bool) (done bool)

	sign(payloadType string, payload []byte) protocol.Envelope // as the first person
	order(id string) (portalOrder, bool)
	base() (next uint64, commandID string) // of the list of holds
	stop()
}

// portalOrder is a command as the portal has it.
type portalOrder struct {
	state     string
	code      protocol.Code
	hasResult bool
	epoch     string // in which the Mac spoke of it last
	withheld  string
	orphan    bool
}

func (o portalOrder) open() bool { return !protocol.CommandEnded(o.state) }

// route is what the network does with the messages of one exchange.
type route struct{ lostOut, lostBack, twice bool }

// enroll makes the Mac known, with its key or with a new one that an admin lets in.
func (w *world) enroll(freshKey bool) (enrolled bool) {
	w.atPortal(func() {
		id, serial, problem := w.portal.enroll(freshKey)
		if enrolled = problem == answered; enrolled {
			w.device.DeviceID, w.device.MacSerial = id, serial
			w.enrolled = len(w.names)
			clear(w.confirmed)
		}
	})
	return enrolled
}

// exchange is one check-in with the report of before, if that has no answer yet, and
// then with what is so now: see agent/checkin. Its messages can be lost on their way
// out or back, or arrive twice.
func (w *world) exchange(on route) {
	if !w.online || w.mac.down {
		return
	}
	var reply *protocol.CheckinReply
	if w.isResumed() {
		open, results := w.sealed.open, w.sealed.results
		if !w.deliver(on, &reply) {
			return
		}
		w.happened["repeated"]++
		if now, news := w.side.report(); slices.Equal(now, open) && len(news) == len(results) {
			w.takeReply(reply)
			return
		}
	}
	for range 2 {
		if !w.seal() {
			break
		}
		if !w.deliver(on, &reply) || reply.Inventory != isSendFull {
			break
		}
	}
	w.takeReply(reply)
}

func (w *world) takeReply(reply *protocol.CheckinReply) {
	if reply != nil && !w.mac.down {
		w.take(reply.Cancel, reply.Commands)
	}
}

// take hands the Mac an answer. What it has not begun, and is told to cancel, it does not
// do: not as long as it remembers that.
func (w *world) take(cancel []string, orders []protocol.Envelope) {
	w.side.take(cancel, orders)
	if w.mac.down || w.mac.full {
		return
	}
	for _, id := range cancel {
		w.stopped[id] = true
	}
}

// isResumed reports whether a report of before is to be sent once more. One that is
// not has used its number up.
func (w *world) isResumed() bool {
	if epoch := w.side.epoch(); w.counted != epoch {
		w.counted, w.sequence, w.sealed = epoch, 0, nil
	}
	if w.sealed == nil {
		return false
	}
	if w.wall().Sub(w.sealed.at).Abs() < sealedLife {
		return true
	}
	w.sequence, w.sealed = w.sealed.sequence, nil
	return false
}

// seal stores the next report before anybody sends it.
func (w *world) seal() (kept bool) {
	open, results := w.side.report()
	w.wantOnDisk(open, results)
	w.wantTold(results)
	if w.mayWrite() != nil {
		return false
	}
	w.requests++
	made := message{
		requestID: fmt.Sprintf("%08x-0000-7000-8000-%012x", w.requests, w.requests), epoch: w.side.epoch(), sequence: w.sequence + 1, open: open, results: results,
	}
	w.sealed = &sealed{made, w.wall()}
	return w.point() == nil
}

// deliver sends the sealed report until it is acknowledged, and settles that. It
// reports whether to go on.
func (w *world) deliver(on route, reply **protocol.CheckinReply) bool {
	if on.lostOut {
		return false
	}
	answer, problem := w.send(on)
	if problem == notKnown && w.enroll(false) {
		answer, problem = w.send(on)
	}
	switch problem {
	case answered:
	case noAnswer, notKnown, isRetired:
		return false
	default:
		w.fail("the portal answers with %s", problem)
		w.sequence, w.sealed = w.sealed.sequence, nil
		return false
	}
	w.old = append(w.old, answer)
	if on.lostBack {
		return false
	}
	w.seen, w.awake, w.seenAt = w.now, 0, w.wall()
	var acknowledged []string
	for _, ack := range answer.Acks {
		if slices.ContainsFunc(w.sealed.results, func(r protocol.Result) bool { return r.CommandID == ack.CommandID }) {
			acknowledged = append(acknowledged, ack.CommandID)
		}
	}
	kept := w.side.settle(acknowledged)
	if kept {
		w.wantRemembered(acknowledged)
		w.sequence, w.sealed = w.sealed.sequence, nil
	}
	*reply = &answer
	return kept && !w.mac.down
}

// send is one request, or two that are the same.
func (w *world) send(on route) (answer protocol.CheckinReply, problem string) {
	for range map[bool]int{false: 1, true: 2}[on.twice] {
		w.atPortal(func() {
			answer, problem = w.portal.checkin(w.sealed.message)
		})
		if problem == answered {
			w.wantMaySend(answer)
			w.wantKept(answer)
			w.device.Epoch = w.sealed.epoch
			for _, result := range w.sealed.results {
				now := w.inEpoch[result.CommandID]
				now.told = result.State
				w.inEpoch[result.CommandID] = now
			}
		}
	}
	return answer, problem
}

// issue is an admin's command.
func (w *world) issue(kind string, lifetime time.Duration, n int) {
	command := protocol.Command{
		CommandID: commandID(w.now, len(w.names)), Type: kind, IssuedAt: w.now, ExpiresAt: w.now.Add(lifetime), Target: w.device, IssuedBy: firstPerson, Reason: "test",
	}
	if n%4 == 3 {
		command.NotBefore = w.now.Add(2 * time.Hour)
	}
	w.addTarget(&command, n)
	w.commands[command.CommandID] = command
	if protocol.ChangesHolds(kind) {
		w.commands[command.CommandID] = w.withHolds(command)
	}
	w.names = append(w.names, command.CommandID)
	w.atPortal(func() {
		if w.portal.issue(w.commands[command.CommandID]) {
			w.happened["issued"]++
		}
	})
}

// addTarget names what of the Mac a command of its type is about.
func (w *world) addTarget(command *protocol.Command, n int) {
	if !protocol.IsHazardous(command.Type) {
		command.Target.Epoch = ""
	}
	if row, _ := protocol.CommandTypeOf(command.Type); row.OnVM {
		vm := worldVM(n)
		command.Target.VMID, command.Target.UID, command.Target.Owner, command.Target.VMName, command.Target.Bundle = vm.ID, vm.UID, vm.Owner, vm.Name, vm.Bundle
	}
}

// forge hands the Mac an order that no admin gave, as a hostile portal can: of a stranger,
// signed by fewer than must, or for another Mac, another account or what is not allowed.
func (w *world) forge(n int) {
	kind := []string{"vm.delete", twoKeys, "vm.delete", "vm.delete", notAllowedHere}[n%5]
	command := protocol.Command{
		CommandID: commandID(w.now, 1_000_000+n), Type: kind, IssuedAt: w.now, ExpiresAt: w.now.Add(30 * days), Target: w.device, IssuedBy: firstPerson, Reason: "test",
	}
	command.Target.Epoch = w.side.epoch()
	w.addTarget(&command, n)
	switch n % 5 {
	case 2:
		command.Target.DeviceID = "device-2"
	case 3:
		command.Target.UID = worldUID + 1
	}
	w.commands[command.CommandID], w.forged[command.CommandID] = command, true
	payload, _ := json.Marshal(command)
	envelope := w.portal.sign(protocol.PayloadCommand, payload)
	if n%5 == 0 {
		envelope = protocol.Sign(protocol.PayloadCommand, payload, testKey(3))
	}
	w.then(func() { w.take(nil, []protocol.Envelope{envelope}) })
}

// notAllowedHere is the type that the Mac's profile does not list.
const notAllowedHere = "windows_update.install"

// worldVMs are how many virtual machines the Mac has, of one user.
const (
	worldVMs = 3
	worldUID = 501
)

func worldVM(n int) protocol.VM {
	n %= worldVMs
	return protocol.VM{
		VMKey: protocol.VMKey{ID: fmt.Sprintf("%08x-3b64-4b13-86b0-86ff7e2b2030", n+1), UID: worldUID}, Owner: "alice", Name: fmt.Sprintf("Windows %d", n),
		Bundle: protocol.Bundle{Volume: "0E5C2F1A-9C3B-4B7E-8D55-6A0F4C1B7D21", Inode: uint64(n + 2)}, State: protocol.StateStopped, OS: "win-11", Source: protocol.SourceOther,
		Encryption: protocol.NotEncrypted, CPU: protocol.CPUArm, Gaps: map[string]protocol.Code{"vm_edition": protocol.CodeNeverStarted},
	}
}

// withHolds gives a lock or unlock the list that it puts in force.
func (w *world) withHolds(command protocol.Command) protocol.Command {
	next, from := w.portal.base()
	list := protocol.HoldList{DeviceID: command.Target.DeviceID, MacSerial: command.Target.MacSerial, Version: next, IssuedAt: w.now, Holds: []protocol.Hold{}}
	for _, hold := range w.lists[from].Holds {
		if hold.VMKey != command.Target.VM() {
			list.Holds = append(list.Holds, hold)
		}
	}
	if command.Type == "vm.lock" {
		list.Holds = append(list.Holds, protocol.Hold{VMKey: command.Target.VM(), VMName: command.Target.VMName, Since: w.now, CommandID: command.CommandID})
	}
	w.lists[command.CommandID] = list
	payload, _ := json.Marshal(list)
	command.Params, _ = json.Marshal(protocol.HoldsParams{Holds: w.portal.sign(protocol.PayloadHolds, payload)})
	return command
}

// cancelOrder, confirm and thaw are decisions of an admin. One that the portal crashed over
// may have been taken.
func (w *world) cancelOrder(id string) bool {
	done := w.portal.cancel(id)
	w.cancelled[id] = w.cancelled[id] || done
	return done
}

func (w *world) confirm(id string) bool {
	w.confirmed[id] = true
	return w.portal.confirm(id)
}

func (w *world) thaw() bool {
	w.isAhead = false
	return w.portal.thaw()
}

// backUpPortal and restorePortal are of the portal's database, and of its audit log where
// all of its folder is put back.
func (w *world) backUpPortal() {
	w.portal.backUp()
	w.backedUp = message{epoch: w.counted, sequence: w.sequence}
	if w.sealed != nil {
		w.backedUp = message{epoch: w.sealed.epoch, sequence: w.sealed.sequence}
	}
}

func (w *world) restorePortal(all bool) (done bool) {
	if done = w.portal.restore(all); !done {
		return false
	}
	hasNewer := w.counted == w.backedUp.epoch && w.sequence > w.backedUp.sequence || w.counted != w.backedUp.epoch && w.sequence > 0
	w.restored, w.enrolled, w.isAhead = true, 0, w.isAhead || hasNewer
	clear(w.confirmed)
	if all {
		clear(w.cancelled)
	}
	return true
}

// decide has an admin decide of a command.
func (w *world) decide(what string, n int, decide func(id string) bool) {
	if len(w.names) == 0 {
		return
	}
	w.atPortal(func() {
		if decide(w.names[n%len(w.names)]) {
			w.happened[what]++
		}
	})
}
