// Package protocol is the contract between the agent and whatever serves it:
// the messages of the check-in, the signed content objects, the row of the
// guide's table, and the words and codes that people and programs read.
//
// The exchange, in full:
//
//   - The agent asks, the portal answers; nothing ever connects to a Mac.
//   - POST /v1/enroll carries an [EnrollRequest] inside a DSSE envelope that
//     the device signed with its own key. A new device gets a [DeviceID] and a
//     bearer token; a device the portal knows gets them only if the envelope
//     is signed by the key it knows. Otherwise the enrollment waits for a
//     person and every token given out before stays alive (H01).
//   - POST /v1/checkin carries a [CheckinRequest]. request_id makes it
//     idempotent: the same id gets the same acknowledgement and makes one
//     inventory row, however often a reply is lost; commands and cancel are
//     computed afresh each time (H03).
//   - sequence rises by one with each new request inside an epoch. A gap makes
//     the portal ask for everything; a number used twice with another body is
//     two devices with one identity (H02).
//   - Inventory is a delta against the report that the portal acknowledged
//     last, named by its hash. A portal that does not hold that base answers
//     "send_full". An unchanged report is its hash and nothing else.
//   - A report always fits (Compose): texts are cut where the portal cuts them,
//     and what is too much in all is shed, of each user what is beyond a fair
//     share, and follows as a delta against what was acknowledged (H51).
//   - Numbers in an answer have bounds, in one table, whoever speaks for the portal
//     (Bound, H52).
//   - The reply is never authority over policy: its policy field says that a
//     newer head may exist. The head is fetched, verified against the keys in
//     the Mac's own configuration, and pins the policy by its hash.
//   - Errors are application/problem+json with a type of this package's table.
//     Any other error body is an outage of something in between, and changes
//     nothing (H04).
//
// Unknown fields are ignored in both directions; unknown trigger and event
// names are kept as text. Sizes and depth are capped before decoding (limits.go).
package protocol
