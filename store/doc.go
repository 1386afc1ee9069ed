// Package store keeps the agent's state in one bbolt file behind typed,
// checksummed collections (DESIGN 9).
//
// # The file
//
// state.db holds a header (epoch, format), one bucket per collection, and a
// tally per collection. A record is 8 bytes of checksum and JSON; the checksum
// covers collection, key and value. A tally is the number of rows and the sum of
// their checksums, changed in the same commit as the rows. So a lost row, a
// changed one, one in a wrong place and one that a lost write put back to an
// older state are all noticed at the next Open. Each commit also leaves its
// number beside the header, which must be the one of the meta: bbolt writes a
// commit into the pages of the one before last, so a meta that reached the disk
// without its pages leads to a state that is old, and whole.
//
// # What Open does
//
//  1. The folder must be ours alone. Then the lock file state.lock decides who
//     uses the database, before the database is touched (hardening H50).
//  2. The file is opened once, locked, and read with plain reads by a reader of
//     our own: both metas, every page of every tree, the freelist, every
//     checksum, every tally. bbolt trusts its file: damage makes it panic, fault,
//     recurse without end or lose keys in silence (facts/models.md, damage test
//     1; facts/macos.md 9), and its own Check runs in a goroutine that no guard
//     reaches. So bbolt gets nothing that was not verified, on the descriptor it
//     was verified on.
//  3. bbolt opens it, guarded, and checks it once more.
//  4. If only one of the two metas is valid, the other may have been the last
//     commit: the state is that of the valid one, with a new epoch (repaired).
//  5. If the content is damaged, and only then, the newest backup that verifies,
//     or else an empty database, is made aside with a new epoch, and replaces
//     the damaged file in one step. The damaged file stays as
//     state.db.bad-<UTC time>; the newest four are kept. Killed at any step of
//     this, the next Open ends the same way.
//  6. What happened in 4 or 5 is part of the new state, and is reported again by
//     every Open until an Update has committed something. A caller that keeps the
//     report in its first commit cannot lose it.
//
// # What is not damage
//
// Each of these is an error with a code, and leaves every file as it was (H50):
//
//   - already_running: the lock file, or the database file itself, is locked by
//     another process. Damage that is seen while somebody else writes is none.
//   - store_newer: a newer version has written the database, in a format that this
//     one does not know. What it would take for damage is none; the version that
//     reads it finds everything again.
//   - store_full: no space (ENOSPC), no quota (EDQUOT), a limit of size (EFBIG,
//     Options.MaxSize). The transaction is rolled back and the store stays
//     usable; reads go on. If a damaged database cannot be replaced for lack of
//     space, it stays, and the next Open tries again.
//   - store_denied: EACCES, EPERM (on macOS also a privacy or sandbox refusal),
//     EROFS, a link or folder in place of a file, a folder others can write to.
//     A restore would fail for the same reason, or replace a good file. In a
//     folder that is read-only a healthy database is used as it is.
//   - store_io: all else, above all EIO. A disk that cannot be read says nothing
//     about what is on it, and may answer later. A backup that cannot be read is
//     passed over, though, because the others may be readable.
//
// A database that is missing although there is a backup counts as damaged:
// creating and replacing are atomic, so no crash of ours explains it.
//
// # While it is open
//
// Every transaction is guarded. A panic within one, a fault in the memory
// mapping and a bug of the caller alike, becomes an error with the code
// store_damaged, and so does a wrong checksum. After a panic, and after a commit
// that failed for any reason but a full disk, the store refuses further use:
// close and open it, and the verification of Open tells damage from bug. After
// an error of a commit it is unknown whether the commit is on the disk; read
// again.
//
// An Update that changed nothing commits nothing and writes nothing; storing the
// same record again is no change. Backup copies, verifies the copy, and only
// then moves the older backups on.
//
// # What cannot be proven without hardware
//
// The tests show what happens to a file that is damaged in a known way, that a
// killed process loses nothing that was committed, and what a power failure
// leaves: they record every write, flush and rename of real commits, backups and
// restores, and open what is left if any of what was not flushed is lost, torn in
// sectors of 512 bytes or garbled. On a disk that keeps what it says it has
// flushed, and a file system that keeps the order of renames, that is always the
// last commit or the one that was being made. On a disk that says so and loses
// any part of one commit, it is that one, the one before, or a restore that says
// so.
//
// They cannot show that a disk keeps its word (on darwin a commit is two
// F_FULLFSYNC, facts/macos.md 9; the recordings are of Linux, where it is two
// fdatasync), nor that APFS orders renames as assumed. If a drive loses the last
// commit as a whole, with its meta, the file is a valid older state, and nothing
// in it can say so; the intent file of H22 is for that. After a failed flush the
// system may show pages from memory that are not on the disk, until it restarts.
// The checksums are against accidents: who can write the file as root can also
// compute them.
package store
