// Package checkin is the agent's half of the exchange with a portal
// (protocol.md 2.5, 2.6, 2.11 and 2.12; agent/protocol has the messages): it
// enrolls, reports, and fetches the signed content.
//
// What must survive a crash is in two places. node.json has who we are: the
// device key, the token and the Mac they belong to (H01, H02), and which heads
// were seen, because it outlives the store (H65). The store has
// where the exchange stands: the last acknowledged baseline and sequence number,
// the one report that was sent and not answered, and the last good policy.
//
// A report is stored, byte for byte, before it is sent, and is sent again byte
// for byte until it is answered or a day old. So a lost answer, a crash between
// any two steps, and a portal restored from a backup all end in the same place:
// the portal has each report once. That costs two commits per check-in: one
// before it is sent, one after it is answered.
//
// Only a problem of our own table changes what the agent believes about its
// identity (H04). Only a verified head changes its policy. A group named by an
// unsigned answer is believed only while no policy of another group is in force
// (H08). A number that a portal names is believed within bounds, a name if it can
// be a file's (H52, H63), and no text shows a part of a secret (H62).
//
// Each way in which an exchange can fail has a code of its own, with text and
// remedy in the one table of codes; none of them costs more than a minute awake,
// a megabyte, or anything that was known before. What may be a network that
// wants a sign-in first is no alarm while the network has just changed
// (facts/macos.md 2.5). Expiry is judged by a time that neither a portal nor the
// Mac's clock can move at will (H07, trustedTime).
package checkin
