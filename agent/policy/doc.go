// Package policy is the policy model, shared with the portal so that what is
// linted there is what is obeyed here (protocol.md 2.8): the document, the
// catalogue of settings, and the plan.
//
// It is pure. It reads no file, runs no tool and knows no clock but its
// arguments. Who carries a plan out (agent/enforce) does it so:
//
//  1. Look at the machines, then call Plan with what is wanted (Desired), what
//     was seen (Observed) and what is remembered (Memory).
//  2. Keep Result.Memory in place of what was remembered of those machines,
//     before anything else: it counts drift and dates the verdicts. There is
//     nothing in it for a machine about which nothing has changed.
//  3. Carry the steps of a machine out in their order, in the lane of its
//     owner; steps of different machines are independent. Before each: keep
//     VMMemory.Begin(step), so that a crash finds what was written and what was
//     there before. Then run `prlctl` with Step.Argv as the owner, with closed
//     standard input, without a terminal, for at most 15 s (H67). Then read the
//     machine again and ask Step.Proven; where Step.InFile, config.pvs is
//     written later than the call ends: ask for up to 10 s. Exit codes are hints.
//     Then keep VMMemory.End with the outcome. A step that failed does not end
//     the others of its machine, but for one that StopsOthers.
//  4. Look again and plan again; the verdicts of that plan are the report.
//     While its steps are not empty and something got better, go on at 3.
//
// Preferences of the application go another way, account by account
// (PlanPreferences): who carries them out exports the account's domain, plans,
// keeps PreferencePlan.Memory, and for each step VMMemory.BeginPreference, then writes
// the one key as that user, exports again, asks PreferenceStep.Proven and keeps
// VMMemory.EndPreference.
//
// A crash at any point needs no cleaning up: the next plan starts from what is
// seen and what is remembered. In monitor mode, and where nothing may be run,
// Steps is empty, and WouldDo has what would be done. The Notices of a plan are
// told to their users, and VMMemory.Told is kept for each of their machines.
//
// A document that could not be read, an expired head, or none at all is no
// reason to plan with less: pass the last good document. Only Desired.Released,
// which a signed head says, ends management: values stay, locks that we placed
// are lifted. After a person's `prlagent release --locks` plans have LiftLocks
// until there is a newer head (H47). What a person sets by hand is a plan with
// OneSetting, and with no memory but that of locks.
package policy
