// Package config makes one validated Config of what the Mac's administrator
// wrote down: the managed preferences of an MDM, or root's config.plist
// (DESIGN 4, protocol.md 2.2 as amended by DESIGN 4.1).
//
// Everything the agent trusts a portal with comes from one file as a whole
// (H05): from the managed file if it has any trust key, else from config.plist.
// Two files are never mixed, so a local file can not add a server to an MDM's
// keys. A managed file that is there but cannot be read is not a missing one:
// it gives no trust keys, and config.plist is not asked in its place.
//
// Between the two stands the Keeper: a file that is gone stays in force until it
// was missed twice, ten minutes apart (H06).
//
// Loading never fails as a whole. What cannot be used is a Problem, and its key
// has its default.
package config
