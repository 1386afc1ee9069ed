package checkin

import "prlagent/agent/protocol"

// anew is what the next exchange does as if it were the first.
type anew struct {
	report bool // everything is told
	head   bool // the head is asked for, whatever the portal hints
}

// TellAll has the next report carry everything, whatever the portal has.
func (c *Client) TellAll() { c.setAnew(func(a *anew) { a.report = true }) }

// AskForPolicy has the next exchange ask for the group's policy, whatever the
// portal says of it.
func (c *Client) AskForPolicy() { c.setAnew(func(a *anew) { a.head = true }) }

// takeAnew is what was asked for before an exchange. What is asked for while it runs is
// for the next one.
func (c *Client) takeAnew() anew {
	c.stateMutex.Lock()
	wanted := c.anew
	c.anew = anew{}
	c.stateMutex.Unlock()
	return wanted
}

// returnAnew leaves what the exchange that took it has not done to the next one.
func (c *Client) returnAnew(left anew) {
	c.setAnew(func(a *anew) { a.report, a.head = a.report || left.report, a.head || left.head })
}

func (c *Client) setAnew(change func(*anew)) {
	c.stateMutex.Lock()
	defer c.stateMutex.Unlock()
	change(&c.anew)
}

// SignReceipt signs the payload of a receipt with the device's key, if there is one.
func (c *Client) SignReceipt(payload []byte) (signed protocol.Envelope, ok bool) {
	who := c.currentIdentity()
	if who.key == nil {
		return protocol.Envelope{}, false
	}
	return protocol.Sign(protocol.PayloadReceipt, payload, who.key), true
}
