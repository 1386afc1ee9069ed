package protocol

import "errors"

// Code is a stable, lower_snake word for a reason that a person or a program
// will see. Every code that any part of prlagent shows has its row in Codes.
type Code string

// Severity says what a code asks of a person.
type Severity string

// Severities, mildest first.
const (
	Info    Severity = "info"    // explains, nothing to do
	Warning Severity = "warning" // degraded: someone should look
	Failure Severity = "failure" // a duty of the agent is not being done
)

// CodeText is what a person reads for a code.
type CodeText struct {
	Code     Code
	Severity Severity
	Text     string
	Remedy   string // what to do next; empty where there is nothing to do
}

// Codes of empty cells, users, portal, configuration, content, store and
// local requests.
const (
	CodeNotLookedYet      Code = "not_looked_yet"
	CodeNotReportedYet    Code = "not_reported_yet"
	CodePDVersionTooOld   Code = "pd_version_too_old"
	CodeNeverStarted      Code = "never_started"
	CodeNoTools           Code = "no_tools"
	CodeToolsOutdated     Code = "tools_outdated"
	CodeEncryptionMethod  Code = "encryption_method_unknown"
	CodeNotSeenRunning    Code = "not_seen_running"
	CodeNotReadable       Code = "not_readable"
	CodePrivacyDenied     Code = "privacy_denied"
	CodeNotShown          Code = "not_shown"
	CodeNameWithheld      Code = "name_withheld"
	CodeMacGuestSerial    Code = "mac_guest_serial"
	CodeNoSerial          Code = "mac_without_serial"
	CodeMacUnidentified   Code = "mac_unidentified"
	CodeStateDisputed     Code = "state_disputed"
	CodeVMInvalid         Code = "vm_invalid"
	CodeUnreadableVM      Code = "unreadable_vm"
	CodeDuplicateKey      Code = "duplicate_key"
	CodeDuplicateID       Code = "duplicate_id"
	CodeNoID              Code = "no_id"
	CodeWrongType         Code = "wrong_type"
	CodeInvalidVMID       Code = "invalid_vm_id"
	CodeVMNotFound        Code = "vm_not_found"
	CodeServiceDown       Code = "service_down"
	CodePDDeactivated     Code = "pd_deactivated"
	CodeEdition           Code = "edition"
	CodeUnrecognized      Code = "unrecognized_option"
	CodeVMBusy            Code = "vm_busy"
	CodeOperationCanceled Code = "operation_canceled"
	CodeLicenseUnreadable Code = "license_unreadable"
	CodeNoLicense         Code = "no_license"
	CodeLicenseGrace      Code = "license_grace"
	CodeLicenseExpired    Code = "license_expired"
	CodeLicenseInvalid    Code = "license_invalid"
	CodeLicenseInactive   Code = "license_inactive"
	CodeAdminPassword     Code = "admin_password_required"
	CodeVMPassword        Code = "vm_password_required"
	CodeVMConfigInvalid   Code = "vm_config_invalid"
	CodeWrittenAt         Code = "last_used_from_files"
	CodeOutputInvalid     Code = "output_invalid"
	CodeOutputTooLarge    Code = "output_too_large"
	CodeOutputTooDeep     Code = "output_too_deep"
	CodeUserSession       Code = "user_session"
	CodeUserLate          Code = "user_late"
	CodeGuestOS           Code = "guest_os"
	CodePDNotInstalled    Code = "pd_not_installed"
	CodePDNotSetUp        Code = "pd_not_set_up"
	CodeLicensingProfile  Code = "licensing_profile_missing"
	CodeProfilesDiffer    Code = "licensing_profiles_differ"
	CodeProfileWithoutKey Code = "licensing_profile_without_key"
	CodeProfileWord       Code = "licensing_profile_unknown_word"
	CodeLicenseDiffers    Code = "license_not_of_profile"
	CodeLicenseUnguarded  Code = "license_not_guarded"
	CodePrivacyRule       Code = "privacy_requirement_not_met"
	CodeContinueWithSSO   Code = "continue_with_sso"
	CodeLicenseHost       Code = "license_host_unreachable"
	CodeVMLimit           Code = "vm_limit"
	CodeStreamLimit       Code = "stream_limit"
	CodeStreamDown        Code = "stream_down"
	CodeAccountNotLocal   Code = "account_not_local"
	CodeAccountUIDLow     Code = "account_uid_too_low"
	CodeAccountUIDHigh    Code = "account_uid_too_high"
	CodeAccountHidden     Code = "account_hidden"
	CodeFileInvalid       Code = "file_invalid"
	CodeFileTooLarge      Code = "file_too_large"
	CodeFileTooDeep       Code = "file_too_deep"
	CodeDuplicateElement  Code = "duplicate_element"

	CodeToolMissing    Code = "tool_missing"
	CodeToolTimeout    Code = "tool_timeout"
	CodeToolTooLarge   Code = "tool_output_too_large"
	CodeToolRefused    Code = "tool_refused"
	CodeToolFailed     Code = "tool_failed"
	CodeToolsUntrusted Code = "tools_untrusted"
	CodeToolsChanged   Code = "tools_changed"

	CodeNotConfigured         Code = "not_configured"
	CodeConfigInvalid         Code = "config_invalid"
	CodeConfigUnreadable      Code = "config_unreadable"
	CodeConfigUnknownKey      Code = "config_unknown_key"
	CodeConfigNestedKey       Code = "config_nested_key"
	CodeConfigNoKeys          Code = "config_no_keys"
	CodeConfigMixedSource     Code = "config_ignored_local"
	CodeLocallyManaged        Code = "locally_managed"
	CodeEnrollmentRefused     Code = "enrollment_refused"
	CodeEnrollmentPending     Code = "enrollment_pending"
	CodeEnrollmentClosed      Code = "enrollment_closed"
	CodeEnrollmentWrongPortal Code = "enrollment_wrong_portal"
	CodeEnrollmentStale       Code = "enrollment_stale"
	CodeEnrollmentReplayed    Code = "enrollment_replayed"
	CodeEnrollmentRejected    Code = "enrollment_rejected"
	CodePendingKeysFull       Code = "pending_keys_full"
	CodeNotEnrolled           Code = "not_enrolled"
	CodeDeviceUnknown         Code = "device_unknown"
	CodeDeviceRevoked         Code = "device_revoked"
	CodeDeviceRetired         Code = "device_retired"
	CodeDuplicateIdentity     Code = "duplicate_identity"
	CodeSequenceConflict      Code = "sequence_conflict"
	CodeEpochRenewed          Code = "epoch_renewed"
	CodeIdentityReset         Code = "identity_reset"
	CodeIdentityUnreadable    Code = "identity_unreadable"
	CodePortalUnreachable     Code = "portal_unreachable"
	CodePortalCertificate     Code = "portal_certificate"
	CodePortalRefused         Code = "portal_refused"
	CodePortalOutage          Code = "portal_outage"
	CodePortalReplyInvalid    Code = "portal_reply_invalid"
	CodePortalBusy            Code = "portal_busy"

	CodePossiblyCaptive     Code = "possibly_captive"
	CodeNetworkSignIn       Code = "network_sign_in"
	CodePortalWrongName     Code = "portal_wrong_name"
	CodePortalExpired       Code = "portal_certificate_expired"
	CodePortalExpiring      Code = "portal_certificate_ends_soon"
	CodePortalTLS           Code = "portal_tls"
	CodePortalDNS           Code = "portal_dns"
	CodePortalTimeout       Code = "portal_timeout"
	CodePortalInterrupted   Code = "portal_interrupted"
	CodePortalRedirect      Code = "portal_redirect"
	CodePortalWebPage       Code = "portal_web_page"
	CodePortalReplyTooLarge Code = "portal_reply_too_large"
	CodeProxySignIn         Code = "proxy_sign_in"
	CodeProxyRefused        Code = "proxy_refused"
	CodeClockSkew           Code = "clock_skew"
	CodeServerTimeRefused   Code = "server_time_refused"
	CodeTrustedTimeReset    Code = "trusted_time_reset"
	CodeProfileMissing      Code = "profile_missing"
	CodeProfileRemoved      Code = "profile_removed"

	CodeThrottled      Code = "throttled"
	CodeReportTooLarge Code = "report_too_large"
	CodeReportTrimmed  Code = "report_trimmed"
	CodeEventsDropped  Code = "events_dropped"

	CodeHeadMissing        Code = "head_missing"
	CodeHeadInvalid        Code = "head_invalid"
	CodeHeadSignature      Code = "head_signature"
	CodeHeadWrongGroup     Code = "head_wrong_group"
	CodeHeadWrongSite      Code = "head_wrong_site"
	CodeRollbackDetected   Code = "rollback_detected"
	CodeContentStale       Code = "content_stale"
	CodeContentExpiring    Code = "content_expiring"
	CodeContentUnreadable  Code = "content_unreadable"
	CodePolicyKeyGone      Code = "policy_key_gone"
	CodePolicyHash         Code = "policy_hash"
	CodePolicyInvalid      Code = "policy_invalid"
	CodeUnsupportedFeature Code = "unsupported_feature"
	CodeNoPolicyKeys       Code = "no_policy_keys"
	CodeGroupChangeRefused Code = "group_change_unsigned"

	CodePolicySyntax        Code = "policy_syntax"
	CodePolicyNull          Code = "policy_null"
	CodePolicyDuplicateKey  Code = "policy_duplicate_key"
	CodePolicyTooDeep       Code = "policy_too_deep"
	CodePolicyTooLarge      Code = "policy_too_large"
	CodePolicyWrongType     Code = "policy_wrong_type"
	CodePolicyWrongValue    Code = "policy_wrong_value"
	CodePolicyMissing       Code = "policy_missing_member"
	CodePolicyUnknownMember Code = "policy_unknown_member"
	CodePolicyConflict      Code = "policy_conflict"

	CodeNotSetYet           Code = "not_set_yet"
	CodeMonitorMode         Code = "monitor_mode"
	CodeVMRunning           Code = "vm_running"
	CodeVMInUse             Code = "vm_in_use"
	CodeVMSuspended         Code = "vm_suspended"
	CodeVMHeld              Code = "vm_held"
	CodeVMNotRunning        Code = "vm_not_running"
	CodeVMPacked            Code = "vm_packed"
	CodeGuestOSArch         Code = "guest_os_arch"
	CodeNeedsWindowsTools   Code = "needs_windows_tools"
	CodeNoPublicWay         Code = "no_public_way"
	CodeStricterValue       Code = "stricter_value"
	CodeSettingUnknown      Code = "setting_unknown"
	CodeSectionNotSupported Code = "section_not_supported"
	CodeReleaseUnproven     Code = "release_unproven"
	CodeNotObservable       Code = "not_observable"
	CodeNotVerified         Code = "not_verified"
	CodeContended           Code = "contended"
	CodeManaged             Code = "managed"
	CodePendingRestart      Code = "pending_restart"
	CodeValueKept           Code = "value_kept"
	CodePreferenceLost      Code = "preference_lost"
	CodePreferencesMoved    Code = "preferences_moved"
	CodeUpdatedAnyway       Code = "updated_against_policy"
	CodeLockReleasing       Code = "lock_releasing"
	CodeLocksReleased       Code = "locks_released"

	CodeVMUnprovisioned      Code = "vm_unprovisioned"
	CodeSecondProvisioned    Code = "second_provisioned_vm"
	CodeRemovedAgainstPolicy Code = "removed_against_policy"
	CodeMajorUpgrade         Code = "major_upgrade"
	CodeOlderThanControl     Code = "older_than_control"
	CodeUnknownSource        Code = "unknown_source"
	CodeGracePeriod          Code = "grace_period"
	CodeVMInstalling         Code = "vm_installing"
	CodeNotEnforceable       Code = "not_enforceable"
	CodeDiskLow              Code = "disk_low_for_encryption"
	CodeControlLifted        Code = "control_lifted"
	CodeLocalUpdateServer    Code = "local_update_server"
	CodeManagedByMDM         Code = "mdm"

	CodeAlreadyRunning Code = "already_running"
	CodeStoreDamaged   Code = "store_damaged"
	CodeStoreNewer     Code = "store_newer"
	CodeStoreFull      Code = "store_full"
	CodeStoreDenied    Code = "store_denied"
	CodeFolderWritable Code = "folder_writable"
	CodeStoreIO        Code = "store_io"
	CodeSnapshotsOld   Code = "snapshots_old"
	CodeStateRestored  Code = "state_restored"
	CodeStateReset     Code = "state_reset"
	CodeAgentWasOff    Code = "agent_was_off"

	CodePlistEmpty       Code = "plist_empty"
	CodePlistTooLarge    Code = "plist_too_large"
	CodePlistTooDeep     Code = "plist_too_deep"
	CodePlistInvalid     Code = "plist_invalid"
	CodePlistWrongType   Code = "plist_wrong_type"
	CodePlistUnsupported Code = "plist_unsupported_value"
	CodePlistRoundTrip   Code = "plist_round_trip"

	CodeWebhookUndelivered Code = "webhook_undelivered"
	CodeWebhookGone        Code = "webhook_gone"
	CodeWebhookUnusable    Code = "webhook_unusable"

	CodeCommandSignature   Code = "command_signature"
	CodeCommandInvalid     Code = "command_invalid"
	CodeCommandOtherMac    Code = "command_other_mac"
	CodeCommandUnlisted    Code = "command_unlisted"
	CodeCommandUnknown     Code = "command_unknown"
	CodeCommandExpired     Code = "command_expired"
	CodeCommandCancelled   Code = "command_cancelled"
	CodeEpochChanged       Code = "epoch_changed"
	CodePortalRestored     Code = "portal_restored"
	CodeCommandTooLate     Code = "command_too_late"
	CodeCommandLimit       Code = "command_limit"
	CodeCommandMonitor     Code = "command_monitor"
	CodeTimeUnproven       Code = "time_unproven"
	CodeJournalLost        Code = "journal_lost"
	CodeCommandOtherEpoch  Code = "command_other_epoch"
	CodeIntentsUnreadable  Code = "intents_unreadable"
	CodeTargetChanged      Code = "target_changed"
	CodeTargetOwner        Code = "target_owner"
	CodeTargetUnlisted     Code = "target_unlisted"
	CodeWaitsForStop       Code = "waits_for_stop"
	CodeAlreadyAbsent      Code = "already_absent"
	CodeVerifiedAbsent     Code = "verified_absent"
	CodeHasDependents      Code = "has_dependents"
	CodeOutcomeUnknown     Code = "outcome_unknown"
	CodeNotDone            Code = "not_done"
	CodeImageNotSupported  Code = "image_not_supported"
	CodeHoldPlaced         Code = "hold_placed"
	CodeHoldLifted         Code = "hold_lifted"
	CodeHoldsOutdated      Code = "holds_outdated"
	CodeHoldReleased       Code = "hold_released"
	CodeHoldUnenforced     Code = "hold_unenforced"
	CodeHoldPending        Code = "hold_pending"
	CodeNotHeld            Code = "not_held"
	CodeGuestRestarted     Code = "guest_restarted"
	CodeRestartHeld        Code = "restart_held"
	CodeLicenseDeactivated Code = "license_deactivated"
	CodeWillReactivate     Code = "will_reactivate"
	CodeCommandDone        Code = "command_done"
	CodeCommandNotFound    Code = "command_not_found"

	CodeNeedsRunning     Code = "needs_running"
	CodeNeedsTools       Code = "needs_tools"
	CodeVMOfSeveral      Code = "vm_of_several_users"
	CodePasswordUnproven Code = "password_unproven"

	CodeNotAllowed       Code = "not_allowed"
	CodeDaemonNotRunning Code = "daemon_not_running"
	CodeDaemonMissing    Code = "daemon_not_installed"
	CodeDaemonSilent     Code = "daemon_not_answering"
	CodeJobNotLoaded     Code = "job_not_loaded"
	CodeJobDisabled      Code = "job_disabled"
	CodeJobNotRunning    Code = "job_not_running"

	CodeJobCrashes        Code = "job_crashes"
	CodeJobStuck          Code = "job_stuck"
	CodeJobFileMissing    Code = "job_file_missing"
	CodeJobFileUnsafe     Code = "job_file_unsafe"
	CodeJobDomain         Code = "job_domain"
	CodeJobNotPermitted   Code = "job_not_permitted"
	CodeJobProgramMissing Code = "job_program_missing"
	CodeJobProgramUnsafe  Code = "job_program_unsafe"
	CodeLaunchdSilent     Code = "launchd_silent"
	CodeUninstallRefused  Code = "uninstall_refused"
	CodeUninstallNewer    Code = "uninstall_newer_state"
	CodeReleaseIncomplete Code = "release_incomplete"

	CodeLogErrors       Code = "log_errors"
	CodeOldLogs         Code = "old_logs"
	CodeOffline         Code = "offline"
	CodeBadRequest      Code = "bad_request"
	CodeTooManyRequests Code = "too_many_requests"
	CodeDirectorySilent Code = "directory_silent"
	CodeCheckinTimeout  Code = "checkin_timeout"
	CodeInterrupted     Code = "interrupted"
	CodeInternal        Code = "internal"
)

