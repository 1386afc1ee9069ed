package inventory

import (
	"context"
	"slices"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/prlctl"
)

// lookAtProduct reads version and build from the application's bundle, which
// works while the service is down, and asks whether its tools may be run.
func (l *look) lookAtProduct(ctx context.Context) {
	if l.lookAtVersion(); !l.result.Product.Installed {
		return
	}
	if err := l.collector.sources.Trusted(ctx); err != nil {
		l.collector.log.Warn().Err(err).Msg("the vendor's tools are not run")
		l.toolsRefused = codeOf(err)
	}
}

func (l *look) lookAtVersion() {
	version, build, err := l.collector.sources.AppVersion()
	if isAbsent(err) {
		l.toolsRefused = protocol.CodePDNotInstalled
		l.noteProductGaps(l.toolsRefused, append([]string{"pd_version"}, licenseColumns...)...)
		return
	}
	l.result.Product.Installed = true
	if err != nil {
		l.collector.log.Warn().Err(err).Msg("the application's version is not readable")
		l.noteProductGaps(protocol.CodeNotReadable, "pd_version")
	}
	l.result.Product.Version, l.result.Product.Build = version, build
}

// licenseColumns are those that follow from the license.
var licenseColumns = []string{"pd_state", "vm_status"}

// licenseAnswer is the answer of one user's tools about the license.
type licenseAnswer struct {
	license prlctl.License
	err     error
}

// readLicense asks the tools of one user, because root runs none of the
// vendor's programs.
func (l *look) readLicense(ctx context.Context, all []*visitedUser) {
	user, anybody := l.licenseUser(all)
	switch {
	case l.toolsRefused != "":
		l.noteProductGaps(l.toolsRefused, licenseColumns...)
		return
	case !anybody:
		l.noteProductGaps(protocol.CodeUserSession, licenseColumns...)
		return
	}
	answer, ended := l.askForLicense(ctx, user)
	if !ended {
		l.noteProductGaps(protocol.CodeUserLate, licenseColumns...)
		return
	}
	state, code := productState(&answer.license, answer.err)
	if state == "" {
		l.collector.log.Warn().Err(answer.err).Msg("read license")
		l.noteProductGaps(code, licenseColumns...)
		return
	}
	l.result.Product.State, l.result.Product.Edition, l.result.Product.License = state, answer.license.Edition, answer.license.Serial
	if code != "" {
		l.setProductGap("pd_state", code)
	}
}

// askForLicense asks in the user's lane, for as long as the look waits for
// anything of that user. An answer that nobody waited for is not worth keeping.
func (l *look) askForLicense(ctx context.Context, user platform.User) (*licenseAnswer, bool) {
	over := time.NewTimer(l.collector.lanes.Patience(user.UID, l.patience))
	defer over.Stop()
	if l.collector.licenses.Pending(user.UID) {
		if _, ended := l.collector.licenses.Wait(ctx, user.UID, over.C); !ended {
			return nil, false
		}
	}
	visit := l.visitOf(user)
	l.collector.licenses.Start(user.UID, func() *licenseAnswer {
		var answer licenseAnswer
		answer.err = visit.runQuery(ctx, func(session bool) (err error) {
			answer.license, err = visit.sources.Licensing(user, session).License(ctx)
			return err
		})
		return &answer
	})
	return l.collector.licenses.Wait(ctx, user.UID, over.C)
}

// standingOf is what the standing of a license means for the product, and the
// remark beside the guide's word, which does not say it all (facts/prlctl.md 4.2,
// facts/captures.md 4.1).
func standingOf(license *prlctl.License) (activated bool, remark protocol.Code) {
	switch license.Standing() {
	case prlctl.LicenseNone:
		return false, protocol.CodeNoLicense
	case prlctl.LicenseInForce:
		return true, ""
	case prlctl.LicenseInGrace:
		return true, protocol.CodeLicenseGrace
	case prlctl.LicenseExpired:
		return false, protocol.CodeLicenseExpired
	case prlctl.LicenseInvalid:
		return false, protocol.CodeLicenseInvalid
	case prlctl.LicenseInactive:
		return false, protocol.CodeLicenseInactive
	}
	return false, ""
}

// productState maps a license to the guide's words, with the remark beside; or
// gives the reason why there is no word. No answer of the service is not a
// deactivation; an answer without a license is.
func productState(license *prlctl.License, err error) (string, protocol.Code) {
	switch code := protocol.CodeOf(err); {
	case code == protocol.CodeLicenseUnreadable, code == protocol.CodeLicenseExpired:
		return protocol.ProductDeactivated, code
	case err != nil:
		return "", codeOf(err)
	}
	activated, remark := standingOf(license)
	switch {
	case !activated:
		return protocol.ProductDeactivated, remark
	case license.ActivationType == "SSO":
		return protocol.ProductSSO, remark
	}
	return protocol.ProductKey, remark
}

// licenseUser is whose tools answer for the whole Mac: the one at the screen,
// else anyone with a session, else the first account that uses the product.
// Whose tools hang is asked only where nobody else can be.
func (l *look) licenseUser(all []*visitedUser) (platform.User, bool) {
	var chosen platform.User
	best := 0
	for _, visited := range all {
		user := visited.user
		rank := 0
		switch {
		case visited.outcome.unused:
			continue
		case l.console.User != "" && user.UID == l.console.UID:
			rank = 6
		case slices.Contains(l.console.Sessions, user.UID):
			rank = 5
		default:
			rank = 4
		}
		if visited.hangs() || l.collector.lanes.Hanging(user.UID) {
			rank -= 3
		}
		if visited.outcome.outsideSession {
			l.outsideSession[user.UID] = true
		}
		if rank > best {
			chosen, best = user, rank
		}
	}
	return chosen, best > 0
}

func (l *look) noteProductGaps(code protocol.Code, columns ...string) {
	l.noteIncomplete(code, "product")
	for _, column := range columns {
		l.setProductGap(column, code)
	}
}

// setProductGap gives the reason of an empty cell of the product, or a remark on
// its value.
func (l *look) setProductGap(column string, code protocol.Code) {
	if l.result.Product.Gaps == nil {
		l.result.Product.Gaps = make(map[string]protocol.Code)
	}
	l.result.Product.Gaps[column] = code
}
