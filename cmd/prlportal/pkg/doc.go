// Package pkg makes what installs the agent on a Mac, in pure Go and without a tool
// from elsewhere: universal programs, a flat package for installer(8) and MDM, a
// plain tar and the uninstall script. The same input gives the same bytes.
//
// A flat package is a xar archive:
//
//	Distribution           what installer shows and asks: nothing
//	agent.pkg/PackageInfo  identifier, version, scripts
//	agent.pkg/Bom          the bill of materials: what lsbom and pkgutil list
//	agent.pkg/Payload      the files: a cpio archive in the odc format, compressed
//	agent.pkg/Scripts      preinstall and postinstall, likewise
//
// The formats are those of facts/macos.md 13.1 and facts/acting.md 4. That the real
// installer takes what is written here is unknown until a Mac has tried: Fleet ships
// packages of the same formats, and independent readers read ours in the tests.
//
// What the package installs is the list of payload, and nothing else. It has no
// symbolic link and nothing under /usr/local, whose owner is often a user's package
// manager: postinstall makes the link there.
package pkg