// sudoDaemon is how a person calls the daemon's program, which is on no search path.
const sudoDaemon = `sudo /Library/Application\ Support/prlagent/bin/prlagentd `

// seeLog names the log where it says more than a code can.
const seeLog = "see the log, /Library/Application Support/prlagent/logs/prlagentd.log"

// Codes is the one table of all codes, with their words. A command in a remedy
// stands in quotation marks, or behind sudo.
var Codes = []CodeText{
	{CodeNotLookedYet, Info, "The agent has just started and has not looked at this Mac yet.", "Wait for the end of the first look; until then the last known rows are shown."},
	{CodeNotReportedYet, Info, "The Mac has not reported this value yet.", "Wait for the next check-in, or run 'prlagent checkin'."},
	{CodePDVersionTooOld, Info, "This version of Parallels Desktop is too old for this.", "Update Parallels Desktop."},
	{CodeNeverStarted, Info, "The virtual machine was never started.", "Start it once with Parallels Tools installed."},
	{CodeNoTools, Info, "Parallels Tools are not installed in the guest.", "Install Parallels Tools."},
	{CodeEncryptionMethod, Info, "The virtual machine is encrypted; by a password or by the license cannot be told.", ""},
	{CodeToolsOutdated, Info, "Parallels Tools are older than Parallels Desktop.", "Update Parallels Tools in the guest."},
	{CodeNotSeenRunning, Info, "The agent has not seen this virtual machine running.", ""},
	{CodeNotReadable, Info, "The agent could not read the file that holds this value.", "On macOS, grant the agent Full Disk Access by profile if the bundle is in a protected folder."},
	{CodePrivacyDenied, Warning, "The privacy control of macOS keeps a file of a virtual machine from the agent.", "Grant prlagentd Full Disk Access by a profile, or move the virtual machine out of the protected folder."},
	{CodeNotShown, Info, "Parallels Desktop does not show this value for this virtual machine.", ""},
	{CodeNameWithheld, Info, "The configuration of this Mac keeps this name from the portal.", "It is known by its uid or serial number; ReportUserNames and ReportComputerName of the profile decide."},
	{CodeMacGuestSerial, Info, "The serial number of a macOS guest is not visible from the host.", ""},
	{CodeNoSerial, Warning, "This Mac has no serial number; the portal knows it by its hardware UUID.", "Have the serial number written anew where the Mac was repaired; until then find it by its name or hardware UUID."},
	{CodeMacUnidentified, Failure, "This Mac does not tell its hardware UUID, by which the portal knows it.", "Run 'ioreg -rd1 -c IOPlatformExpertDevice' and see what it says of IOPlatformUUID; the agent asks again at every look."},
	{CodeStateDisputed, Info, "Parallels Desktop says the virtual machine is stopped, but a process of it runs.", "Run 'prlagent checkin' again; if it stays, restart Parallels Desktop."},
	{CodeVMInvalid, Info, "Parallels Desktop calls this virtual machine invalid: its files are missing or damaged.", "Restore the bundle, or remove the virtual machine."},
	{CodeUnreadableVM, Warning, "The description of a virtual machine could not be read.", "Run 'prlctl list -i --json' as its owner and compare."},
	{CodeDuplicateKey, Warning, "The description of a virtual machine has a key twice and is not believed.", "Rename shared folders or devices of this virtual machine that carry odd names."},
	{CodeDuplicateID, Warning, "Two virtual machines of one user carry the same id; neither is believed.", "Remove one of them in Parallels Desktop, or register it anew with a new id."},
	{CodeNoID, Warning, "The description of a virtual machine has no id.", "Run 'prlctl list -i --json' as its owner and compare."},
	{CodeWrongType, Warning, "The description of a virtual machine has a value of the wrong type and is not believed.", "Run 'prlctl list -i --json' as its owner and compare."},
	{CodeInvalidVMID, Warning, "A virtual machine id is not a UUID.", "Run 'prlctl list -i --json' as its owner and compare."},
	{CodeVMNotFound, Info, "The virtual machine is not registered for this user.", "Compare with 'prlctl list -a' as its owner; it may have been removed."},
	{CodePDDeactivated, Warning, "Parallels Desktop is not activated on this Mac.", "Activate it with the organization's key or by single sign-on; the agent notices by itself."},
	{CodeServiceDown, Warning, "The Parallels service does not answer.", "Open Parallels Desktop once, or restart the Mac; the agent tries again at the next look."},
	{CodeEdition, Warning, "This edition of Parallels Desktop has no full command line.", "Activate a Pro, Business or Enterprise license."},
	{CodeUnrecognized, Info, "This version of Parallels Desktop does not know an option.", "Update Parallels Desktop."},
	{CodeVMBusy, Info, "The virtual machine is busy with another operation.", "Wait; the agent tries again."},
	{CodeOperationCanceled, Warning, "Parallels Desktop canceled the operation.", "Run 'prlagent checkin' again; if it stays, restart Parallels Desktop."},
	{CodeLicenseUnreadable, Info, "Parallels Desktop did not show its license.", "Check the activation in Parallels Desktop."},
	{CodeNoLicense, Warning, "No license of Parallels Desktop is installed.", "Activate it with the organization's key or by single sign-on; the agent notices by itself."},
	{CodeLicenseGrace, Warning, "The license is over; for some days more Parallels Desktop works on.", "Renew the license, or let the Mac reach the license server."},
	{CodeLicenseExpired, Warning, "The license of Parallels Desktop has expired.", "Renew the license, then run 'prlagent checkin'."},
	{CodeLicenseInvalid, Warning, "Parallels Desktop calls its license invalid.", "Activate it anew with the organization's key or by single sign-on."},
	{CodeLicenseInactive, Warning, "The license of Parallels Desktop is not active, by a word that the agent does not know.", "Run 'prlsrvctl info --license' and compare its status."},
	{CodeAdminPassword, Warning, "Parallels Desktop asks for the name and password of an administrator of the Mac before it does this.", "Lift the password requirement in its security preferences, or do it by hand as an administrator."},
	{CodeVMPassword, Warning, "The virtual machine is encrypted, and its password is needed.", "Its user opens it with the password; the agent has none."},
	{CodeVMConfigInvalid, Warning, "Parallels Desktop calls the configuration of the virtual machine invalid.", "Open its configuration in Parallels Desktop, correct what is marked there, and start it once."},
	{CodeWrittenAt, Info, "The agent has not seen a start; this is when the virtual machine last wrote to its files.", ""},
	{CodeOutputInvalid, Warning, "A Parallels tool printed something that is not its usual JSON.", "Run the tool by hand and report the output."},
	{CodeOutputTooLarge, Warning, "A Parallels tool printed more than the agent reads.", "Run the tool by hand and report the output."},
	{CodeOutputTooDeep, Warning, "A Parallels tool printed JSON that is nested too deeply.", "Run the tool by hand and report the output."},
	{CodeUserSession, Info, "The user has no session on this Mac at the moment.", "The last known rows are kept until the user logs in."},
	{CodeUserLate, Warning, "The programs of a user did not answer in the time that a look has for one user.", "The last known rows are shown; see what holds the user's programs, such as a dead network volume."},
	{CodeGuestOS, Info, "Not available for this guest system.", "Nothing needs to be done: this guest has no such setting or value."},
	{CodePDNotInstalled, Info, "Parallels Desktop is not installed.", "Install Parallels Desktop."},
	{CodeVMLimit, Warning, "The Mac has more virtual machines than one report holds; those beyond the limit are left out.", "Remove virtual machines that nobody uses."},
	{CodeStreamLimit, Info, "More users have virtual machines than are listened to at a time.", "Nothing to do: the changes of those beyond the limit are found by the next look."},
	{CodeStreamDown, Warning, "The stream of events of a user does not stay open.", "Nothing to do for a few minutes: looks find the changes meanwhile. If it stays, restart Parallels Desktop."},
	{CodePDNotSetUp, Warning, "Parallels Desktop is there, and its service is unknown to launchd, as where the application was copied instead of installed.", "Open Parallels Desktop once as an administrator, or install it anew with the vendor's package."},
	{CodeLicensingProfile, Warning, "Parallels Desktop is not activated, and no licensing profile is on this Mac.", "Deploy the licensing profile first and Parallels Desktop after it, or activate it by hand."},
	{CodeProfilesDiffer, Failure, "Two licensing profiles on this Mac say different things.", "Remove one of the two in the MDM: which of them wins is not defined."},
	{CodeProfileWithoutKey, Warning, "The licensing profile wants a license key, and has none.", "Add LicenseKey to the profile, or make it with 'prlportal profile licensing --license-key-file FILE'."},
	{CodeProfileWord, Warning, "The licensing profile names no way of activation that is known: it is neither License Key nor SSO.", "Correct ActivationExperience in the profile."},
	{CodeLicenseDiffers, Warning, "Parallels Desktop is activated otherwise than the licensing profile says.", "An installed profile wins over deploy.cfg at the next activation: run 'prlsrvctl deactivate-license' and restart Parallels Desktop, or correct the profile."},
	{CodeLicenseUnguarded, Warning, "This version of Parallels Desktop takes another license key, although a licensing profile names one.", "Update Parallels Desktop to 20.3.0 or later."},
	{CodePrivacyRule, Warning, "The signature of Parallels Desktop does not meet the requirement by which the privacy profile knows it.", "Install Parallels Desktop anew; compare 'codesign -d -r -' of the application with the profile of 'prlportal profile pppc'."},
	{CodeContinueWithSSO, Warning, "Parallels Desktop waits for its user to sign in.", "The user opens Parallels Desktop, chooses to continue with single sign-on and signs in with the work account; nobody can do that for them."},
	{CodeLicenseHost, Warning, "The vendor's license host cannot be reached, which an activation of Parallels Desktop needs.", "Let this Mac reach the host at port 443 through the firewall and the proxy."},
	{CodeAccountNotLocal, Info, "A user who is logged in has no account of this Mac's own, and is not looked at.", "Make the account a mobile account of this Mac if it has virtual machines."},
	{CodeAccountUIDLow, Warning, "An account with a user id below 501 runs virtual machines; it is not looked at.", "Move the virtual machines to an account of a person, with a user id of at least 501."},
	{CodeAccountUIDHigh, Info, "An account has a user id that the tools cannot be run as (2147483648 or more), and is not looked at.", "Give the account a lower user id if it has virtual machines."},
	{CodeAccountHidden, Warning, "An account that is marked as no person's, by its name or by having no home, uses this Mac or runs virtual machines; it is not looked at.", "Use an account with an ordinary name and a home folder."},
	{CodeFileInvalid, Info, "A file in the virtual machine's bundle is damaged.", "Start the virtual machine once, or restore the bundle."},
	{CodeFileTooLarge, Info, "A file in the virtual machine's bundle is larger than the agent reads.", "Start the virtual machine once, or restore the bundle."},
	{CodeFileTooDeep, Info, "A file in the virtual machine's bundle is nested too deeply.", "Start the virtual machine once, or restore the bundle."},
	{CodeDuplicateElement, Info, "A file in the virtual machine's bundle has a value twice and is not believed.", "Start the virtual machine once, or restore the bundle."},

	{CodeToolMissing, Warning, "A program that the agent needs is not there.", "Reinstall Parallels Desktop or macOS command line parts."},
	{CodeToolTimeout, Warning, "A program did not finish in its time and was stopped.", "Run 'prlagent status --verbose' for which one; the agent tries again at the next look."},
	{CodeToolTooLarge, Warning, "A program printed more than the agent reads.", "For which one " + seeLog + "; run it by hand and report the output."},
	{CodeToolRefused, Warning, "The agent refused to start a program that way.", "This is a defect of the agent: please report it."},
	{CodeToolFailed, Warning, "A program failed.", "For which one and what it said " + seeLog + "."},
	{CodeToolsUntrusted, Failure, "The Parallels tools do not carry the vendor's signature; the agent does not run them.", "Reinstall Parallels Desktop."},
	{CodeToolsChanged, Warning, "A Parallels tool was exchanged while the agent used it; what it said does not count.", "Nothing to do after an update. Else find out what exchanges the application, and let administrators only change it."},

	{CodeNotConfigured, Info, "No portal is configured; the agent observes and reports locally only.", "Install a configuration profile for org.prlagent.agent that has ServerURL."},
	{CodeConfigInvalid, Failure, "The configuration has a value that cannot be used.", "Correct the named key in the profile or config.plist."},
	{CodeConfigUnreadable, Failure, "The configuration is there and cannot be read; what was in force stays.", "Install the profile again. For config.plist check that it is a whole property list, and belongs to root with the mode 0600."},
	{CodeConfigUnknownKey, Warning, "The configuration has a key that is not read, and is close to one that is.", "Correct the key's name in the profile or config.plist."},
	{CodeConfigNestedKey, Warning, "Keys of the configuration stand inside a dictionary, where they are not read.", "Move them to the top level of the settings for org.prlagent.agent."},
	{CodeConfigNoKeys, Warning, "The configuration is there, and has none of the agent's keys.", "Check the profile's settings for org.prlagent.agent: they need at least ServerURL."},
	{CodeConfigMixedSource, Info, "Trust keys in config.plist are ignored because a profile is installed.", "Remove them from config.plist."},
	{CodeLocallyManaged, Info, "The configuration comes from root's config.plist, not from MDM.", ""},
	{CodeEnrollmentRefused, Failure, "The portal refused the enrollment.", "Check EnrollmentSecret in the profile against the portal's."},
	{CodeEnrollmentPending, Warning, "The enrollment waits for an administrator's approval.", "Compare the key id of 'prlagent status' with that of 'prlportal devices', then approve it: 'prlportal devices approve DEVICE'."},
	{CodeEnrollmentClosed, Failure, "The portal does not take new devices.", "Open enrollment in the portal."},
	{CodeEnrollmentWrongPortal, Failure, "The portal is not the one that this enrollment names.", "Check ServerURL and SiteID in the profile; a portal with another address than its own needs it in origins of its config.json."},
	{CodeEnrollmentStale, Failure, "The clocks of this Mac and of the portal differ by more than a day; the portal enrolls no Mac like that.", "Set date and time of this Mac automatically; then check the portal's clock."},
	{CodeEnrollmentReplayed, Warning, "The portal has a newer enrollment of this device.", "Wait; the agent asks anew. If it stays, check this Mac's clock, and whether its disk was copied."},
	{CodeEnrollmentRejected, Failure, "An administrator of the portal rejected this Mac's key.", "If that was a mistake: 'prlportal devices approve DEVICE --key KEY' with the key id of 'prlagent status'."},
	{CodePendingKeysFull, Failure, "Too many keys wait for approval under this Mac's serial number, and the portal lists no more.", "Clear the list in the portal with 'prlportal devices reject DEVICE --all'; the agent asks again by itself."},
	{CodeNotEnrolled, Warning, "The Mac is not enrolled yet.", "The agent tries again by itself; 'prlagent checkin' tries now."},
	{CodeDeviceUnknown, Warning, "The portal does not know this device; the agent enrolls again.", "Nothing to do: the agent enrolls anew."},
	{CodeDeviceRevoked, Failure, "The portal has revoked this device.", "Ask the portal's administrator."},
	{CodeDeviceRetired, Failure, "The portal has retired this device.", "Ask the portal's administrator."},
	{CodeDuplicateIdentity, Failure, "Two Macs report under one identity.", "Retire one of them in the portal and enroll it again."},
	{CodeSequenceConflict, Warning, "The portal has another report under this number.", "The agent goes on with a new number by itself."},
	{CodeEpochRenewed, Warning, "The portal asked for a number of reports that cannot be; this Mac reports from the beginning, in a new epoch.", "Find out what answers in the portal's place, or repair its database."},
	{CodeIdentityReset, Warning, "The identity on disk belongs to another Mac and was discarded.", "Nothing to do: the agent enrolls anew."},
	{CodeIdentityUnreadable, Failure, "The agent's identity on this Mac cannot be read or kept.", "Check node.json in the state folder: a file of root's with the mode 0600, on a disk with room."},
	{CodePortalUnreachable, Warning, "The portal cannot be reached.", "Check the network and ServerURL."},
	{CodePortalCertificate, Failure, "The portal's certificate is not trusted.", "Check ServerCertificates in the profile, or a captive network in between."},
	{CodePortalRefused, Failure, "The portal refused the request.", "For what it said " + seeLog + "; the agent may need an update."},
	{CodePortalOutage, Warning, "Something that is not the portal answered, or the portal failed.", "Wait; the agent tries again. If it stays, check proxies."},
	{CodePortalReplyInvalid, Warning, "The portal's answer could not be read.", "Check that ServerURL names a prlagent portal."},
	{CodePortalBusy, Info, "The portal asked to come back later.", "Wait; the agent tries again."},

	{CodePossiblyCaptive, Info, "The network has just changed, and something other than the portal answered: it may want a sign-in first.", "Sign in to the network; the agent tries again after a minute."},
	{CodeNetworkSignIn, Warning, "The network wants a sign-in before it lets anything through.", "Open a browser on this Mac and sign in to the network."},
	{CodePortalWrongName, Failure, "The portal's certificate is for another name.", "Check ServerURL in the profile against the names in the portal's certificate, or a captive network in between."},
	{CodePortalExpired, Failure, "The portal's certificate has expired, or is not valid yet by this Mac's clock.", "Check date and time of this Mac, then renew the portal's certificate."},
	{CodePortalExpiring, Warning, "The last certificate that this Mac accepts of its portal ends within 30 days.", "Run 'prlportal certificate renew' on the portal's server, and put a new profile on this Mac."},
	{CodePortalTLS, Warning, "No secure connection to the portal could be made.", "Check that ServerURL names an https port that offers TLS 1.2 or newer, and what stands in between."},
	{CodePortalDNS, Warning, "The portal's name is not known to the network.", "Check ServerURL, and the DNS servers of this network; a VPN may be needed."},
	{CodePortalTimeout, Warning, "The portal took too long to answer.", "Wait; the agent tries again. If it stays, check the portal's load and the network."},
	{CodePortalInterrupted, Warning, "The connection to the portal broke off before the answer was complete.", "Wait; the agent tries again. If it stays, check proxies and firewalls in between."},
	{CodePortalRedirect, Warning, "The agent was redirected to another address, and did not follow.", "Set ServerURL to the portal's own address; on a guest network, sign in first."},
	{CodePortalWebPage, Warning, "A web page came in place of the portal's answer.", "Check that ServerURL names a prlagent portal; on a guest network, sign in first."},
	{CodePortalReplyTooLarge, Warning, "The answer was larger than it may be; it was not read to its end.", "Check that ServerURL names a prlagent portal."},
	{CodeProxySignIn, Warning, "A proxy wants a user name and a password.", "Set them in Proxy in the profile, or let the proxy pass this Mac."},
	{CodeProxyRefused, Warning, "A proxy refused the way to the portal.", "Let the proxy pass connections to the portal's address."},
	{CodeClockSkew, Warning, "The clocks of this Mac and of the portal differ by more than five minutes.", "Set date and time of this Mac automatically; then check the portal's clock."},
	{CodeServerTimeRefused, Warning, "The portal's time is more than a day ahead of this Mac's clock, and is not believed.", "Check date and time of this Mac, then the portal's clock."},
	{CodeTrustedTimeReset, Warning, "The time that this Mac trusted was ahead of three later answers of the portal and of its own clock, and is corrected.", "Find out what had set this Mac's clock or the portal's ahead."},
	{CodeProfileMissing, Info, "The configuration has just disappeared; the last one stays in force for the moment.", "Nothing to do if the profile is being replaced; it is believed to be removed ten minutes after it was missed first."},
	{CodeProfileRemoved, Warning, "The configuration was removed: there is no exchange with the portal, and what was received stays in force.", "Install the profile again, or uninstall the agent."},

	{CodeThrottled, Info, "The agent spaces its check-ins; the report goes out with the next one.", "Run 'prlagent checkin' to check in now."},
	{CodeReportTooLarge, Warning, "The portal found the report too large.", "Remove virtual machines that nobody uses; if there are few, report it."},
	{CodeReportTrimmed, Warning, "There is more on this Mac than a report holds; the rest follows as soon as it fits.", "See which user's virtual machines have long names or texts."},
	{CodeEventsDropped, Warning, "Events of this Mac were lost before the portal heard of them.", "See 'prlagent events' on the Mac for those that it still has."},

	{CodeHeadMissing, Warning, "The portal has no policy head for this group.", "Put a signed head of the group into the portal's folder content/heads; the last good policy stays."},
	{CodeHeadInvalid, Failure, "The policy head cannot be read.", "Put a head that is signed anew into the portal's folder content/heads; the last good policy stays."},
	{CodeHeadSignature, Failure, "The policy head is not signed by a key that this Mac trusts.", "Check PolicyKeys in the profile; the last good policy stays."},
	{CodeHeadWrongGroup, Failure, "The policy head is of another group.", "Check the portal's content; the last good policy stays."},
	{CodeHeadWrongSite, Failure, "The policy head is of another site.", "Check the portal's content; the last good policy stays."},
	{CodeRollbackDetected, Failure, "The portal served an older policy head than this Mac has seen.", "Sign a head with a higher version for the portal's folder content/heads; the newer one stays. Nobody but you should be able to write there."},
	{CodeContentStale, Warning, "The policy head has expired.", "Sign a head that expires later for the portal's folder content/heads; the last good policy stays in force."},
	{CodeContentExpiring, Warning, "The policy head expires within ten days.", "Sign a head that expires later for the folder content/heads of the portal, or of this Mac; the policy stays in force all the same."},
	{CodeContentUnreadable, Failure, "A file in the folder of signed policies on this Mac cannot be read.", "Put the files of ContentURL there again, all of them root's own and closed to changes by others; the last good policy stays."},
	{CodePolicyKeyGone, Warning, "The configuration has no Policy any more, and nothing in its place; the last one stays in force.", "Put Policy back into the profile; an empty dictionary there says that there is none any more."},
	{CodePolicyHash, Failure, "The policy does not match the hash in its signed head.", "Put the policy that the head was signed for into the portal's folder content/policies; the last good policy stays."},
	{CodePolicyInvalid, Failure, "The policy cannot be read.", "Correct the policy by the codes of its members in the report, and sign a head for it anew; the last good policy stays."},
	{CodeUnsupportedFeature, Failure, "The policy needs a feature that this agent does not have.", "Update the agent; the last good policy stays."},
	{CodeNoPolicyKeys, Info, "No policy keys are configured; no policy is accepted.", "Add PolicyKeys to the profile."},
	{CodeGroupChangeRefused, Info, "The portal named another group without a signature; this Mac stays in its group.", "Set Group in the profile to move the Mac."},

	{CodePolicySyntax, Failure, "The policy is no JSON, or half of it is missing.", "Write it again as a whole, and sign a head for it anew."},
	{CodePolicyNull, Failure, "A member of the policy is null, which is neither a value nor \"not managed\".", "Leave the member out to not manage it, or give it a value."},
	{CodePolicyDuplicateKey, Failure, "A member of the policy stands there twice.", "Remove one of the two."},
	{CodePolicyTooDeep, Failure, "The policy is nested too deeply.", "Remove the member that is named: no member of a policy is that deep."},
	{CodePolicyTooLarge, Failure, "The policy is larger than 256 KiB.", "Shorten its lists, or make two policies of it."},
	{CodePolicyWrongType, Failure, "A member of the policy has a value of the wrong type.", "Compare with the description of the setting: true and false stand without quotes."},
	{CodePolicyWrongValue, Failure, "A member of the policy has a value that does not exist.", "Use one of the values that the message names."},
	{CodePolicyMissing, Failure, "The policy lacks a mandatory member.", "Add the member that the message names."},
	{CodePolicyUnknownMember, Warning, "The policy has a member that this version does not know; it is ignored.", "Correct its name, or update the agent."},
	{CodePolicyConflict, Failure, "Two settings of the policy ask for different values of one and the same thing.", "Remove one of the two settings that the message names."},

	{CodeNotSetYet, Info, "The value differs from the policy's, and the agent is about to set it.", "Nothing to do: the next look shows how it ended."},
	{CodeMonitorMode, Info, "The value differs from the policy's; the agent only monitors, and would set it.", "Set Mode to enforce in the profile, and the mode of the signed head, once the reports are as expected."},
	{CodeVMRunning, Info, "The virtual machine runs, and this can be set only while it is shut down.", "Shut the virtual machine down; suspending is not enough."},
	{CodeVMInUse, Info, "Somebody may be working in the virtual machine, and setting this would interrupt them.", "Suspend or shut down the virtual machine; the value is set then, or at the policy's deadline."},
	{CodeVMHeld, Info, "The virtual machine is held by a lock, and does not start by itself meanwhile.", "Nothing to do; it is set once the lock is lifted."},
	{CodeVMSuspended, Info, "The virtual machine is suspended, and its configuration cannot be changed.", "Resume the virtual machine; what needs it shut down waits for that."},
	{CodeVMPacked, Info, "The virtual machine is packed or archived, and its configuration cannot be changed.", "Unpack the virtual machine in Parallels Desktop."},
	{CodeGuestOSArch, Info, "Not available for macOS guests on Apple silicon.", "Nothing needs to be done; beyond_guide in the policy uses what the tools take there all the same."},
	{CodeNeedsWindowsTools, Info, "Available only for Windows guests with Parallels Tools.", "Install Parallels Tools if the guest is a Windows."},
	{CodeNoPublicWay, Warning, "The tools of Parallels Desktop have no public way to set this value.", "Choose another value, or on_unsupported: stricter where the setting has a stricter one."},
	{CodeStricterValue, Info, "The policy's value cannot be set; the stricter one that on_unsupported asks for is used.", "Nothing to do; choose a value that can be set to be rid of this remark."},
	{CodeSettingUnknown, Warning, "This version of the agent does not know the setting.", "Update the agent, or correct the setting's name in the policy."},
	{CodeSectionNotSupported, Warning, "This version of the agent does not carry out this part of the policy.", "Update the agent, or remove the part from the policy."},
	{CodeReleaseUnproven, Warning, "It was not seen that this lock can be lifted with these versions of Parallels Desktop and macOS.", "Set AllowUnprovenLocks in the profile to have it placed and probed all the same, on a Mac where you can lift it by hand."},
	{CodeNotObservable, Warning, "Whether it worked cannot be seen: a setting is left alone, and a deletion is not called done.", "See 'prlagent doctor': a file may be unreadable, or this version does not show the value."},
	{CodeNotVerified, Warning, "The value was set, and a look afterwards shows another one.", "Compare with what the owner sees: 'prlctl list -i --json'; set it by hand as the owner, and look again."},
	{CodeContended, Warning, "Something puts the value back again and again; the agent sets it once an hour and at each start of the virtual machine or the application.", "Find what changes it: a user, a script, or another manager of the same virtual machines."},
	{CodeManaged, Info, "An MDM profile forces the value of this preference, and wins over the policy.", "Nothing to do; remove the key from the profile if the policy is to decide."},
	{CodePendingRestart, Info, "The preference is set, and Parallels Desktop was running: it takes effect when the user quits and opens it again.", "Quit and open Parallels Desktop; the agent never ends it."},
	{CodeValueKept, Info, "The preference had a value before the agent, which on_existing: keep leaves as it is.", "Nothing to do; with on_existing: replace the policy's value takes its place."},
	{CodePreferenceLost, Warning, "The preference was written, and is another one afterwards.", "Have the user quit Parallels Desktop; the agent looks again, and tries again once an hour. If it stays, find what else writes the user's preferences."},
	{CodePreferencesMoved, Info, "While a preference was written, another program changed other ones of the same user.", "Nothing to do: Parallels Desktop itself does so while it runs."},
	{CodeUpdatedAnyway, Warning, "Parallels Desktop is another version, although the policy has its updates turned off.", "Find who installed it: a user, an administrator, or the MDM."},
	{CodeLocksReleased, Warning, "An administrator of this Mac had the agent lift its locks; until there is a newer policy, it plans and sets nothing.", "Sign a newer head for the Mac's group; the agent enforces again once it has that."},
	{CodeLockReleasing, Info, "A lock that the agent placed is being lifted.", "Nothing to do; if it stays, lift it in the configuration of the virtual machine, under Security."},

	{CodeVMUnprovisioned, Warning, "Somebody created, registered or cloned a virtual machine, and the policy allows only those of a golden image.", "Remove it, or adopt it in the policy."},
	{CodeSecondProvisioned, Warning, "The account has more than one virtual machine of a golden image, and the policy allows one.", "Remove one of them."},
	{CodeRemovedAgainstPolicy, Warning, "Somebody removed a virtual machine of a golden image, against the policy.", "Ask its owner; provision it anew if they need it."},
	{CodeMajorUpgrade, Warning, "Parallels Desktop was upgraded to another major version, against the policy.", "Install the version that the organization uses, or turn no_major_upgrade off and on again to accept this one."},
	{CodeOlderThanControl, Info, "The virtual machine was there before the control. It is kept, and may start.", "Nothing to do; adopt in the policy makes it count as one of a golden image."},
	{CodeUnknownSource, Info, "Nobody saw where the virtual machine came from. It is kept, and may start.", "Nothing to do; adopt in the policy makes it count as one of a golden image."},
	{CodeGracePeriod, Info, "The virtual machine is against the policy, and is suspended whenever it runs once the grace period is over.", "Shut the virtual machine down, or ask the organization to adopt it."},
	{CodeVMInstalling, Info, "A system may be being installed in the virtual machine, which is not suspended meanwhile.", "Nothing to do; without Parallels Tools that is taken to last for a day."},
	{CodeNotEnforceable, Warning, "Nothing outside Parallels Desktop can hold this.", "Nothing to do; what is seen beside it is told with it."},
	{CodeDiskLow, Warning, "The disk has less room than encrypting the virtual machine needs, which is about as much again as it takes.", "Free some disk space before Parallels Desktop encrypts it, or move the virtual machine to another disk."},
	{CodeControlLifted, Info, "The control is lifted for the agent's own work.", "Nothing to do: it is put back when that ends."},
	{CodeLocalUpdateServer, Info, "The Mac updates from a local server, which decides about the versions.", "Release only versions there that the control allows, or take no_major_upgrade out of the policy."},
	{CodeManagedByMDM, Info, "A profile of the MDM manages this.", "Change it in the profile, or take it out of the policy."},

	{CodeAlreadyRunning, Failure, "Another prlagentd runs on this Mac.", "Use the one that runs; 'prlagent status' shows it."},
	{CodeStoreDamaged, Failure, "The state database is damaged.", "Restart the agent: it restores a backup and keeps the bad file."},
	{CodeStoreNewer, Failure, "A newer version of the agent has written the state database, which this one cannot read. It stays as it is.", "Install the newer version again, or a package made with --allow-downgrade-to, which keeps a copy of the state and begins a new database."},
	{CodeStoreFull, Failure, "The disk is full; the agent cannot keep its state.", "Free some disk space."},
	{CodeStoreDenied, Failure, "The agent may not write its state folder.", "Check owner and mode of the state folder."},
	{CodeFolderWritable, Failure, "Others than root can change a folder above the agent's files.", "Give the folder to root, and take the right to write from its group and others: sudo chown root FOLDER; sudo chmod go-w FOLDER."},
	{CodeStoreIO, Failure, "The state database cannot be read or written.", "Check the disk; the agent tries again."},
	{CodeSnapshotsOld, Failure, "The snapshot files could not be written; what other programs read there is old.", "Free some disk space; the agent tries again. If it stays, " + seeLog + "."},
	{CodeStateRestored, Warning, "The state database was damaged and was restored from a backup.", "The bad file is kept beside it; check the disk."},
	{CodeAgentWasOff, Warning, "The agent did not run for a while although the Mac was on: somebody with root's rights stopped or killed it, or it crashed.", "Ask who administers the Mac. If it crashed, " + seeLog + "."},
	{CodeStateReset, Warning, "The state database was damaged and no backup could be used; the agent began anew.", "The bad file is kept beside it; check the disk."},

	{CodePlistEmpty, Warning, "A property list is empty.", "For which one " + seeLog + ". Write a file again; what a program printed is looked at again with the next look."},
	{CodePlistTooLarge, Warning, "A property list is larger than the agent reads.", "For which one " + seeLog + ", and report it if macOS made it."},
	{CodePlistTooDeep, Warning, "A property list is nested too deeply.", "For which one " + seeLog + ", and report it if macOS made it."},
	{CodePlistInvalid, Warning, "What should be a property list is none.", "For which one " + seeLog + ", and check it with 'plutil -lint FILE'."},
	{CodePlistWrongType, Warning, "A property list has a value of the wrong type.", "For which one " + seeLog + ", and correct it."},
	{CodePlistUnsupported, Warning, "A value cannot be kept in a property list.", "This is a defect of the agent: please report it."},
	{CodePlistRoundTrip, Warning, "A property list did not read back as it was written.", "This is a defect of the agent: please report it."},

	{CodeWebhookUndelivered, Warning, "A message of the portal's webhook has waited for more than an hour.", "Run 'prlportal webhook test', and see 'prlportal webhook status' for the last error; a message that waits for a day is dropped."},
	{CodeWebhookGone, Warning, "The receiver of the portal's webhook said that it wants no messages any more (410 Gone).", "Give the webhook a URL that works, or the same one again, with 'prlportal webhook set' on the portal's machine."},
	{CodeWebhookUnusable, Warning, "The files of the portal's webhook cannot be used; messages wait.", "See the portal's log, and set the webhook anew with 'prlportal webhook set' on the portal's machine."},

	{CodeNotAllowed, Failure, "You may not do this.", "Ask an administrator of this Mac, or use sudo."},
	{CodeDaemonNotRunning, Failure, "prlagentd is not running.", "Start it: sudo launchctl kickstart system/org.prlagent.agent; where launchd does not know it: sudo launchctl bootstrap system /Library/LaunchDaemons/org.prlagent.agent.plist"},
	{CodeDaemonMissing, Failure, "prlagentd is not installed on this Mac.", "Install the programs and the job as the agent's README says, then start it: sudo launchctl bootstrap system /Library/LaunchDaemons/org.prlagent.agent.plist"},
	{CodeDaemonSilent, Failure, "prlagentd does not answer.", "Try again in half a minute, or with a longer --timeout; if it stays, restart it: sudo launchctl kickstart -k system/org.prlagent.agent"},
	{CodeJobNotLoaded, Failure, "launchd does not know the agent's job.", "Have it loaded: " + sudoDaemon + "start."},
	{CodeJobDisabled, Failure, "The agent's job is disabled, by launchctl or in Login Items.", "Enable and load it: " + sudoDaemon + "start."},
	{CodeJobNotRunning, Failure, "launchd knows the agent's job, and it does not run.", "Start it: " + sudoDaemon + "start."},

	{CodeJobCrashes, Failure, "The agent's job ends soon after each start; launchd starts it again and again.", "See what it says at its end in /Library/Application Support/prlagent/logs, in prlagentd.panic.log and prlagentd.log; then restart it: " + sudoDaemon + "restart."},
	{CodeJobStuck, Failure, "launchd does not let go of the agent's job, or of its process.", "Wait half a minute and try again; if it stays, restart the Mac."},
	{CodeJobFileMissing, Failure, "The property list of the agent's job is not there.", "Put it in place: " + sudoDaemon + "install."},
	{CodeJobFileUnsafe, Failure, "launchd refuses the agent's job: others than root can change its property list, or a folder above it.", "Give file and folder to root: sudo chown root:wheel /Library/LaunchDaemons; sudo chmod go-w /Library/LaunchDaemons; then install it: " + sudoDaemon + "install."},
	{CodeJobDomain, Failure, "launchd takes no daemon there.", "This is a defect of the agent, which asks for the domain of the system: please report it."},
	{CodeJobNotPermitted, Failure, "launchd does not let us change the job.", "Run it as root. If that was done, a product for the Mac's security may forbid it: see its log."},
	{CodeJobProgramMissing, Failure, "The program that the agent's job starts is not installed.", "Install the programs first, with the package or as the agent's README says."},
	{CodeJobProgramUnsafe, Failure, "The program that the agent's job starts, as root, can be changed by others.", "Install the package again. If that is said again, see who can: sudo ls -l /Library/Application\\ Support/prlagent/bin."},
	{CodeLaunchdSilent, Failure, "launchctl cannot be run, or says nothing that makes sense.", "Try again in a minute; if it stays, restart the Mac."},
	{CodeUninstallRefused, Failure, "The agent has placed something on this Mac that would be left behind.", "Lift it in the same step: " + sudoDaemon + "uninstall --release."},
	{CodeUninstallNewer, Failure, "A newer version of the agent has written the state, so this one cannot tell what that has placed, nor lift it: the agent stays.", "Install the package of that newer version first (prlportal devices has its number, if this Mac has told it), and then: " + sudoDaemon + "uninstall --release."},
	{CodeReleaseIncomplete, Failure, "Not all that the agent has placed could be lifted, so the agent stays.", "Do what is said of each that is left, such as to resume or shut down a virtual machine that is suspended. Then try again: " + sudoDaemon + "uninstall --release."},

	{CodeLogErrors, Warning, "The agent's log has errors of the last day.", "Run 'sudo prlagent logs --since 1d' and read those."},
	{CodeOldLogs, Warning, "Logs of an older version are left, which nobody writes or removes any more.", "Remove the folder: sudo rm -r /Library/Logs/prlagent"},
	{CodeOffline, Warning, "This Mac has no way out: there is no default route.", "Connect it to a network, or accept what the network asks for first."},
	{CodeBadRequest, Failure, "The request makes no sense.", "See 'prlagent help'."},
	{CodeDirectorySilent, Warning, "The Mac's directory service does not say in time who you are.", "Use sudo, or try again later; 'prlagent status' answers everybody."},
	{CodeTooManyRequests, Info, "Too many requests in a short time.", "Wait a minute."},
	{CodeCheckinTimeout, Warning, "The check-in did not finish in time; it goes on.", "Run 'prlagent status' to see how it ended."},
	{CodeInterrupted, Info, "It was interrupted by the person who asked.", "Run the command again."},
	{CodeInternal, Failure, "The agent met a defect of its own.", "For what happened " + seeLog + ", and report it."},

	{CodeCommandSignature, Failure, "A command is not signed by as many of the keys as this Mac trusts for its type.", "Compare CommandKeys and CommandThreshold of the profile with the keys of the operators."},
	{CodeCommandInvalid, Failure, "A command is signed well and says nothing that can be carried out.", "Issue it anew with a prlportal of this version."},
	{CodeCommandOtherMac, Failure, "A command names another Mac.", "Issue it anew for this Mac; if that was done, the portal may be in the wrong hands."},
	{CodeCommandUnlisted, Failure, "The profile of this Mac does not allow commands of this type.", "Add the type to AllowedCommands of the profile, and issue the command anew."},
	{CodeCommandUnknown, Failure, "This version of the agent has no such command.", "Update the agent."},
	{CodeCommandExpired, Info, "The command was not started in time.", "Issue it anew, if it is still wanted."},
	{CodeEpochChanged, Failure, "The Mac began a new epoch while it had the command; whether it was done is not known.", "Look at the virtual machine in 'prlportal vms', and issue the command anew if it is still wanted."},
	{CodePortalRestored, Warning, "This portal was put back to an older state and has no more of the command than this.", "Look at how things stand on the Mac, then run 'prlportal commands confirm' or 'prlportal commands cancel'."},
	{CodeCommandCancelled, Info, "An administrator has cancelled the command before it was started.", "Issue it anew, if it is still wanted."},
	{CodeCommandTooLate, Info, "The command was already running when it was cancelled.", "See how it ended: 'prlagent commands' on the Mac, or 'prlportal commands'."},
	{CodeCommandLimit, Warning, "As many destructive commands as the profile allows were started; this one waits.", "Wait, or raise DestructiveLimit in the profile."},
	{CodeCommandMonitor, Info, "The agent only monitors, and runs no command that changes anything.", "Set Mode to enforce in the profile, and issue the command anew."},
	{CodeTimeUnproven, Info, "A destructive command waits until the time of day is proven.", "Connect the Mac to its portal, or set its clock right."},
	{CodeJournalLost, Failure, "The agent has lost its record of this command after it was begun; nothing of it is done again.", "See what is there in 'prlagent vms', and issue the command anew if it is still wanted."},
	{CodeCommandOtherEpoch, Failure, "A command was signed before this Mac lost its journal, or began a new epoch for another reason.", "Issue it anew, if it is still wanted."},
	{CodeIntentsUnreadable, Failure, "The record of what commands have begun cannot be read or written, so none is begun that changes anything.", "Check the disk, and owner and mode of the agent's state folder; the command waits until it expires."},
	{CodeTargetChanged, Warning, "The virtual machine is not as it was when the command was signed; the command waits.", "Look at the virtual machine in 'prlportal vms', then cancel the command or issue it anew."},
	{CodeTargetOwner, Failure, "The virtual machine belongs to another account than the command names.", "Issue the command anew for the owner that 'prlportal vms' shows."},
	{CodeTargetUnlisted, Info, "The virtual machines of its owner cannot be listed now; the command waits.", "See 'prlagent doctor' for why the owner cannot be listed."},
	{CodeWaitsForStop, Info, "The command waits until the virtual machine is stopped.", "Wait, or issue it anew with --when now."},
	{CodeVMNotRunning, Info, "The virtual machine does not run, so there is nothing to restart.", "Start the virtual machine."},
	{CodeAlreadyAbsent, Info, "There was no such virtual machine any more.", "Nothing to do."},
	{CodeVerifiedAbsent, Info, "The virtual machine and its files are gone from where they were; copies and backups elsewhere are not looked for.", "Nothing to do."},
	{CodeHasDependents, Failure, "Linked clones depend on the virtual machine.", "Delete the clones first."},
	{CodeOutcomeUnknown, Failure, "The command was begun, and whether it was done cannot be seen; it is not repeated.", "Look at the virtual machine, and issue the command anew if it is still wanted."},
	{CodeNotDone, Failure, "What the command asks for was tried, and is not so.", "See in 'prlagent commands' on the Mac what was seen, and in 'prlagent logs' what the tools said."},
	{CodeImageNotSupported, Failure, "This version of the agent cannot provide golden images, so nothing was deleted.", "Use vm.delete, and provide the virtual machine by other means."},
	{CodeHoldPlaced, Info, "The virtual machine is held: it is suspended whenever it is seen running.", "See 'prlagent status' for whether it holds."},
	{CodeHoldLifted, Info, "The virtual machine is not held any more.", "Nothing to do."},
	{CodeHoldsOutdated, Failure, "The command carries an older list of holds than the one in force.", "Issue it anew."},
	{CodeHoldReleased, Warning, "A person on the Mac has released the hold.", "Ask them; lock the virtual machine anew if it is still to be held."},
	{CodeHoldUnenforced, Failure, "A virtual machine that is held runs, or may run, and is not suspended.", "Why it cannot be suspended is said beside it; lock it with --force if it must not run."},
	{CodeNotHeld, Info, "No virtual machine with this id is held.", "See 'prlagent status' for what is held."},
	{CodeHoldPending, Warning, "It was seen running, and nothing shows yet that it is being suspended.", "See 'prlagent doctor' for whether its owner's programs answer."},
	{CodeGuestRestarted, Info, "The guest was seen to start after the command.", "Nothing to do."},
	{CodeRestartHeld, Failure, "The virtual machine is held by a lock, and is not restarted.", "Unlock it first, and order the restart anew."},
	{CodeLicenseDeactivated, Info, "Parallels Desktop is not activated on this Mac any more; whether the seat is free, only the vendor knows.", "See in the account at the vendor's whether the seat is free."},
	{CodeWillReactivate, Warning, "Parallels Desktop is not activated any more, and a licensing profile on this Mac will activate it again.", "Remove the licensing profile from this Mac."},
	{CodeCommandDone, Info, "It was done.", "Nothing to do."},
	{CodeNeedsRunning, Info, "This can be done only while the virtual machine runs.", "Start the virtual machine, and ask again."},
	{CodeNeedsTools, Info, "This needs Parallels Tools, and none were heard of in the guest.", "Install Parallels Tools, or wait until the guest has started, and ask again."},
	{CodeVMOfSeveral, Info, "Several accounts have a virtual machine with this id.", "Say whose it is with --owner."},
	{CodePasswordUnproven, Info, "Parallels Desktop was asked, and did not refuse; what the password is, only the guest knows.", "Sign in to the guest with it, and look whether the account was there before."},
	{CodeCommandNotFound, Info, "There is no command with this id that you may see.", "See 'prlagent commands' for those that you may see; for all of them, sudo prlagent commands."},
}

// Text is the code's row; a code without one is shown as itself.
func (c Code) Text() CodeText {
	for i := range Codes {
		if Codes[i].Code == c {
			return Codes[i]
		}
	}
	return CodeText{Code: c, Severity: Warning, Text: string(c)}
}

// codedError is an error that carries a code. The packages below this one know no
// Code: their errors have this method, and the table of codes has their words.
type codedError interface {
	error
	ErrorCode() string
}

// CodeOf is the code that an error carries, however it was wrapped: the
// outermost one, which knows most of what was asked for, and of joined errors
// the first's. It is empty for nil and for an error without a code.
func CodeOf(err error) Code {
	var known codedError
	if errors.As(err, &known) {
		return Code(known.ErrorCode())
	}
	return ""
}
